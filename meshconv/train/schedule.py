"""One-cycle learning rate schedule, and its continuation in a resumed training."""

from __future__ import annotations

import inspect
import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from meshconv.errors import InputError


def one_cycle(
    optimizer: Optimizer, steps: float, resumed: dict[str, Any] | None = None, cycle_momentum: bool = True
) -> dict[str, Any]:
    """What ``configure_optimizers`` returns.

    A training that goes on as it was planned keeps its schedule. With another number of steps or another learning rate
    the steps that are left are a new cycle, from the weights and the moments of the checkpoint.

    Parameters
    ----------
    optimizer
        Its learning rates are the peaks of the schedule.
    steps
        Of the whole training, those before the checkpoint included.
    resumed : dict, optional
        Checkpoint of Lightning's that is going to be restored: its schedule and the options of its optimiser are made
        those of this training.
    cycle_momentum
        As of torch's ``OneCycleLR``.

    Raises
    ------
    InputError
        No end is set, or no steps are left.
    """
    if not math.isfinite(steps):
        raise InputError("the schedule needs an end; give --trainer.max_epochs or --trainer.max_steps")
    peaks = [group["lr"] for group in optimizer.param_groups]
    left = max(int(steps), 1)
    states = resumed["lr_schedulers"] if resumed is not None else []
    if resumed is not None and states:
        done, planned = resumed["global_step"], states[0]["total_steps"] - states[0]["last_epoch"]
        left -= done
        if left <= 0:
            raise InputError(
                f"the checkpoint has done {done} steps, of {int(steps)} that are wanted; give more with "
                "--trainer.max_epochs or --trainer.max_steps"
            )
        groups = resumed["optimizer_states"][0]["param_groups"]
        if left == planned and [group.get("max_lr") for group in groups] == peaks:
            for group, own in zip(groups, optimizer.param_groups, strict=True):
                group["weight_decay"] = own.get("weight_decay", 0.0)
            left = states[0]["total_steps"]
        else:
            states.clear()
    start = 0.3 if left == 5 else 0.2  # torch divides by pct_start * total_steps - 1
    schedule = OneCycleLR(optimizer, peaks, total_steps=left, pct_start=start, cycle_momentum=cycle_momentum)
    if resumed is not None and not states:
        resumed["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]
        states.append(schedule.state_dict())
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def keep_options(schedule: Any, resumed: dict[str, Any] | None) -> None:
    """Make a schedule's own options those of this training; how far it is comes from the checkpoint.

    Parameters
    ----------
    schedule
        A new one, of the class that the checkpoint's was.
    resumed : dict, optional
        Checkpoint of Lightning's that is going to be restored.
    """
    options = inspect.signature(type(schedule)).parameters
    for state in [] if resumed is None else resumed["lr_schedulers"]:
        state.update({name: value for name, value in schedule.state_dict().items() if name in options and name in state
                      and name != "last_epoch"})  # fmt: skip
