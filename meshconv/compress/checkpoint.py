"""Checkpoints of compressed tasks, and the compression of checkpoints."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from torch import Tensor

from meshconv.compress.gates import Sparsity, add_gates, gates_of
from meshconv.compress.measure import attached, first_batches, measure, quiet_trainer, table
from meshconv.compress.prune import magnitude_masks, prune
from meshconv.compress.quantise import quantise
from meshconv.datasets.class_path import import_class
from meshconv.errors import InputError, first_line
from meshconv.io.cache.atomic import atomic_write
from meshconv.nn.compact.integers import integer_state, levels
from meshconv.nn.compact.plan import NOTHING
from meshconv.shipped import find_config
from meshconv.train.checkpoints.load import load_task
from meshconv.train.checkpoints.matching import combine
from meshconv.train.loop.run import EpochLines
from meshconv.train.tasks.base import Task

METHODS = ("l0", "jeffreys", "magnitude")


def save(task: Task, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint to predict with, as :func:`meshconv.train.load_task` and ``meshconv predict`` read it.

    The kernels of a task from :func:`quantise` are integers in it.

    Raises
    ------
    InputError
        The task has gates, which no checkpoint holds; prune it.
    """
    if any(True for _ in gates_of(task)):
        raise InputError("the task has gates; prune it before it is saved")
    content: dict[str, Any] = {
        "state_dict": saved_state(task),
        "hyper_parameters": dict(task.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
    }
    task.on_save_checkpoint(content)
    with atomic_write(Path(path)) as part:
        torch.save(content, part)


def saved_state(task: Task) -> dict[str, Tensor]:
    """Weights and statistics as a checkpoint has them."""
    bits = (task.hparams.get("compact") or {}).get("bits")
    return dict(task.state_dict()) if bits is None else integer_state(task, bits)


@dataclass(frozen=True)
class Pruning:
    """How fields are chosen and taken out.

    Attributes
    ----------
    method
        ``"l0"`` or ``"jeffreys"``: half of the epochs with gates and half without them after pruning. ``"magnitude"``:
        all epochs after pruning.
    sparsity
        Weight of the gates' cost (:class:`Sparsity`).
    keep
        Share of the fields that ``"magnitude"`` keeps.
    epochs, learning_rate
        Of the training; its learning rate is that of the checkpoint by default.
    seed
        Of all that is drawn in the training.
    """

    method: str
    sparsity: float = 6.0
    keep: float = 0.3
    epochs: int = 10
    learning_rate: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"prune {self.method!r} is not known; use one of {', '.join(METHODS)}")

    @property
    def trains(self) -> bool:
        """Whether data are needed."""
        return self.method != "magnitude" or self.epochs > 0

    def __call__(self, task: Task, data: Any = None) -> Task:
        """A task with fewer fields, fine-tuned on the ``data``."""
        torch.manual_seed(self.seed)
        rate = task.hparams.get("learning_rate", 3e-3) if self.learning_rate is None else self.learning_rate
        epochs = self.epochs
        if self.method == "magnitude":
            small = prune(task, magnitude_masks(task.network, self.keep))
        else:
            full = copy.deepcopy(task)
            add_gates(full.network, self.method)  # type: ignore[arg-type]
            first = max(epochs - epochs // 2, 1)
            epochs -= first
            train(full, data, first, rate, Sparsity(self.sparsity))
            small = prune(full)
        if epochs:
            train(small, data, epochs, rate)
        return small.eval()


def compress_checkpoint(
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    pruning: Pruning | None = None,
    bits: int | None = None,
    config: str | os.PathLike[str] | None = None,
    samples: int = 0,
    bf16: bool = False,
    trust: Sequence[str] = (),
) -> str:
    """What ``meshconv compress`` does: prune, round, write a checkpoint; returns the table before and after.

    Parameters
    ----------
    checkpoint, output
    pruning
        None: all fields stay.
    bits
        8, 4 or none.
    config
        A configuration with the data, such as the run's ``config.yaml``: to train, and to test before and after.
    samples
        Training samples for rounding; 0: none are seen.
    bf16
        Features in bfloat16, which costs the exactness of the symmetry.
    trust
        As of :func:`~meshconv.train.load_task`.

    Raises
    ------
    InputError
        Nothing is asked for, data are missing or do not fit, or what the steps raise.
    """
    if pruning is None and bits is None and not bf16:
        raise InputError("compress: nothing to do; give --prune, --bits or both")
    if bits is not None:
        levels(bits)
    if config is None and (samples or (pruning is not None and pruning.trains)):
        raise InputError("compress: training and samples need --data CONFIG; magnitude does without with --epochs 0")
    if Path(output).resolve() == Path(checkpoint).resolve():
        raise InputError(f"{output}: would overwrite the checkpoint; give another --output")
    task = load_task(checkpoint, trust)
    data = None if config is None else data_of(config, task)
    columns = {"before": measure(task, saved_state(task), data)}
    small = task
    if pruning is not None:
        small = pruning(task, data)
        if bits is not None:
            columns["pruned"] = measure(small, saved_state(small), data)
    if bits is not None:
        small = quantise(small, bits, samples_of(data, samples) if samples else None)
    if bf16:
        small = copy.deepcopy(small)
        small.hparams["compact"] = {**(small.hparams.get("compact") or NOTHING), "bf16": True}
    save(small, output)
    columns["after"] = measure(load_task(output, trust), saved_state(small), data)
    return table(columns)


def data_of(config: str | os.PathLike[str], task: Task) -> lightning.LightningDataModule:
    """The data module of a configuration, which has to be that of the task's inputs."""
    try:
        chosen = yaml.safe_load(find_config(config).read_text(encoding="utf-8"))["data"]
        data: Any = import_class(chosen["class_path"], lightning.LightningDataModule)(**chosen.get("init_args", {}))
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{config}: no configuration with data ({first_line(error)}); use a run's config.yaml"
        ) from error
    given = {key: getattr(data, key, None) for key in ("in_type", "class_names", "field_names", "spec")}
    combine(task.hparams, {**given, "in_type": str(given["in_type"])})
    return data


def samples_of(data: Any, count: int) -> list[Any]:
    """Training samples; as many as asked for."""
    found = first_batches(data, count)
    if len(found) < count:
        raise InputError(f"samples: {count} are asked for, the data have {len(found)} for training; give fewer or 0")
    return found


# Gates are few numbers with small gradients.
_FASTER = 100


def train(task: Task, data: Any, epochs: int, learning_rate: float, *callbacks: lightning.Callback) -> None:
    """Train a task further; gates have no weight decay and a learning rate of their own."""

    def optimizer(_: Any) -> torch.optim.Optimizer:
        gates = {p for _, gate in gates_of(task) for p in gate.factors.parameters()}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in task.parameters() if p not in gates]},
            {"params": list(gates), "lr": _FASTER * learning_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], learning_rate, weight_decay=task.weight_decay)

    task.make_optimizer = optimizer
    task.train()
    with attached(task):
        shown = {"enable_progress_bar": True, "callbacks": [EpochLines(), *callbacks]}
        quiet_trainer(max_epochs=epochs, limit_val_batches=0, **shown).fit(task, data)
    task.make_optimizer = None
