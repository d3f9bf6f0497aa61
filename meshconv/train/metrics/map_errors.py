"""Geodesic errors of correspondences."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from meshconv.geometry.mesh.distances import surface_distances
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.tables import write_table

log = logging.getLogger(__name__)

#: Radii of the curve, normalised by the square root of the surface area.
RADII = np.linspace(0, 0.25, 101)

# The vertex that each vertex of the first mesh of a pair is matched to on the second, by their places.
Matching = Callable[[int, int], Tensor]


class Shape(NamedTuple):
    """A mesh with its common points.

    Attributes
    ----------
    mesh : callable
        Makes the :class:`TriangleMesh`.
    samples : int64 [K]
        Its vertex for each common point, or -1.
    """

    mesh: Callable[[], TriangleMesh]
    samples: IntArray


def map_errors(
    matchings: dict[str, Matching],
    shapes: Sequence[Shape],
    pairs: Sequence[tuple[int, int]],
    points: int = 1000,
    seed: int = 0,
) -> dict[str, list[NDArray[np.float64]]]:
    """Geodesic errors of maps between surfaces, as in Kim et al. 2011 and Ren et al. 2018.

    The error of a common point is the geodesic distance on the target between its match and its true vertex, normalised
    by the square root of the surface area.

    Parameters
    ----------
    matchings : dict of callable
        Maps to be measured, by name.
    shapes : sequence of Shape
    pairs : sequence of (source, target)
        Places in ``shapes``.
    points
        Number of common points of each target, drawn with ``seed``; all if there are fewer.

    Returns
    -------
    dict of list of float64 [points]
        For each name and pair. A match in another component has the largest distance on the target.

    Notes
    -----
    ``tests/test_map_errors.py`` measures known displacements on a sphere.

    References
    ----------
    Kim, Lipman, Funkhouser, "Blended intrinsic maps", 2011. Ren, Poulenard, Wonka, Ovsjanikov, "Continuous and
    orientation-preserving correspondences via functional maps", 2018.
    """
    errors: dict[tuple[str, int, int], NDArray[np.float64]] = {}
    for target in sorted({b for _, b in pairs}):
        truth = shapes[target].samples
        drawn = np.random.default_rng([seed, target]).permutation(np.flatnonzero(truth >= 0))[:points]
        mesh = shapes[target].mesh()
        distances = surface_distances(mesh, truth[drawn]) / np.sqrt(mesh.area)
        distances[np.isinf(distances)] = distances[np.isfinite(distances)].max()
        for source in sorted({a for a, b in pairs if b == target}):
            starts = shapes[source].samples[drawn]
            known = starts >= 0
            for name, matching in matchings.items():
                found = matching(source, target).numpy()[starts[known]]
                errors[name, source, target] = distances[known, found]
    return {name: [errors[name, a, b] for a, b in pairs] for name in matchings}


def error_curve(errors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Share of matches with an error of at most each of :data:`RADII`, the mean over pairs."""
    return np.mean([(e[:, None] <= RADII).mean(axis=0) for e in errors if len(e)], axis=0)


def write_errors(folder: Path, errors: dict[str, list[NDArray[np.float64]]], pairs: Sequence[tuple[str, str]]) -> None:
    """``geodesic_errors.csv`` (mean of each pair, x 100), ``geodesic_curve.csv`` and its picture."""
    rows = ([*names, *(f"{100 * e[k].mean():.4f}" for e in errors.values())] for k, names in enumerate(pairs))
    write_table(folder / "geodesic_errors.csv", ["source", "target", *errors], rows)
    curves = {name: error_curve(e) for name, e in errors.items()}
    rows = ([f"{r:.4f}", *(f"{c[i]:.5f}" for c in curves.values())] for i, r in enumerate(RADII))
    write_table(folder / "geodesic_curve.csv", ["radius", *curves], rows)
    from meshconv.viz.curves import draw_curves

    means = {name: 100 * float(np.mean([e.mean() for e in errors[name]])) for name in curves}
    labels = {f"{name} (mean {means[name]:.1f})": 100 * curve for name, curve in curves.items()}
    with atomic_write(folder / "geodesic_curve.png") as part:
        figure = draw_curves(100 * RADII, labels, "geodesic error x 100", "matches within, %")
        figure.savefig(part, format="png", dpi=150)
