"""Digits turned at random, on the sphere and on the plane: accuracies of networks that know the group, and of others.

    python benchmarks/turned_digits.py sphere --out digits.jsonl --methods spin planar --seeds 0
    python benchmarks/turned_digits.py plane --out digits.jsonl
    python benchmarks/turned_digits.py plane --out digits.jsonl --print       # the tables of docs/homogeneous.md

The 1,797 digits of scikit-learn, 1,297 for training, 500 for the test, upright (NR) or each turned at random once (R).
A network is trained on one kind, that of NR is tested on both. On the sphere they stand in stereographic projection of
half-angle 1 rad on HEALPix nside 16, and are analysed to degree 12; on the plane on 24 x 24 pixels.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from map_training import Results, count_weights
from scipy.ndimage import map_coordinates, rotate, zoom
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import HealpixSphere
from meshconv.homogeneous import GroupConv2d, PlanarType, SphereTransform, SpinClassifier
from meshconv.models import ShapeClassifier
from meshconv.nn.convolution.neighbours import Aggregation

LMAX, TRAIN = 12, 1297
GAUGE: dict[str, Aggregation] = {"gauge": "quadrature", "gauge-mean": "mean"}


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


def shuffled(seed: int) -> tuple[np.ndarray, Tensor, np.random.Generator]:
    """Images ``[1797, 8, 8]`` in 0 to 1, the training's first, and the digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    return images[order].reshape(-1, 8, 8) / 16, torch.from_numpy(labels[order]), rng


def on_the_sphere(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Maps ``[1797, V, 1]`` upright and turned, and the digits."""
    sphere, (images, labels, _) = HealpixSphere(16), shuffled(seed)
    turns = Rotation.random(len(images), random_state=seed).as_matrix()
    upright = np.broadcast_to(np.eye(3), turns.shape)
    maps = {k: projected(images, sphere.xyz, t) for k, t in (("NR", upright), ("R", turns))}
    return {k: torch.from_numpy(m).float()[..., None] for k, m in maps.items()}, labels


def on_the_plane(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Images ``[1797, 1, 24, 24]`` upright and turned, and the digits."""
    images, labels, rng = shuffled(seed)
    large = np.pad(zoom(images, (1, 2, 2), order=1), ((0, 0), (4, 4), (4, 4)))
    angles = rng.uniform(0, 360, len(large))
    turned = np.stack([rotate(x, a, reshape=False, order=1) for x, a in zip(large, angles, strict=True)])
    return {k: torch.from_numpy(x).float()[:, None] for k, x in (("NR", large), ("R", turned))}, labels


class PlanarCNN(nn.Module):
    """Convolutions on the map of latitude and longitude, periodic in longitude."""

    def __init__(self, width: int = 34):
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

    def __init__(self, aggregation: Aggregation) -> None:
        super().__init__()
        sphere = HealpixSphere(8)
        self.graph = sphere.gauge_graph(2.7 * sphere.spacing).to(torch.float32)
        self.network = ShapeClassifier("1x0", 10, 16, max_order=1, blocks=3, width=64, aggregation=aggregation)

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
    if method in GAUGE:
        return GaugeClassifier(GAUGE[method]), SphereTransform(LMAX, HealpixSphere(8)).synthesis(coefficients, "1x0")
    return OnGauss(gauss, channels=(8, 12), width=64), gauss.synthesis(coefficients, "1x0")


class GroupNorm2d(nn.Module):
    """Batch normalisation of regular fields: one mean and size for all elements of the group."""

    def __init__(self, fields: PlanarType):
        super().__init__()
        self.fields, self.norm = fields.num_fields, nn.BatchNorm3d(fields.num_fields)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.unflatten(1, (self.fields, -1))).flatten(1, 2)


class Invariants(nn.Module):
    """The highest value of each field over the group, then over the image."""

    def __init__(self, fields: PlanarType | None = None):
        super().__init__()
        self.fields = fields

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.fields is None else self.fields.invariants(x)).amax((-2, -1))


