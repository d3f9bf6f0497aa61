"""Trained tasks on disk."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch

from meshconv.errors import InputError
from meshconv.train.tasks.base import Task
from meshconv.train.tasks.classes import ClassificationTask, SegmentationTask
from meshconv.train.tasks.correspondence import CorrespondenceTask
from meshconv.train.tasks.regression import RegressionTask

# By the kind of data that a checkpoint was trained on.
_TASKS: dict[str, type[Task]] = {
    "meshes": ClassificationTask,
    "segments": SegmentationTask,
    "correspondence": CorrespondenceTask,
    "regression": RegressionTask,
    "healpix": SegmentationTask,
    "maps": SegmentationTask,
}


def load_task(path: str | Path) -> Task:
    """Load a checkpoint that ``meshconv fit`` wrote, ready to predict.

    Only tensors and plain values are read (``weights_only``), so a file from elsewhere cannot run code.

    Raises
    ------
    InputError
        If the file is missing, not a checkpoint, or not one of meshconv's.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; meshconv fit writes runs/<name>/last.ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a file that is not its own
        raise InputError(f"{path}: not a readable checkpoint; use one that meshconv fit wrote") from error
    hparams = content.get("hyper_parameters", {}) if isinstance(content, dict) else {}
    kind = hparams.get("spec", {}).get("kind")
    if kind not in _TASKS:
        raise InputError(f"{path}: a checkpoint of something else than a meshconv task; use one from meshconv fit")
    known = inspect.signature(_TASKS[kind].__init__).parameters
    task = _TASKS[kind](**{name: value for name, value in hparams.items() if name in known})
    try:
        task.load_state_dict(content["state_dict"])
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{path}: weights do not fit the network {hparams.get('network')} ({reason})") from error
    return task.eval()
