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
    reached = 0
    if resumed is not None and states:
        done, (total, last) = resumed["global_step"], _position(states[0])
        left -= done
        if left <= 0:
            raise InputError(
                f"the checkpoint has done {done} steps, of {int(steps)} that are wanted; give more with "
                "--trainer.max_epochs or --trainer.max_steps"
            )
        groups = resumed["optimizer_states"][0].get("param_groups") if resumed["optimizer_states"] else None
        if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
            raise InputError("optimizer_states: there are no param_groups")
        if left == total - last and [group.get("max_lr") for group in groups] == peaks:
            left, reached = total, last
    start = 0.3 if left == 5 else 0.2  # torch divides by pct_start * total_steps - 1
    schedule = OneCycleLR(optimizer, peaks, total_steps=left, pct_start=start, cycle_momentum=cycle_momentum)
    if resumed is not None:  # of the checkpoint counts how far it is; rates and options are those of this training
        if reached:
            schedule.load_state_dict({**schedule.state_dict(), "last_epoch": reached - 1, "_step_count": reached})
            schedule.step()
        if resumed["optimizer_states"]:
            resumed["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]
        resumed["lr_schedulers"] = [schedule.state_dict()]
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _position(state: dict[str, Any]) -> tuple[int, int]:
    """Steps of a cycle, and those of them that are done."""
    total, last = state.get("total_steps"), state.get("last_epoch")
    if type(total) is not int or type(last) is not int or not 0 <= last <= total:
        raise InputError(f"lr_schedulers: step {last!r} of {total!r} is none of a cycle")
    return total, last


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
