"""What a network costs, and how good it is."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from meshconv.compress.surfaces import sphere_for
from meshconv.datasets.batch import SurfaceBatch
from meshconv.nn.compact.shrinking import has_kernel, in_type
from meshconv.nn.convolution.attention import GaugeAttention
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.convolution.depthwise import DepthwiseGaugeConv
from meshconv.nn.linear import Linear
from meshconv.testing.calls import evaluating
from meshconv.testing.gauge import gauge_equivariance_error
from meshconv.train.tasks.base import Task
from meshconv.train.tasks.classes import ClassTask
from meshconv.uncertainty.measures import calibration_error

_REPEATS = 7


@dataclass(frozen=True)
class Measures:
    """Cost and quality of a network; NaN for what does not exist, such as accuracy without data.

    Attributes
    ----------
    size : int
        Bytes of the weights and statistics in a checkpoint.
    fields : int
        Input fields of all layers with kernels together.
    multiply_adds : float
        Products with weights and in sums over neighbours, of one sample.
    milliseconds : float
        Processor time of the network for one sample, of all threads together, median: that of a busy machine as well.
    accuracy, mean_iou, calibration : float
        Shares; ``calibration`` is the expected calibration error.
    loss : float
        Of the test.
    gauge_error : float
        Relative, on a sphere.
    """

    size: int
    fields: int
    multiply_adds: float
    milliseconds: float
    accuracy: float
    mean_iou: float
    calibration: float
    loss: float
    gauge_error: float


def measure(task: Task, state: dict[str, Tensor], data: Any = None) -> Measures:
    """Measures of a task.

    Parameters
    ----------
    task
    state
        What its checkpoint holds.
    data : LightningDataModule, optional
        It is tested on the test split. Without data cost is that on a sphere of 768 points.
    """
    quality = {} if data is None else tested(task, data)
    network = task.network
    surface = sphere_for(network)
    x: Tensor = network.in_type.randn(surface.num_vertices, generator=torch.Generator().manual_seed(0))  # type: ignore[operator,union-attr]
    if data is None:
        given: tuple[Any, ...] = (x, surface.to(torch.float32))
    else:
        batch = first_batches(data, 1)[0]
        given = (batch.x, batch.surface, *(part for part in (batch.elements, batch.shares) if part is not None))
    has_type = getattr(network, "out_type", None) is not None
    return Measures(
        size=sum(value.numel() * value.element_size() for value in state.values()),
        fields=fields_read(network),
        multiply_adds=multiply_adds(network, given),
        milliseconds=milliseconds(network, given),
        accuracy=quality.get("accuracy", math.nan),
        mean_iou=quality.get("mean_iou", math.nan),
        calibration=quality.get("calibration", math.nan),
        loss=quality.get("loss", math.nan),
        gauge_error=gauge_equivariance_error(network, surface, dtype=torch.float32) if has_type else math.nan,
    )


def tested(task: Task, data: Any) -> dict[str, float]:
    """What the test of a task logs, without ``test/``, and ``calibration`` of classes."""
    calibration = Calibration()
    with attached(task):
        (logged,) = quiet_trainer(callbacks=[calibration]).test(task, data, verbose=False)
    found = {name.removeprefix("test/"): float(value) for name, value in logged.items()}
    return found | {"calibration": calibration.error}


@contextmanager
def attached(task: Task) -> Iterator[None]:
    """Let go of trainer and data at the end: a task is copied without them."""
    data = task.data
    with warnings.catch_warnings():
        for said in ("does not have many workers", "number of training batches"):
            warnings.filterwarnings("ignore", message=f".*{said}.*")
        try:
            yield
        finally:
            task.trainer, task.data = None, data
            task.eval()


def quiet_trainer(**options: Any) -> lightning.Trainer:
    """A trainer on the CPU that writes nothing."""
    leave = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
    leave["inference_mode"] = False  # what is tested here is trained afterwards, on surfaces that data and layers keep
    return lightning.Trainer(**{**leave, "enable_progress_bar": False, **options})


class Calibration(lightning.Callback):
    """Expected calibration error of a test, with the weights of points that the task's metrics have."""

    def __init__(self) -> None:
        self.parts: list[tuple[Tensor, ...]] = []

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: SurfaceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the probabilities of a batch."""
        if isinstance(pl_module, ClassTask):
            logits, target, weights = pl_module.counted(batch)
            weights = torch.ones_like(target, dtype=torch.float64) if weights is None else weights
            self.parts.append((logits.double().softmax(-1), target, weights))

    @property
    def error(self) -> float:
        """The error so far; NaN where nothing was counted."""
        if not self.parts:
            return math.nan
        p, target, weights = (torch.cat(parts).cpu().numpy() for parts in zip(*self.parts, strict=True))
        return calibration_error(p, target, weights)


def first_batches(data: Any, count: int) -> list[SurfaceBatch]:
    """The first batches of the training set, of one surface each where the loader has that choice."""
    single = copy.copy(data)
    if hasattr(single, "batch_size"):
        single.batch_size = 1
    single.setup("fit")
    found: list[SurfaceBatch] = []
    for batch in single.train_dataloader():
        found.append(batch)
        if len(found) == count:
            break
    return found


def fields_read(network: nn.Module) -> int:
    """Input fields of all convolutions and linear layers together; a convolution's own linear layer reads the same."""
    layers = [layer for name, layer in network.named_modules() if has_kernel(layer) and "self_interaction" not in name]
    return sum(in_type(layer).num_fields for layer in layers)


