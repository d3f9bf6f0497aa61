"""Spin-weighted and group convolutions: errors, digits on the sphere and on the plane, cost of a layer.

    python benchmarks/homogeneous.py dimensions
    python benchmarks/homogeneous.py errors
    python benchmarks/homogeneous.py convergence
    python benchmarks/homogeneous.py digits --out digits.jsonl --methods spin planar --seeds 0
    python benchmarks/homogeneous.py cost

Digits are the 1,797 of scikit-learn (1,297 for training, 500 for the test), in stereographic projection with half-angle
1 rad on HEALPix nside 16, upright (NR) or turned at random once each (R), analysed to degree 12.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from entries import peak
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import FieldType, HealpixSphere
from meshconv.homogeneous import (
    GroupConv2d,
    MatrixGroup,
    PlanarType,
    SphereTransform,
    SpinClassifier,
    SpinConv,
    SpinNonlinearity,
    SpinQuadratic,
    double_coset_basis,
    rotate_coefficients,
    rotation,
    tilt,
    translation,
)
from meshconv.models import ShapeClassifier
from meshconv.nn import GatedNonlinearity, GaugeConv, NormNonlinearity

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


def run_dimensions(given: argparse.Namespace) -> None:
    so2, o2 = MatrixGroup.so2(), MatrixGroup.o2()
    print("| orders out, in | north pole | generic | south pole |\n| --- | --- | --- | --- |")
    for out in range(3):
        for into in range(3):
            dims = [len(double_coset_basis(f"1x{out}", f"1x{into}", tilt(b), so2, so2)) for b in (0, 1, math.pi)]
            print(f"| {out}, {into} | {' | '.join(map(str, dims))} |")
    kinds = ("O(2): 1x0", "1x0-", "O(2): 1x1", "O(2): 1x2")
    for name, gamma in (("origin", translation(0)), ("ring", translation(1))):
        print(name, [[len(double_coset_basis(a, b, gamma, o2, o2)) for b in kinds] for a in kinds])


def run_errors(given: argparse.Namespace) -> None:
    """Relative errors under three random rotations, of coefficients by Wigner matrices, in the output's norm."""
    kind = FieldType("4x0 + 4x1 + 2x2")
    turns = Rotation.random(3, random_state=0).as_matrix()

    def error(module: nn.Module, transform: SphereTransform, dtype: torch.dtype) -> float:
        module, found = module.to(dtype), []
        c = 0.5 * transform.random(module.in_type, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        with torch.no_grad():
            out = module.out_type

            def apply(c: Tensor) -> Tensor:
                y = module(transform.synthesis(c, module.in_type).to(dtype), transform)  # type: ignore[arg-type]
                return transform.analysis(y.double(), out)  # type: ignore[arg-type]

            y = apply(c)
            found = [
                float((apply(rotate_coefficients(c, t)) - rotate_coefficients(y, t)).norm() / y.norm()) for t in turns
            ]
        return max(found)

    print("| layer, lmax 15 | Gauss, float64 | Gauss, float32 | HEALPix nside 8, float64 | float32 |")
    print("| --- | --- | --- | --- | --- |")
    grids = [SphereTransform(15), SphereTransform(15, HealpixSphere(8))]
    layers = {"`SpinConv`": SpinConv(kind, kind, 15), "`SpinQuadratic`": SpinQuadratic(kind, kind, 15)}
    for act in (NormNonlinearity, GatedNonlinearity):
        for factor in (1, 1.5, 2):
            layers[f"`{act.__name__}`, oversampling {factor}"] = SpinNonlinearity(act(kind), 15, factor)
    for name, layer in layers.items():
        errors = [error(layer, grid, dtype) for grid in grids for dtype in (torch.float64, torch.float32)]
        print(f"| {name} | {' | '.join(f'{e:.0e}' for e in errors)} |", flush=True)
    run_planar_errors()


def run_planar_errors() -> None:
    offset = torch.arange(33, dtype=torch.float64) - 16
    for group, turn in (("C4", math.pi / 2), ("C8", math.pi / 4), ("SO(2)", 0.3)):
        image, hidden = PlanarType(group, "1x0"), PlanarType(group, "2x0 + 1x1")
        torch.manual_seed(0)
        conv = GroupConv2d(image, hidden, size=7).double()

        def centre(angle: float, conv: GroupConv2d = conv) -> np.ndarray:
            x = math.cos(angle) * offset[None] - math.sin(angle) * offset[:, None]
            y = -math.sin(angle) * offset[None] - math.cos(angle) * offset[:, None]
            blobs = torch.exp(-((x - 2) ** 2 + y**2) / 18) - torch.exp(-((y - 3) ** 2 + x**2) / 14)
            return conv(blobs[None, None])[0, :, 16, 16].detach().numpy()

        expected = hidden.matrix(rotation(turn)) @ centre(0)
        error = np.linalg.norm(centre(turn) - expected) / np.linalg.norm(expected)
        print(f"GroupConv2d, {group}, turned by {turn:.3f}: {error:.0e}")


class Profile(nn.Module):
    """One function of the relative radius, zero from 1 on."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]):
        super().__init__()
        self.function = function

    def forward(self, radius: Tensor) -> Tensor:
        values = radius.numpy()
        return torch.from_numpy(self.function(values) * (values < 1)).to(radius)[:, None]


PROFILES = {"smooth": lambda t: (1 - t**2) ** 2, "hat": lambda t: 1 - t, "box": np.ones_like}


def homogeneous(profile: Callable[[np.ndarray], np.ndarray], radius: float, lmax: int) -> SpinConv:
    r"""The convolution of a scalar with R(d), to a scalar, and with R(d) times the direction, to a vector.

    The second is minus the gradient of the convolution with G, G' = R, so that E has the factor -sqrt(l (l + 1)) G_l.
    """
    nodes, weights = np.polynomial.legendre.leggauss(300)
    distance, step = (nodes + 1) / 2 * radius, weights / 2 * radius
    rest = distance[:, None] + (nodes + 1) / 2 * (radius - distance[:, None])
    primitive = -(weights / 2 * (radius - distance[:, None]) * profile(rest / radius)).sum(1)
    conv = SpinConv("1x0", "1x0 + 1x1", lmax, num_functions=None, bias=False).double()
    with torch.no_grad():
        conv.weight.zero_()
        for degree in range(lmax + 1):
            legendre = np.polynomial.legendre.Legendre.basis(degree)(np.cos(distance)) * np.sin(distance) * step
            conv.weight[degree, 0, 0] = 2 * math.pi * float(legendre @ profile(distance / radius))
            conv.weight[degree, 0, 1] = -((degree * (degree + 1)) ** 0.5) * 2 * math.pi * float(legendre @ primitive)
    return conv


def gauge_errors(name: str, nside: int, radius: float = 0.5, lmax: int = 6) -> tuple[float, float]:
    """Relative errors, scalar and vector, of area-weighted gauge convolutions against the homogeneous ones."""
    profile, sphere = PROFILES[name], HealpixSphere(nside, "ring")
    transform = SphereTransform(lmax, sphere)
    x = transform.synthesis(transform.random("1x0", generator=torch.Generator().manual_seed(0)), "1x0")
    conv = GaugeConv(
        "1x0", "1x0 + 1x1", 1, aggregation="sum", radial=Profile(profile), self_interaction=False, bias=False
    )
    conv = conv.double()
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, :2] = float(sphere.areas[0])  # a scalar, and a vector along the edge
        found = conv(x, sphere.gauge_graph(radius))
        found[:, :1] += float(sphere.areas[0] * profile(np.zeros(1))[0]) * x  # the point itself
        exact = homogeneous(profile, radius, lmax)(x, transform)
    return tuple(float((found - exact)[:, k].norm() / exact[:, k].norm()) for k in (slice(0, 1), slice(1, 3)))  # type: ignore[return-value]


def run_convergence(given: argparse.Namespace) -> None:
    print("| radial function | nside | scalar to scalar | scalar to vector |\n| --- | --- | --- | --- |")
    for name in PROFILES:
        errors = np.array([gauge_errors(name, nside) for nside in given.nsides])
        for nside, (a, b) in zip(given.nsides, errors, strict=True):
            print(f"| {name} | {nside} | {a:.1e} | {b:.1e} |", flush=True)
        orders = np.log(errors[0] / errors[-1]) / math.log(given.nsides[-1] / given.nsides[0])
        print(f"| {name} | order | {orders[0]:.1f} | {orders[1]:.1f} |", flush=True)


def spectral_convolution(channels: int, lmax: int) -> tuple[nn.Module, tuple[int, int]]:
    """That of torch-harmonics on a Gauss-Legendre grid of as many degrees, and the shape of the grid."""
    import torch_harmonics
    from torch_harmonics.examples.models._layers import SpectralConvS2

    shape, kind = (lmax + 1, 2 * lmax + 2), {"lmax": lmax + 1, "mmax": lmax + 1, "grid": "legendre-gauss"}
    there, back = torch_harmonics.RealSHT(*shape, **kind), torch_harmonics.InverseRealSHT(*shape, **kind)
    return SpectralConvS2(there, back, channels, channels), shape


def layer_on_a_sample(layer: str, nside: int) -> Callable[[], Tensor]:
    """A layer of 16 scalars and 16 vectors, or of as many numbers, ready to be called."""
    kind = FieldType("16x0 + 16x1")
    if layer == "GaugeConv":
        sphere = HealpixSphere(nside)
        graph = sphere.gauge_graph(2.5 * sphere.spacing).to(torch.float32)
        gauge, x = GaugeConv(kind, kind), kind.randn(1, graph.num_vertices, requires_grad=True)
        return lambda: gauge(x, graph)
    if layer == "SpectralConvS2":
        spectral, shape = spectral_convolution(kind.dim, nside)
        maps = torch.randn(1, kind.dim, *shape, requires_grad=True)
        return lambda: spectral(maps)[0]
    grid = SphereTransform(nside, "gauss")
    spin, fields = SpinConv(kind, kind, nside), kind.randn(1, grid.num_points, requires_grad=True)
    if layer == "SpinConv":
        return lambda: spin(fields, grid)
    return lambda: grid.synthesis(grid.analysis(fields, kind), kind)


def cost_of(layer: str, nside: int) -> dict[str, float]:
    """Processor milliseconds and megabytes of one layer, forward and backward, on one sample."""
    call = layer_on_a_sample(layer, nside)
    call().sum().backward()  # tables of the first call are no part of a step
    ctypes.CDLL(None).malloc_trim(0)  # what it has freed counts again
    found = {"mb": peak(lambda: call().sum().backward(), torch.device("cpu"))[0]}
    times = []
    for _ in range(5):
        start = time.process_time()
        call().sum().backward()
        times.append((time.process_time() - start) * 1e3)
    return found | {"ms": float(np.median(times))}


def run_cost(given: argparse.Namespace) -> None:
    """Each layer in a process of its own."""
    if given.layer:
        print(json.dumps(cost_of(given.layer, given.nsides[0])))
        return
    names = {"SpinConv": "`SpinConv`", "transforms": "transforms alone", "SpectralConvS2": "`SpectralConvS2`",
             "GaugeConv": "`GaugeConv`, 20 neighbours"}  # fmt: skip
    print(f"| nside, lmax | {', ms, MB | '.join(names.values())}, ms, MB |")
    print("| --- " * (len(names) + 1) + "|")
    for nside in given.nsides:
        cells = []
        for layer in names:
            command = [sys.executable, __file__, "cost", "--layer", layer, "--nsides", str(nside)]
            done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            cells.append(f"{done['ms']:.0f}, {done['mb']:.0f}")
        print(f"| {nside}, {nside} | {' | '.join(cells)} |", flush=True)


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
    for name, run in (("dimensions", run_dimensions), ("errors", run_errors)):
        commands.add_parser(name).set_defaults(run=run)
    for name, run, nsides in (("convergence", run_convergence, [8, 12, 16, 24]), ("cost", run_cost, [16, 32, 64])):
        command = commands.add_parser(name)
        command.add_argument("--nsides", nargs="*", type=int, default=nsides)
        command.set_defaults(run=run)
    command.add_argument("--layer", help="one of them, in this process")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.run(given)


if __name__ == "__main__":
    main()
