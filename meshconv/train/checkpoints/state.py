"""What a checkpoint holds besides weights and hyperparameters, compared with what a training can have written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from meshconv.errors import InputError

# The order in which a loop counts up: each is the one before it, or one less.
_COUNTS = ("ready", "started", "processed", "completed")
# Of a validation within a training the totals are set back at the start of each epoch.
_COUNTED_ANEW = "val_loop.batch_progress"
_PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")


def check_state(content: Mapping[str, Any], training: bool) -> None:
    """Raise an :class:`InputError` where loops, optimisers, schedules or callbacks are not as a training writes them.

    Parameters
    ----------
    content
        Of the checkpoint.
    training
        Whether a training goes on from it, which needs them; otherwise only what is there is looked at.
    """
    version = content.get("pytorch-lightning_version")
    if not isinstance(version, str) or not re.match(r"\d+\.\d+", version):
        raise InputError(f"pytorch-lightning_version {version!r} is no version")
    _check_callbacks(content.get("callbacks", {}))
    if not training:
        return
    for key in ("loops", "optimizer_states", "lr_schedulers"):
        if key not in content:
            raise InputError(f"it holds weights alone and no {key}, a training cannot go on from it")
    for key in ("epoch", "global_step"):
        if not _is_count(content.get(key)):
            raise InputError(f"{key} {content.get(key)!r} is no whole number of at least 0")
    loops = content["loops"]
    _check_counts(loops, "loops")
    try:
        steps = loops["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]
        epoch = loops["fit_loop"]["epoch_progress"]["current"]["processed"]
        done = steps["completed"]
    except (KeyError, TypeError) as error:
        raise InputError("loops: it does not say how far the training was") from error
    if done != content["global_step"]:
        raise InputError(f"global_step {content['global_step']} contradicts the {done} steps of its loops")
    if content["epoch"] not in (epoch, epoch - 1):
        raise InputError(f"epoch {content['epoch']} contradicts the {epoch} epochs of its loops")
    for key in ("optimizer_states", "lr_schedulers"):
        if not isinstance(content[key], list) or not all(isinstance(state, dict) for state in content[key]):
            raise InputError(f"{key} is no list of states")
        _check_finite(content[key], key)


def check_loops(loops: Any, own: Mapping[str, Any], where: str = "loops.fit_loop") -> None:
    """Raise an :class:`InputError` unless the state of loops has all that those of this trainer have, of its kind."""
    for key, value in own.items():
        place = f"{where}.{key}"
        if not isinstance(loops, dict) or key not in loops:
            raise InputError(f"{place} is missing")
        found = loops[key]
        if isinstance(value, dict):
            check_loops(found, value, place)
        if not isinstance(found, dict if isinstance(value, dict) else type(value)):
            raise InputError(f"{place} is {str(found)[:40]!r}")


def check_moments(optimizer: Optimizer, state: Mapping[str, Any], steps: int) -> None:
    """Raise an :class:`InputError` unless a state is one of AdamW for an optimiser's parameters, after some steps."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = state.get("state")
    if not isinstance(moments, dict) or (steps and not moments):
        raise InputError("optimizer_states: the moments are missing")
    for key, entry in moments.items():
        if type(key) is not int or not 0 <= key < len(parameters):
            raise InputError(f"optimizer_states: there is no parameter {key!r}")
        where, shape = f"optimizer_states: parameter {key}", parameters[key].shape
        if not isinstance(entry, dict) or not {"step", "exp_avg", "exp_avg_sq"} <= set(entry):
            raise InputError(f"{where} has no step, exp_avg and exp_avg_sq")
        for name in ("exp_avg", "exp_avg_sq"):
            value = entry[name]
            if not isinstance(value, Tensor) or value.shape != shape or not value.is_floating_point():
                raise InputError(f"{where}: {name} is no tensor of {list(shape)} numbers")
        if (entry["exp_avg_sq"] < 0).any():
            raise InputError(f"{where}: exp_avg_sq is negative")
        step = entry["step"]
        if not isinstance(step, Tensor) or step.numel() != 1 or not 1 <= float(step) <= steps:
            raise InputError(f"{where}: its step is not from 1 to {steps}")


def _check_callbacks(states: Any) -> None:
    if not isinstance(states, dict) or not all(isinstance(k, str) and isinstance(v, dict) for k, v in states.items()):
        raise InputError("callbacks is no table of states")
    for name, state in states.items():
        kind = name.split("{")[0]
        paths = all(isinstance(state.get(key), str) for key in _PATHS) and isinstance(state.get("best_k_models"), dict)
        if kind.endswith("Checkpoint") and not paths:
            raise InputError(f"callbacks: the state of {kind} has no paths")
        _check_place(state.get("loader"), f"callbacks: the loader's state of {kind}")


def _check_place(loader: Any, where: str) -> None:
    """The place in the data."""
    known = isinstance(loader, dict) and isinstance(loader.get("seed"), int) and _is_count(loader.get("batches"))
    if loader is not None and not known:
        raise InputError(f"{where} is {str(loader)[:40]!r}")


def _check_counts(value: Any, where: str) -> None:
    """Loops hold tables of counts and truth values alone."""
    if isinstance(value, dict):
        counts = [value[key] for key in _COUNTS if key in value]
        if all(map(_is_count, counts)) and any(not 0 <= a - b <= 1 for a, b in zip(counts, counts[1:], strict=False)):
            raise InputError(f"{where}: counts {counts} of {', '.join(k for k in _COUNTS if k in value)} do not follow")
        both = {"current", "total"} <= set(value) and not where.endswith(_COUNTED_ANEW)
        if both and not _at_most(value["current"], value["total"]):
            raise InputError(f"{where}: current counts are above the total ones, or are none")
        for key, entry in value.items():
            if key == "combined_loader" and isinstance(entry, list):
                for place in entry:
                    _check_place(place, f"{where}.{key}")
            else:
                _check_counts(entry, f"{where}.{key}")
    elif not isinstance(value, bool) and not _is_count(value):
        raise InputError(f"{where} is {str(value)[:40]!r}, no count")


def _at_most(current: Any, total: Any) -> bool:
    if not isinstance(current, dict) or not isinstance(total, dict) or set(current) != set(total):
        return False
    counts = [*current.values(), *total.values()]
    return all(map(_is_count, counts)) and max(current.values(), default=0) <= max(total.values(), default=0)


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, entry in value.items():
            _check_finite(entry, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for entry in value:
            _check_finite(entry, where)
    elif isinstance(value, Tensor):
        if value.layout is not torch.strided or (value.is_floating_point() and not value.isfinite().all()):
            raise InputError(f"{where} is not finite")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53
