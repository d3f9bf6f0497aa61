"""What the benchmarks on the sphere share: networks, one schedule for all, scores, a file of results to resume from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from meshconv import Hierarchy
from meshconv.homogeneous import SpinUNet
from meshconv.models import IsotropicUNet, PixelwiseNetwork, PlanarUNet, SphereUNet

NETWORKS: dict[str, type[nn.Module]] = {
    "PixelwiseNetwork": PixelwiseNetwork,
    "IsotropicUNet": IsotropicUNet,
    "PlanarUNet": PlanarUNet,
    "SphereUNet": SphereUNet,
    "SpinUNet": SpinUNet,
}


class Results:
    """Results in a file, one line of JSON each, so that a run that was stopped goes on where it was."""

    def __init__(self, path: Path):
        self.path = path
        self.rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, **key: Any) -> bool:
        return bool(self.select(**key))

    def select(self, **key: Any) -> list[dict[str, Any]]:
        return [row for row in self.rows if all(row.get(k) == v for k, v in key.items())]

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(" ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)


def count_weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def train(
    network: nn.Module,
    surface: Hierarchy,
    batches: Callable[[], Iterator[tuple[Tensor, Tensor, Tensor]]],
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    rate: float,
    decay: float = 1e-2,
    noise: float = 0.0,
) -> float:
    """AdamW with a one-cycle schedule, as ``meshconv fit`` trains; seconds of processor time.

    Parameters
    ----------
    batches
        Called for an endless iterator of (features ``[B, V, dim]``, targets ``[B, V]``, bool mask ``[B, V]``).
    loss
        Of logits ``[N, classes]`` and targets ``[N]``.
    noise
        Standard deviation of what is added to the features at every step.
    """
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    network.train()
    start = time.process_time()
    for _, (x, target, mask) in zip(range(steps), batches(), strict=False):
        logits = network(x + noise * torch.randn_like(x) if noise else x, surface)
        optimiser.zero_grad()
        loss(logits[mask], target[mask]).backward()
        optimiser.step()
        schedule.step()
    network.eval()
    return time.process_time() - start


def zone_scores(prediction: Tensor, target: Tensor, num_classes: int) -> dict[str, float]:
    """Accuracy, and mean IoU over the classes that occur in truth or prediction."""
    index = multiclass_jaccard_index(prediction, target, num_classes, average="macro")
    return {"accuracy": float((prediction == target).double().mean()), "mean_iou": float(index)}
