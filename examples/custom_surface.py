"""A custom surface: a GaugeGraph from points, normals and neighbours.

Here a helicoid with twice as many points along as across, its normals from the closed form and its neighbours from the
grid of parameters; then a Moebius strip, which has no outside: normals of either sign, and fields of O(2).

    python examples/custom_surface.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from meshconv import PointCloud
from meshconv.nn import GaugeConv, NormNonlinearity, Sequential
from meshconv.testing import gauge_equivariance_error, isometry_error, permutation_error


def sampled(surface: Callable, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals of a parametrised surface, the slopes by central differences."""
    step = 1e-6
    du = (surface(u + step, v) - surface(u - step, v)) / (2 * step)
    dv = (surface(u, v + step) - surface(u, v - step)) / (2 * step)
    normals = np.cross(du, dv)
    return surface(u, v), normals / np.linalg.norm(normals, axis=1, keepdims=True)


def grid_neighbours(rows: int, columns: int) -> list[np.ndarray]:
    """The up to eight neighbours of each point of a grid, as numbers of points."""
    i, j = np.divmod(np.arange(rows * columns), columns)
    found = []
    for a, b in zip(i, j, strict=True):
        near = (abs(i - a) <= 1) & (abs(j - b) <= 1)
        near[a * columns + b] = False
        found.append(np.flatnonzero(near))
    return found


def helicoid(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.stack([v * np.cos(u), v * np.sin(u), 0.5 * u], axis=1)


def moebius(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    r = 2 + v * np.cos(u / 2)
    return np.stack([r * np.cos(u), r * np.sin(u), v * np.sin(u / 2)], axis=1)


def network(scalars: str, fields: str) -> Sequential:
    return Sequential(GaugeConv(scalars, fields), NormNonlinearity(fields), GaugeConv(fields, scalars))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40)
    rows = parser.parse_args().rows
    torch.manual_seed(0)
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 4, 2 * rows), np.linspace(-1, 1, rows), indexing="ij"))
    graph = PointCloud(*sampled(helicoid, u, v)).gauge_graph(grid_neighbours(2 * rows, rows))
    print(f"helicoid: {graph}")
    model = network("1x0", "8x0 + 8x1")
    y = model(torch.cos(3 * graph.positions[:, :1]).float(), graph.to(torch.float32))
    print(f"  output {tuple(y.shape)}, mean {float(y.detach().mean()):.3f}")
    for measure in (gauge_equivariance_error, isometry_error, permutation_error):
        print(f"  {measure.__name__}: {measure(model, graph):.1e}")

    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 2 * np.pi, 4 * rows + 1)[:-1], np.linspace(-0.5, 0.5, 9)))
    graph = PointCloud(*sampled(moebius, u, v)).gauge_graph(nearest=8, unoriented=True)
    print(f"Moebius strip: {graph}, {int(graph.reflected.sum())} edges reflect")
    model = network("O(2): 1x0", "8x0 + 4x0- + 8x1")
    print(f"  gauge_equivariance_error, turned and reflected frames: {gauge_equivariance_error(model, graph):.1e}")


if __name__ == "__main__":
    main()