def image_network(method: str) -> nn.Module:
    """Three convolutions with 5 x 5 filters: of regular fields of a group, or plain ones with as many weights."""
    layers: list[nn.Module] = []
    if method == "CNN":
        sizes = (1, 16, 24, 32)
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Conv2d(a, b, 5, padding=2), nn.BatchNorm2d(b), nn.SiLU(), nn.AvgPool2d(2)]
        return nn.Sequential(*layers, Invariants(), nn.Dropout(0.2), nn.Linear(sizes[-1], 10))
    counts = {"C4": (12, 16, 24), "C8": (8, 12, 16)}[method]
    types = [PlanarType(method, "1x0"), *(PlanarType(method, f"{n}xregular") for n in counts)]
    for one, two in zip(types[:-1], types[1:], strict=True):
        layers += [GroupConv2d(one, two), GroupNorm2d(two), nn.SiLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, Invariants(types[-1]), nn.Dropout(0.2), nn.Linear(counts[-1], 10))


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


def run(given: argparse.Namespace, data: Callable, build: Callable) -> None:
    """Train each method on upright and on turned digits, and keep the accuracies.

    ``data`` gives the digits by kind for a seed, ``build`` a network and the digits as it takes them.
    """
    results = Results(given.out)
    for seed in [] if given.print else given.seeds:
        digits, labels = data(seed)
        for method in given.methods:
            made = {kind: build(method, x)[1] for kind, x in digits.items()}
            for trained in given.trained:
                key = {"domain": given.domain, "method": method, "seed": seed, "trained": trained,
                       "epochs": given.epochs, "rate": given.rate}  # fmt: skip
                if results.has(**key):
                    continue
                torch.manual_seed(seed)
                network = build(method, digits["NR"][:1])[0]
                start = time.process_time()
                fit(network, made[trained][:TRAIN], labels[:TRAIN], given.epochs, given.rate)
                minutes = (time.process_time() - start) / 60
                tested = ("NR", "R") if trained == "NR" else ("R",)
                scores = {k: accuracy(network, made[k][TRAIN:], labels[TRAIN:]) for k in tested}
                results.add(key | {"weights": count_weights(network), "minutes": minutes, "accuracy": scores})
    table(results, given)


def table(results: Results, given: argparse.Namespace) -> None:
    """Accuracies in per cent, mean and spread over the seeds."""
    print("| network | weights | seeds | minutes | NR/NR | NR/R | R/R |\n| --- | --- | --- | --- | --- | --- | --- |")
    for method in given.methods:
        rows = results.select(domain=given.domain, method=method, epochs=given.epochs, rate=given.rate)
        if not rows:
            continue
        cells = []
        for trained, tested in (("NR", "NR"), ("NR", "R"), ("R", "R")):
            found = [100 * row["accuracy"][tested] for row in rows if row["trained"] == trained]
            spread = f" ± {np.std(found):.1f}" if len(found) > 1 else ""
            cells.append(f"{np.mean(found):.1f}{spread}" if found else "")
        minutes = np.mean([row["minutes"] for row in rows])
        seeds = len({row["seed"] for row in rows})
        print(f"| {method} | {rows[0]['weights']:,} | {seeds} | {minutes:.1f} | {' | '.join(cells)} |")


DOMAINS: dict[str, tuple[Any, Any, list[str]]] = {
    "sphere": (on_the_sphere, inputs_of, ["spin", *GAUGE, "planar"]),
    "plane": (on_the_plane, lambda method, x: (image_network(method), x), ["C8", "C4", "CNN"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    domains = parser.add_subparsers(dest="domain", required=True)
    for name, (_, _, methods) in DOMAINS.items():
        command = domains.add_parser(name)
        command.add_argument("--out", type=Path, required=True, help="file of results, one line of JSON each")
        command.add_argument("--methods", nargs="*", default=methods, choices=methods)
        command.add_argument("--trained", nargs="*", default=["NR", "R"], choices=["NR", "R"])
        command.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
        command.add_argument("--epochs", type=int, default=20)
        command.add_argument("--rate", type=float, default=6e-3)
        command.add_argument("--print", action="store_true", help="print the table of the results, run nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run(given, *DOMAINS[given.domain][:2])


if __name__ == "__main__":
    main()
