"""Checkpoints of a run from which a resumed training gives the numbers of an uninterrupted one."""

from __future__ import annotations

import io
import math
import os
import random
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from meshconv.datasets.loader import Loader
from meshconv.errors import PlaceError
from meshconv.io.cache.atomic import atomic_write


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints are written beside their place and moved there.

    Lightning moves them from the system's temporary folder: from another disk that is a copy, which can be cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        content, path = io.BytesIO(), Path(path)
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlaceError.of(error, path.parent) from error
        with atomic_write(path) as part:
            part.write_bytes(content.getbuffer())


class RunCheckpoint(ModelCheckpoint):
    """``last.ckpt`` in ``folder`` after every epoch, and when the process is asked to end (SIGTERM).

    A training that stops amid an epoch (:class:`StepLimit`) leaves one from which the rest of the epoch can follow.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        super().__init__(
            Path(folder), filename="{epoch}", save_last=True, enable_version_counter=False, save_on_train_epoch_end=True
        )

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if _stops_amid_an_epoch(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not _stops_amid_an_epoch(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Lightning raises it between two batches, so that the rest of the epoch can follow."""
        if isinstance(exception, SIGTERMException):
            self._save_last_checkpoint(trainer, {})


def _stops_amid_an_epoch(trainer: lightning.Trainer) -> bool:
    return trainer.should_stop and not trainer.is_last_batch


class StepLimit(Callback):
    """Callback that ends a training after the trainer's ``max_steps``, in its place.

    Lightning counts the epochs of a resumed training otherwise if it has a limit of steps; here they are counted as in
    one that was never interrupted.
    """

    steps: float = math.inf
    """Optimiser steps of the whole training."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        loop = trainer.fit_loop.epoch_loop
        if stage == "fit" and loop.max_steps > 0:
            self.steps, loop.max_steps = loop.max_steps, -1

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.global_step >= self.steps:  # it beats the least number of epochs and steps
            trainer.should_stop, trainer.fit_loop.min_epochs, trainer.fit_loop.epoch_loop.min_steps = True, 0, None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.on_train_start(trainer, pl_module)


def planned_steps(trainer: lightning.Trainer) -> float:
    """Optimiser steps of the whole training; infinite without a limit."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    limits = [callback.steps for callback in callbacks if isinstance(callback, StepLimit)]
    return min([trainer.estimated_stepping_batches, *limits])


class DrawnStates(Callback):
    """Callback that stores the place in the data and the states of all generators in checkpoints, and restores them.

    So it does with gradients that are accumulated over several batches. Generators are those of Python, numpy and
    torch, on GPUs too. Order of the data, dropout and augmentation after a checkpoint are then those of a training that
    was never interrupted: on the CPU the same bits (``tests/test_resuming.py``).
    """

    def __init__(self) -> None:
        self._loader: Any = None
        self._accumulating: list[torch.nn.Parameter] = []
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors, as a checkpoint that runs no code may hold them."""
        _, keys, *place = np.random.get_state()  # noqa: NPY002 (what libraries draw from)
        version, numbers, gauss = random.getstate()
        devices = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
        return {
            "torch": torch.get_rng_state(),
            "cuda": [torch.cuda.get_rng_state(k) for k in devices],
            "numpy": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), *(float(value) for value in place)],
            "python": [version, list(numbers), gauss],
            "loader": self._loader.state_dict() if isinstance(self._loader, Loader) else None,
            "gradients": [p.grad for p in self._accumulating],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the training begins; wrong ones raise here."""
        keys, *place = state_dict["numpy"]
        version, numbers, gauss = state_dict["python"]
        states = {
            "torch": state_dict["torch"],
            "cuda": list(state_dict["cuda"]),
            "numpy": ("MT19937", keys.numpy().astype(np.uint32), int(place[0]), int(place[1]), float(place[2])),
            "python": (version, tuple(numbers), gauss),
            "loader": state_dict["loader"],
            "gradients": list(state_dict.get("gradients") or ()),
        }
        torch.Generator().set_state(states["torch"])
        np.random.RandomState().set_state(states["numpy"])
        random.Random().setstate(states["python"])
        self._restored = states

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        states, self._restored, self._loader = self._restored, None, trainer.train_dataloader
        parameters = list(pl_module.parameters())
        self._accumulating = parameters if trainer.accumulate_grad_batches > 1 else []
        if states is None:
            return
        # Lightning's own way comes too late where the schedule has asked for the number of batches.
        if states["loader"] is not None and isinstance(self._loader, Loader):
            self._loader.load_state_dict(states["loader"])
        if len(states["gradients"]) == len(parameters):
            for parameter, gradient in zip(parameters, states["gradients"], strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter)
        torch.set_rng_state(states["torch"])
        for k, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, k)
        np.random.set_state(states["numpy"])  # noqa: NPY002
        random.setstate(states["python"])
