"""AdamW on a one-cycle schedule, and how a training goes on with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from meshconv.errors import InputError


def one_cycle(
    parameters: Iterable[Parameter],
    learning_rate: float,
    weight_decay: float,
    steps: float,
    resumed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``configure_optimizers`` returns.

    A training that goes on as it was planned keeps its schedule. With another number of steps or another learning rate
    the steps that are left are a new cycle, from the weights and the moments of the checkpoint.

    Parameters
    ----------
    parameters
    learning_rate, weight_decay
        Peak of the schedule, and AdamW's decay.
    steps
        Of the whole training, those before the checkpoint included.
    resumed : dict, optional
        Checkpoint of Lightning's that is going to be restored: its schedule and the options of its optimiser are made
        those of this training.

    Raises
    ------
    InputError
        No end is set, or no steps are left.
    """
    if not math.isfinite(steps):
        raise InputError("the schedule needs an end; give --trainer.max_epochs or --trainer.max_steps")
    optimizer = AdamW(parameters, learning_rate, weight_decay=weight_decay)
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
        if left == planned and resumed["hyper_parameters"].get("learning_rate") == learning_rate:
            for group in resumed["optimizer_states"][0]["param_groups"]:
                group["weight_decay"] = weight_decay
            left = states[0]["total_steps"]
        else:
            states.clear()
    start = 0.3 if left == 5 else 0.2  # torch divides by pct_start * total_steps - 1
    schedule = OneCycleLR(optimizer, learning_rate, total_steps=left, pct_start=start)
    if resumed is not None and not states:
        resumed["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]
        states.append(schedule.state_dict())
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