def multiply_adds(network: nn.Module, given: Sequence[Any]) -> float:
    """Products of a call with weights, and of the sums over neighbours before them.

    A coefficient of a kernel counts once for each point, a convolution's sum over neighbours as the product of its
    edges, radial functions, input components and :math:`2M + 1` frequencies for outputs up to order M.
    """
    total = 0.0

    def count(layer: Any, arguments: tuple[Any, ...], _: Tensor) -> None:
        nonlocal total
        rows = arguments[0][..., 0].numel()
        if isinstance(layer, Linear):
            total += rows * sum(weight.numel() for weight in layer.weights.values())
        elif isinstance(layer, GaugeAttention | GaugeConv | DepthwiseGaugeConv):
            conv = layer.values if isinstance(layer, GaugeAttention) else layer
            frequencies = 2 * layer.out_type.max_order + 1
            edges = arguments[1].num_edges * rows / arguments[1].num_vertices
            total += rows * conv.weight.numel() + edges * conv.num_radial * layer.in_type.dim * frequencies
        else:
            total += rows * layer.weight.numel()

    kinds = (Linear, GaugeAttention, GaugeConv, DepthwiseGaugeConv, nn.Linear)
    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    with evaluating(network):
        network(*given)
    for handle in handles:
        handle.remove()
    return total


def milliseconds(network: nn.Module, given: Sequence[Any]) -> float:
    """Median processor time of a call."""
    times = []
    with evaluating(network):
        network(*given)
        for _ in range(_REPEATS):
            start = time.process_time()
            network(*given)
            times.append(time.process_time() - start)
    return 1e3 * sorted(times)[_REPEATS // 2]


_ROWS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "size": ("weights, kB", lambda v: f"{v / 1e3:.1f}"),
    "fields": ("fields read", lambda v: f"{v:.0f}"),
    "multiply_adds": ("multiply-adds, millions", lambda v: f"{v / 1e6:.2f}"),
    "milliseconds": ("milliseconds", lambda v: f"{v:.2f}"),
    "accuracy": ("accuracy, %", lambda v: f"{100 * v:.2f}"),
    "mean_iou": ("mean IoU, %", lambda v: f"{100 * v:.2f}"),
    "calibration": ("calibration error, %", lambda v: f"{100 * v:.2f}"),
    "loss": ("loss", lambda v: f"{v:.4f}"),
    "gauge_error": ("gauge error", lambda v: f"{v:.1e}"),
}


def table(columns: dict[str, Measures]) -> str:
    """Measures side by side, in Markdown; what none of them has is left out."""
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, (title, text) in _ROWS.items():
        values = [getattr(measures, name) for measures in columns.values()]
        if not all(map(math.isnan, values)):
            lines.append(f"| {title} | " + " | ".join("-" if math.isnan(v) else text(v) for v in values) + " |")
    return "\n".join(lines)
