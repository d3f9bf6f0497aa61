"""Spin-weighted and group convolutions: errors, digits on the sphere and on the plane, cost of a layer.

    python benchmarks/homogeneous.py dimensions
    python benchmarks/homogeneous.py errors
    python benchmarks/homogeneous.py digits --out digits.jsonl --methods spin planar --seeds 0
    python benchmarks/homogeneous.py cost

Digits are the 1,797 of scikit-learn (1,297 for training, 500 for the test), in stereographic projection with half-angle
1 rad on HEALPix nside 16, upright (NR) or turned at random once each (R), analysed to degree 12.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import HealpixSphere
from meshconv.homogeneous import SphereTransform, SpinClassifier
from meshconv.models import ShapeClassifier

LMAX, TRAIN = 12, 1297


def projected(images: np.ndarray, xyz: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Images ``[n, 8, 8]`` on points of the sphere ``[n, V]``, around the north pole turned by ``turns [n, 3, 3]``."""
    maps = np.zeros((len(images), len(xyz)))
    for image, turn, values in zip(images, turns, maps, strict=True):
        x, y, z = (xyz @ turn).T
        radius = np.tan(np.arccos(np.clip(z, -1, 1)) / 2) / math.tan(0.5)
        angle = np.arctan2(y, x)
        column, row = radius * np.cos(angle), radius * np.sin(angle)
        inside = (np.abs(column) < 1.3) & (np.abs(row) < 1.3)
        place = 3.5 + 3.5 * np.stack([row[inside], column[inside]])
        values[inside] = map_coordinates(image, place, order=1, mode="constant")
    return maps


def digits(sphere: HealpixSphere, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Maps ``[1797, V, 1]`` upright and turned, the training's first, and the digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    images = images[order].reshape(-1, 8, 8) / 16
    turns = Rotation.random(len(images), random_state=seed).as_matrix()
    upright = np.broadcast_to(np.eye(3), turns.shape)
    maps = {k: projected(images, sphere.xyz, t) for k, t in (("NR", upright), ("R", turns))}
    return {k: torch.from_numpy(m).float()[..., None] for k, m in maps.items()}, torch.from_numpy(labels[order])


class PlanarCNN(nn.Module):
    """Convolutions on the map of latitude and longitude, periodic in longitude."""

    def __init__(self, width: int = 24):
        super().__init__()
        sizes = (1, width, width, 2 * width)
        layers: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            conv = nn.Conv2d(a, b, 3, padding=(1, 1), padding_mode="circular")
            layers += [conv, nn.BatchNorm2d(b), nn.SiLU(), nn.AvgPool2d(2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(2 * width * 3 * 6, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class GaugeClassifier(nn.Module):
    """Blocks of gauge convolutions on HEALPix nside 8, and their mean over the sphere."""

    def __init__(self) -> None:
        super().__init__()
        sphere = HealpixSphere(8)
        self.graph = sphere.gauge_graph(2.7 * sphere.spacing).to(torch.float32)
        self.network = ShapeClassifier("1x0", 10, channels=10, max_order=1, blocks=3, width=64)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, self.graph)[..., 0, :]


class OnGauss(nn.Module):
    def __init__(self, transform: SphereTransform, **options: object):
        super().__init__()
        self.transform, self.network = transform, SpinClassifier("1x0", 10, lmax=LMAX, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, self.transform)


def inputs_of(method: str, maps: Tensor) -> tuple[nn.Module, Tensor]:
    """A network and the digits as it takes them."""
    fit, gauss = SphereTransform(16, HealpixSphere(16)), SphereTransform(LMAX)
    coefficients = fit.analysis(maps, "1x0", LMAX)
    if method == "planar":
        return PlanarCNN(), SphereTransform(23).synthesis(coefficients, "1x0").reshape(-1, 1, 24, 48)
    if method == "gauge":
        return GaugeClassifier(), SphereTransform(LMAX, HealpixSphere(8)).synthesis(coefficients, "1x0")
    return OnGauss(gauss, channels=(8, 12), width=64), gauss.synthesis(coefficients, "1x0")


def fit(network: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-2)
    batches = math.ceil(len(x) / 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for part in torch.randperm(len(x)).chunk(batches):
            loss = nn.functional.cross_entropy(network(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        print(f"epoch {epoch}: {total / len(x):.4f}", flush=True)


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network.eval()
    right = [(network(a).argmax(-1) == b) for a, b in zip(x.split(100), y.split(100), strict=True)]
    return float(torch.cat(right).float().mean())


def run_digits(given: argparse.Namespace) -> None:
    for seed in given.seeds:
        maps, labels = digits(HealpixSphere(16), seed)
        for method in given.methods:
            made = {k: inputs_of(method, m)[1] for k, m in maps.items()}
            for trained in given.trained:
                tested = ("NR", "R") if trained == "NR" else ("R",)
                torch.manual_seed(seed)
                network = inputs_of(method, maps["NR"][:1])[0]
                start, cpu = time.time(), time.process_time()
                fit(network, made[trained][:TRAIN], labels[:TRAIN], given.epochs, given.rate)
                row = {
                    "method": method, "seed": seed, "trained": trained, "epochs": given.epochs,
                    "weights": sum(p.numel() for p in network.parameters()),
                    "minutes": (time.time() - start) / 60, "cpu_minutes": (time.process_time() - cpu) / 60,
                    "accuracy": {k: accuracy(network, made[k][TRAIN:], labels[TRAIN:]) for k in tested},
                }  # fmt: skip
                print(json.dumps(row), flush=True)
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("digits")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--methods", nargs="*", default=["spin", "gauge", "planar"])
    command.add_argument("--trained", nargs="*", default=["NR", "R"], choices=["NR", "R"])
    command.add_argument("--seeds", nargs="*", type=int, default=[0])
    command.add_argument("--epochs", type=int, default=20)
    command.add_argument("--rate", type=float, default=6e-3)
    command.set_defaults(run=run_digits)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.run(given)


if __name__ == "__main__":
    main()
