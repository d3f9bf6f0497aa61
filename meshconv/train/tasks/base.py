"""What every task shares: a network by its name, the optimiser, and what is kept of a test."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from meshconv import models
from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write


class Task(lightning.LightningModule):
    """A network of :mod:`meshconv.models`, trained with AdamW on a one-cycle schedule.

    Hyperparameters (arguments of the kind of task, which calls ``save_hyperparameters``) are plain values and stand in
    the checkpoint, so that it is enough to predict. A kind of task defines ``training_step`` and ``evaluate``.

    Parameters
    ----------
    network : str
        Name of a class in :mod:`meshconv.models`.
    in_type : str
        Field type of the inputs.
    out : int or str
        Number of classes or type of the outputs, the network's second argument.
    options : dict, optional
        Its further arguments.
    learning_rate, weight_decay
        Peak of the schedule, and AdamW's decay.
    """

    def __init__(
        self,
        network: str,
        in_type: str,
        out: int | str,
        options: dict[str, Any] | None,
        learning_rate: float,
        weight_decay: float,
    ):
        super().__init__()
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        known = {name: getattr(models, name) for name in models.__all__}
        if network not in known:
            raise InputError(f"network {network!r} is not known; use one of {', '.join(known)}")
        try:
            self.network: nn.Module = known[network](in_type, out, **(options or {}))
        except (TypeError, ValueError) as error:
            raise InputError(f"options of {network}: {error}") from error

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """What the network says of each surface, point or element."""
        return self.network(batch.x, batch.surface, *([] if batch.elements is None else [batch.elements]))

    @property
    def num_levels(self) -> int | None:
        """Levels of the hierarchies that the network works on; None: any number."""
        return getattr(self.network, "num_levels", None)

    def setup(self, stage: str) -> None:
        """Before any training: the hierarchy that the data prepare has to be the network's."""
        levels = getattr(getattr(self.trainer, "datamodule", None), "num_levels", None)
        if levels is not None and self.num_levels not in (None, levels):
            raise InputError(
                f"the network has {self.num_levels} levels, the data {levels}; give options.channels an entry "
                "for each of them"
            )

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        """Add a batch to the metrics of ``"val"`` or ``"test"``."""
        raise NotImplementedError

    def validation_step(self, batch: SurfaceBatch, index: int) -> None:
        self.evaluate(batch, "val")

    def test_step(self, batch: SurfaceBatch, index: int) -> None:
        self.evaluate(batch, "test")

    def log_loss(self, split: str, loss: Tensor, count: int) -> None:
        """Log the mean of an epoch, over processes too; ``count`` is how much a batch weighs in it."""
        bar = split == "train"
        self.log(f"{split}/loss", loss, bar, on_step=False, on_epoch=True, batch_size=max(count, 1), sync_dist=True)

    def write_test(self, folder: Path) -> None:
        """Write ``test_metrics.json``: what the test logged, and the table of classes where there is one."""
        logged = {k.removeprefix("test/"): float(v) for k, v in self.trainer.callback_metrics.items()}
        with atomic_write(folder / "test_metrics.json") as part:
            part.write_text(json.dumps(_no_nan(logged | self.test_details()), indent=1) + "\n")

    def test_details(self) -> dict[str, Any]:
        """What ``test_metrics.json`` has besides the logged numbers."""
        return {}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        start = 0.3 if steps == 5 else 0.2  # torch divides by pct_start * total_steps - 1
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=steps, pct_start=start
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _no_nan(value: Any) -> Any:
    """The same with null for what is not a number: JSON has none."""
    if isinstance(value, dict):
        return {k: _no_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_no_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
