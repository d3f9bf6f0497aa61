"""Base class of tasks: network, optimiser, schedule, prediction, and results of a test."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor

from meshconv import __version__
from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.class_path import class_path
from meshconv.datasets.protocol import NormalisedData, PatchedData, check_target
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.nn.compact.plan import compact as compact_network
from meshconv.nn.recompute import recompute_inside
from meshconv.ranks import mean_over_ranks
from meshconv.train.checkpoints.file import FORMAT, check_format
from meshconv.train.checkpoints.fine_tuning import FineTuning
from meshconv.train.checkpoints.matching import TargetMatch
from meshconv.train.checkpoints.resuming import planned_steps
from meshconv.train.checkpoints.state import check_loops, check_moments
from meshconv.train.inference.base import Inference
from meshconv.train.loop.schedule import keep_options, one_cycle
from meshconv.train.networks import make_network, network_options
from meshconv.train.report.case import Case


class Task(Inference, lightning.LightningModule):
    """Base class of tasks: a network with targets, loss, metrics and prediction.

    A task is a subclass in one file. Its constructor takes ``in_type`` and ``spec``, names of what is predicted where
    the data have some, and ``**training`` for what stands here, and hands ``out`` on. It defines ``training_step`` and
    :meth:`evaluate`, and for prediction :meth:`predict_meshes` or :meth:`predict_maps`. Its arguments are the
    hyperparameters, plain values; they and the class path stand in the checkpoint, so that it is enough to predict.

    Parameters
    ----------
    network : str
        Name of a class in :mod:`meshconv.models`, or the path of another class. It is constructed with ``in_type``,
        ``out`` and ``options``, and called with features, surface and, if a batch has them, elements and their shares.
    in_type : str
        Field type of the inputs.
    spec : dict
        How the data module makes inputs, see :class:`~meshconv.datasets.protocol.TaskData`.
    out : int or str
        Number of classes or type of the outputs, the network's second argument.
    options : dict, optional
        Its further arguments. The checkpoint holds them with the defaults of all others, so that a network stays what
        it was where later versions have other defaults.
    learning_rate, weight_decay
        Of AdamW, which is the default.
    optimizer : callable, optional
        Makes another optimiser from the parameters: a class path in a configuration.
    schedule : callable, optional
        Makes a schedule by epochs from the optimiser. The default is one cycle over all steps, whose peak is the
        optimiser's learning rate.
    activation_checkpointing
        Residual blocks, and dense layers on invariants, keep their inputs alone and are computed a second time for the
        derivative: less memory, more computation, the same numbers.
    data : optional
        Data module of the training, see :mod:`meshconv.datasets.protocol`, where the trainer has none.
    compact : dict, optional
        Fields and bits that a compressed network was left with (:func:`~meshconv.nn.compact.plan.compact`).
    pretrained : str, optional
        Fine-tuning: checkpoint, or name of one that ships (``meshconv models``), whose weights a training begins with
        (:class:`~meshconv.train.checkpoints.fine_tuning.FineTuning`). Checkpoints of the task are not tied to it.
    freeze
        With ``pretrained``. True: the weights that are taken are not trained, but the head's; a number: not in so many
        first epochs.
    """

    target_kind: ClassVar[str | None] = None
    """What it learns, as :func:`~meshconv.datasets.protocol.check_target` compares it; None: it says nothing."""

    kept: ClassVar[tuple[str, ...]] = ()
    """Arguments besides the network's that give its outputs their meaning: those of a checkpoint cannot be changed."""

    def __init__(
        self,
        network: str,
        in_type: str,
        spec: dict[str, Any],
        out: int | str,
        options: dict[str, Any] | None = None,
        *,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        optimizer: OptimizerCallable | None = None,
        schedule: LRSchedulerCallable | None = None,
        activation_checkpointing: bool = False,
        data: Any = None,
        compact: dict[str, Any] | None = None,
        pretrained: str | None = None,
        freeze: bool | int = False,
    ):
        super().__init__()
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:
                raise InputError(f"{name} {value} is not a number of at least 0")
        self.match = TargetMatch()
        self._resumed: dict[str, Any] | None = None
        if freeze and pretrained is None:
            raise InputError(f"freeze {freeze}: it is for weights that are taken; give pretrained too")
        self.fine_tuning = None if pretrained is None else FineTuning(pretrained, freeze)
        self.save_hyperparameters(ignore=["out", "optimizer", "schedule", "data", "pretrained", "freeze"])
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.make_optimizer, self.make_schedule, self.data = optimizer, schedule, data
        self.hparams["options"] = network_options(network, options)
        self.network = make_network(network, in_type, out, options)
        if compact is not None:
            compact_network(self.network, compact)
        if activation_checkpointing and not recompute_inside(self.network):
            raise InputError(f"activation_checkpointing: {network} has nothing to compute twice; leave it out")
        self.complete()

    @property
    def task_path(self) -> str:
        return class_path(type(self))

    def setup(self, stage: str) -> None:
        """Before any training: the hierarchy that the data prepare has to be the network's, and names are matched."""
        given = getattr(self.trainer, "datamodule", None)  # of this fit or test, which may be other data
        self.data = self.data if given is None else given
        check_target(type(self), type(self.data))
        self.match = TargetMatch.of(self.hparams, self.data)
        if isinstance(self.data, NormalisedData):
            self.data.take_statistics(self.spec)
        if isinstance(self.data, PatchedData):
            self.data.reach = self.reach
        levels = getattr(self.data, "num_levels", None)
        if levels is not None and self.num_levels not in (None, levels):
            raise InputError(
                f"the network has {self.num_levels} levels, the data {levels}; give options.channels an entry "
                "for each of them"
            )

    def configure_callbacks(self) -> list[Callback]:
        return [] if self.fine_tuning is None else [self.fine_tuning]

    def hashes(self) -> dict[str, str]:
        """Hashes of files that its numbers depend on, for the run's provenance."""
        return {} if self.fine_tuning is None else self.fine_tuning.hashes

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["meshconv"] = {"format": FORMAT, "version": __version__, "task": self.task_path}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Weights are those of the classes, fields and inputs that they were trained on; the loss is this task's."""
        check_format(checkpoint.get("meshconv"), "the checkpoint")
        self._resumed = checkpoint
        if self._trainer is not None and self._trainer.training:
            check_loops(checkpoint["loops"]["fit_loop"], self._trainer.fit_loop.state_dict())
        trained = checkpoint.get("hyper_parameters", {})
        for key in ("in_type", "class_names", "field_names"):
            was, now = trained.get(key), self.hparams.get(key)
            if was != now:
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

    def check_rows(self, output: Tensor, target: Tensor) -> None:
        """Raise an :class:`InputError` where the network's outputs are not those of the targets, one for each."""
        if output.shape[: target.ndim] != target.shape:
            found, wanted = list(output.shape[:-1]), list(target.shape)
            raise InputError(
                f"the network {self.hparams['network']} has outputs for {found}, targets are for {wanted}: it is not "
                f"one for {self.target_kind or 'these data'}; use that of the task's configuration"
            )

    def log_loss(self, split: str, loss: Tensor, count: int) -> None:
        """Log the mean of an epoch, over processes too; ``count`` is how much a batch weighs in it."""
        bar = split == "train"
        if bar:  # losses of processes are shares of one of them all, see meshconv.train.metrics.losses
            count = round(float(mean_over_ranks(torch.tensor(float(count), device=loss.device))))
        self.log(f"{split}/loss", loss, bar, on_step=False, on_epoch=True, batch_size=max(count, 1), sync_dist=True)

    def write_test(self, folder: Path) -> None:
        """Write ``test_metrics.json``: what the test logged, and the table of classes where there is one."""
        logged = {k.removeprefix("test/"): float(v) for k, v in self.trainer.callback_metrics.items()}
        with atomic_write(folder / "test_metrics.json") as part:
            part.write_text(json.dumps(_no_nan(logged | self.test_details()), indent=1) + "\n")

    def cases(self, batch: SurfaceBatch, output: Tensor) -> Iterator[Case]:
        """Truth and prediction of each surface of a test's batch, for the report; by default none."""
        return iter(())

    def test_details(self) -> dict[str, Any]:
        """What ``test_metrics.json`` has besides the logged numbers."""
        return {}

    def configure_optimizers(self) -> Any:
        if self.make_optimizer is None:
            optimizer: Any = torch.optim.AdamW(self.parameters(), self.learning_rate, weight_decay=self.weight_decay)
            if self._resumed is not None:
                for state in self._resumed["optimizer_states"]:
                    check_moments(optimizer, state, self._resumed["global_step"])
        else:
            optimizer = self.make_optimizer(self.parameters())
        if self.make_schedule is not None:
            own: Any = self.make_schedule(optimizer)
            keep_options(own, self._resumed)
            watched = {"monitor": own.monitor} if isinstance(own, ReduceLROnPlateau) else {}
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": own, **watched}}
        return one_cycle(optimizer, planned_steps(self.trainer), self._resumed, self.make_optimizer is None)


def _no_nan(value: Any) -> Any:
    """The same with null for what is not a number: JSON has none."""
    if isinstance(value, dict):
        return {k: _no_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_no_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
