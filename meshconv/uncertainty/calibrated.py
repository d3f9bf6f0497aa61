"""Calibrated checkpoints: a checkpoint with all that its uncertainty needs, in one file."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.train.checkpoints.file import check_content, checkpoint_path, read_checkpoint
from meshconv.train.checkpoints.load import task_of
from meshconv.train.tasks.base import Task
from meshconv.uncertainty.calibration import Calibration
from meshconv.uncertainty.dropout import MonteCarloDropout
from meshconv.uncertainty.outputs import kind_of
from meshconv.uncertainty.sampled import Ensemble, LastLayers, last_layer

_KEY = "uncertainty"
# Of a checkpoint, what a prediction needs.
_KEPT = ("hyper_parameters", "state_dict", "meshconv")


def save_calibrated(
    path: str | os.PathLike[str], checkpoints: Sequence[str | os.PathLike[str]], task: Task, calibration: Calibration
) -> None:
    """Write the first checkpoint with the others, samples and calibration of a task made of them.

    Without ``--uncertainty`` it is the first checkpoint.
    """
    contents = [read_checkpoint(checkpoint_path(p)) for p in checkpoints]
    parts = [{key: content[key] for key in _KEPT} for content in contents]
    network = task.network
    method: dict[str, Any] = {}
    if isinstance(network, MonteCarloDropout):
        method = {"p": network.p, "samples": network.count, "seed": network.seed}
    elif isinstance(network, LastLayers):
        method = {"layers": [layer.state_dict() for layer in network.layers]}
    temperature = float(network.temperature)  # type: ignore[arg-type]
    about = {"members": parts[1:], "temperature": temperature, "calibration": asdict(calibration), **method}
    with atomic_write(Path(path)) as part:
        torch.save({**parts[0], _KEY: about}, part)


def load_calibrated(path: str | os.PathLike[str], trust: Sequence[str] = ()) -> tuple[Task, Calibration]:
    """A task whose network is several, and its calibration; checked as :func:`~meshconv.train.load_task` checks.

    Raises
    ------
    InputError
        It was not calibrated, or is damaged.
    """
    path = checkpoint_path(path)
    content = read_checkpoint(path)
    about = content.get(_KEY)
    if about is None:
        raise InputError(f"{path}: not calibrated; meshconv calibrate {path} --config CONFIG writes one that is")
    task = task_of(content, path, trust)
    try:
        calibration = _calibration(about["calibration"])
        others = []
        for member in about["members"]:
            check_content(member, path)
            others.append(task_of(member, path, trust))
        kind, temperature = kind_of(task), float(about["temperature"])
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature {temperature}")
        if "layers" in about:
            layers = []
            for state in about["layers"]:
                layers.append(_copy_of(last_layer(task.network), state))
            task.network = LastLayers(task.network, layers, kind)
        elif "p" in about:
            samples = int(about["samples"])
            task.network = MonteCarloDropout(task.network, float(about["p"]), samples, int(about["seed"]), kind)
        else:
            task.network = Ensemble([task.network, *(other.network for other in others)], kind)
        task.network.temperature.fill_(temperature)  # type: ignore[operator, union-attr]
    except InputError:
        raise
    except Exception as error:  # a file from elsewhere may hold anything
        raise InputError(f"{path}: its calibration is damaged ({error}); calibrate the checkpoint again") from error
    return task.eval(), calibration


def _calibration(given: dict[str, Any]) -> Calibration:
    found = Calibration(**{f.name: given[f.name] for f in fields(Calibration)})
    numbers = [found.level, *found.thresholds, *found.noise]
    if not all(isinstance(v, float) and v == v for v in numbers) or not 0 < found.level < 1:
        raise ValueError("its numbers are none")
    return found


def _copy_of(layer: torch.nn.Module, state: dict[str, Any]) -> torch.nn.Module:
    made = copy.deepcopy(layer)
    made.load_state_dict(state)
    if not all(p.isfinite().all() for p in made.parameters()):
        raise ValueError("a last layer is not finite")
    return made.requires_grad_(False)
