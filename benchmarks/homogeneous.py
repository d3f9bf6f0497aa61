"""Spin-weighted and group convolutions: dimensions, errors, convergence of gauge convolutions to them, cost of a layer.

    python benchmarks/homogeneous.py dimensions
    python benchmarks/homogeneous.py errors
    python benchmarks/homogeneous.py convergence
    python benchmarks/homogeneous.py equivariance --figure docs/images/equivariance.png
    python benchmarks/homogeneous.py cost
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
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import FieldType, HealpixSphere
from meshconv.homogeneous import (
    GroupConv2d,
    MatrixGroup,
    PlanarType,
    SphereTransform,
    SpinConv,
    SpinNonlinearity,
    SpinQuadratic,
    double_coset_basis,
    rotate_coefficients,
    rotation,
    tilt,
    translation,
)
from meshconv.homogeneous.transform import pad
from meshconv.nn import GatedNonlinearity, GaugeConv, NormNonlinearity


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


def turned_error(
    module: nn.Module, surface: object, transform: SphereTransform, c: Tensor, dtype: torch.dtype = torch.float64
) -> float:
    """Relative error of what a layer makes of turned fields against what it makes, turned: the highest of three turns.

    ``c`` are coefficients of the fields; fields are turned by Wigner matrices.
    """
    into, out = FieldType(module.in_type), FieldType(module.out_type)  # type: ignore[arg-type]

    def apply(c: Tensor) -> Tensor:
        return module(transform.synthesis(c, into).to(dtype), surface).double()

    with torch.no_grad():
        y, found = apply(c), []
        of_y = transform.analysis(y, out)
        for turn in Rotation.random(3, random_state=0).as_matrix():
            expected = transform.synthesis(rotate_coefficients(of_y, turn), out)
            found.append(float((apply(rotate_coefficients(c, turn)) - expected).norm() / y.norm()))
    return max(found)


def run_errors(given: argparse.Namespace) -> None:
    kind = FieldType("4x0 + 4x1 + 2x2")
    print("| layer, lmax 15 | Gauss, float64 | Gauss, float32 | HEALPix nside 8, float64 | float32 |")
    print("| --- | --- | --- | --- | --- |")
    grids = [SphereTransform(15), SphereTransform(15, HealpixSphere(8))]
    layers = {"`SpinConv`": SpinConv(kind, kind, 15), "`SpinQuadratic`": SpinQuadratic(kind, kind, 15)}
    for act in (NormNonlinearity, GatedNonlinearity):
        for factor in (1, 1.5, 2):
            layers[f"`{act.__name__}`, oversampling {factor}"] = SpinNonlinearity(act(kind), 15, factor)
    for name, layer in layers.items():
        errors = []
        for grid in grids:
            c = 0.5 * grid.random(layer.in_type, generator=torch.Generator().manual_seed(0))
            errors += [turned_error(layer.to(d), grid, grid, c, d) for d in (torch.float64, torch.float32)]
        print(f"| {name} | {' | '.join(f'{e:.0e}' for e in errors)} |", flush=True)
    run_planar_errors()


SUMS = {"equal weights": "mean", "quadrature": "quadrature"}


def run_equivariance(given: argparse.Namespace) -> None:
    """Convolutions of fields up to degree 9 on ever finer HEALPix, float64; and the figure."""
    kind, degree = FieldType("4x0 + 4x1"), 9
    errors: dict[str, list[float]] = {f"`GaugeConv`, {name}": [] for name in SUMS}
    errors["`SpinConv`"] = []
    print(f"| nside | {' | '.join(errors)} |\n{'| --- ' * (1 + len(errors))}|")
    for nside in given.nsides:
        sphere = HealpixSphere(nside)
        transform, graph = SphereTransform(min(2 * nside, 32), sphere), sphere.gauge_graph(2.7 * sphere.spacing)
        c = SphereTransform(degree).random(kind, generator=torch.Generator().manual_seed(0))
        c = pad(c, transform.lmax)
        for row, how in zip(errors.values(), SUMS.values(), strict=False):
            torch.manual_seed(0)
            row.append(turned_error(GaugeConv(kind, kind, aggregation=how).double(), graph, transform, c))
        spins = SpinConv(kind, kind, transform.lmax).double()
        errors["`SpinConv`"].append(turned_error(spins, transform, transform, c))
        print(f"| {nside} | {' | '.join(f'{row[-1]:.1e}' for row in errors.values())} |", flush=True)
    if given.figure:
        draw_equivariance(given.figure, given.nsides, errors)


def draw_equivariance(path: Path, nsides: list[int], errors: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6, 4), layout="constrained")
    ax = drawing.subplots()
    for (name, row), mark in zip(errors.items(), "sod", strict=True):
        ax.loglog(nsides, row, marker=mark, label=name.replace("`", ""))
    ax.set_xticks(nsides, [str(n) for n in nsides])
    ax.minorticks_off()
    ax.set(xlabel="nside", ylabel="relative error under rotations")
    ax.grid(alpha=0.3)
    ax.legend()
    drawing.savefig(path, dpi=110)


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
    for name, run in (("dimensions", run_dimensions), ("errors", run_errors)):
        commands.add_parser(name).set_defaults(run=run)
    for name, run, nsides in (
        ("convergence", run_convergence, [8, 12, 16, 24]),
        ("equivariance", run_equivariance, [8, 16, 32, 64]),
        ("cost", run_cost, [16, 32, 64]),
    ):
        command = commands.add_parser(name)
        command.add_argument("--nsides", nargs="*", type=int, default=nsides)
        command.set_defaults(run=run)
    commands.choices["cost"].add_argument("--layer", help="one of them, in this process")
    commands.choices["equivariance"].add_argument("--figure", type=Path, help="draw the errors over nside")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.run(given)


if __name__ == "__main__":
    main()
