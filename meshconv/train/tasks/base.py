"""What every task shares: a network by its name, the optimiser, and what is kept of a test."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import lightning
from torch import Tensor, nn

from meshconv import models
from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.train.matching import TargetMatch
from meshconv.train.schedule import one_cycle


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
        self.match = TargetMatch()
        self._resumed: dict[str, Any] | None = None
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
        """Before any training: the hierarchy that the data prepare has to be the network's, and names are matched."""
        data = getattr(self.trainer, "datamodule", None)
        self.match = TargetMatch.of(self.hparams, data)
        if data is not None and hasattr(data, "take_statistics"):
            data.take_statistics(self.hparams["spec"])
        levels = getattr(data, "num_levels", None)
        if levels is not None and self.num_levels not in (None, levels):
            raise InputError(
                f"the network has {self.num_levels} levels, the data {levels}; give options.channels an entry "
                "for each of them"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Weights are those of the classes, fields and inputs that they were trained on; the loss is this task's."""
        self._resumed = checkpoint
        trained = checkpoint.get("hyper_parameters", {})
        for key in ("in_type", "class_names", "field_names"):
            was, now = trained.get(key), self.hparams.get(key)
            if was != now and self.hparams["spec"].get("kind") != "correspondence":
                raise InputError(f"the checkpoint has {key} {was}, the task {now}")
        if not getattr(getattr(self, "loss", None), "balanced", False):  # those are counted when training starts
            weights, own = checkpoint["state_dict"], self.state_dict()
            for name in [name for name in weights if name.startswith("loss.")]:
                del weights[name]
            weights.update({name: value for name, value in own.items() if name.startswith("loss.")})

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
        steps = self.trainer.estimated_stepping_batches
        return one_cycle(self.parameters(), self.learning_rate, self.weight_decay, steps, self._resumed)


def _no_nan(value: Any) -> Any:
    """The same with null for what is not a number: JSON has none."""
    if isinstance(value, dict):
        return {k: _no_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_no_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
