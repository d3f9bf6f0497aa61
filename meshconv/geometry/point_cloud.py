"""Point clouds with normals: neighbours, projected log maps, normal-aligning transport."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray, dot
from meshconv.geometry.mesh.transport import normal_aligning, tangent_frames
from meshconv.geometry.nearest import tree_of
from meshconv.ops.rows import compressed_rows


@dataclass(frozen=True, eq=False)
class PointCloud:
    r"""Point cloud: points of a surface with normals.

    The log map of a neighbour is its chord, rotated into the tangent plane; the transporter is the smallest rotation of
    one normal onto the other. On a sphere both are exact up to the length of the chord.

    Parameters
    ----------
    points : float [V, 3]
        Any unit of length.
    normals : float [V, 3]
        Any length but zero. Normals of an oriented surface point to one side of it.

    Raises
    ------
    InputError
        Wrong shapes, numbers that are not finite, a normal without direction.

    Notes
    -----
    ``tests/test_point_cloud.py`` compares with the closed form on the sphere and with meshes.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(100, 3))
    >>> points /= np.linalg.norm(points, axis=1, keepdims=True)
    >>> PointCloud(points, normals=points).gauge_graph(nearest=6)
    GaugeGraph(1 surfaces, 100 vertices, 600 edges, torch.float64, cpu)
    """

    points: FloatArray
    normals: FloatArray

    def __post_init__(self) -> None:
        for key in ("points", "normals"):
            values = np.ascontiguousarray(getattr(self, key), dtype=np.float64)
            if values.ndim != 2 or values.shape[1] != 3:
                raise InputError(f"{key} have shape {values.shape}; give one row x, y, z per point")
            if not np.isfinite(values).all():
                bad = int((~np.isfinite(values).all(axis=1)).argmax())
                raise InputError(f"{key} are not finite, the first at point {bad}: {values[bad].tolist()}")
            object.__setattr__(self, key, values)
        if len(self.points) != len(self.normals):
            raise InputError(f"{len(self.points)} points have {len(self.normals)} normals; give one for each")
        length = np.sqrt(dot(self.normals, self.normals))
        if not (length > 0).all():
            raise InputError(f"the normal of point {int((length == 0).argmax())} is zero, it has no direction")
        object.__setattr__(self, "normals", self.normals / length[:, None])

    def gauge_graph(
        self,
        neighbours: Sequence[ArrayLike] | None = None,
        *,
        nearest: int = 8,
        areas: ArrayLike | None = None,
        unoriented: bool = False,
    ) -> GaugeGraph:
        r"""Gauge graph of the points.

        Parameters
        ----------
        neighbours : sequence of int arrays, optional
            Row p lists the neighbours of point p, any number of them, for example rows of an
            array ``[V, k]``. By default the ``nearest`` ones in space.
        nearest
            Number k of nearest neighbours, if none are given.
        areas : float [V], optional
            Quadrature weight of each point. By default :math:`2\pi \sum_j r_j^2 / k (k + 1)` from the distances of its
            k neighbours: unbiased for random points, up to 15 % too large on regular grids.
        unoriented
            The signs of normals are arbitrary: the transporter of a neighbour with a normal to the other side
            reflects. Such a graph needs fields of O(2).

        Returns
        -------
        GaugeGraph
            float64, on the CPU; e1 of every frame lies along the coordinate axis farthest from the normal.

        Raises
        ------
        InputError
            A neighbour out of range, a point that is its own neighbour, rows or areas that are not one per point, or
            too few points.
        """
        count = len(self.points)
        given = self._nearest(nearest) if neighbours is None else neighbours
        rows = [np.asarray(row, dtype=np.int64).ravel() for row in given]
        if len(rows) != count:
            raise InputError(f"{len(rows)} rows of neighbours for {count} points; give one row for each")
        dst = np.repeat(np.arange(count), [len(row) for row in rows])
        src = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
        self._check_edges(src, dst)
        order = np.lexsort((src, dst))
        src, dst = src[order], dst[order]
        frames = tangent_frames(self.normals, np.zeros_like(self.normals))
        reflected = dot(self.normals[src], self.normals[dst]) < 0 if unoriented else np.zeros(len(src), dtype=bool)
        # Sources of reflecting edges in frames with e2 and the normal turned over, behind the frames as they are.
        both = np.concatenate([frames, frames * [[1.0], [-1.0], [-1.0]]])
        edges = normal_aligning(np.tile(self.points, (2, 1)), both, src + count * reflected, dst)
        if areas is None:
            areas = self._areas(edges.log_radius, dst)
        weights = np.asarray(areas, dtype=np.float64)
        if weights.shape != (count,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise InputError(f"areas have shape {weights.shape}; give one number that is not negative per point")
        mean = float(weights.mean()) if count else 1.0
        graph = GaugeGraph.from_rows(
            compressed_rows(torch.from_numpy(dst), count),
            torch.from_numpy(src),
            torch.from_numpy(edges.log_radius),
            wrap_angle(torch.from_numpy(edges.log_angle)),
            wrap_angle(torch.from_numpy(edges.transporter)),
            frames=torch.from_numpy(frames),
            positions=torch.from_numpy(self.points.copy()),
            areas=torch.from_numpy(weights.copy()),
            scale=mean**0.5 if mean > 0 else 1.0,
        )
        if reflected.any():
            graph = replace(graph, reflected=torch.from_numpy(reflected))
        graph.validate()
        return graph

    def _nearest(self, nearest: int) -> IntArray:
        count = len(self.points)
        if not 1 <= nearest < max(count, 2):
            raise InputError(f"{nearest} nearest neighbours of {count} points; it takes 1 to {max(count - 1, 1)}")
        if count < 2:
            return np.zeros((count, 0), dtype=np.int64)
        found = tree_of(self.points).query(self.points, k=nearest + 1)[1]
        # The point itself is first, unless others coincide with it.
        own = found == np.arange(count)[:, None]
        own[~own.any(axis=1), -1] = True
        return found[~own].reshape(count, nearest)

    def _check_edges(self, src: IntArray, dst: IntArray) -> None:
        bad = np.flatnonzero((src < 0) | (src >= len(self.points)))
        if len(bad):
            raise InputError(
                f"point {dst[bad[0]]} has neighbour {src[bad[0]]}, points are numbered 0 to {len(self.points) - 1}"
            )
        loops = np.flatnonzero(src == dst)
        if len(loops):
            raise InputError(f"point {dst[loops[0]]} is its own neighbour; leave points out of their own rows")

    def _areas(self, radius: FloatArray, dst: IntArray) -> FloatArray:
        count = len(self.points)
        valence = np.bincount(dst, minlength=count)
        squares = np.bincount(dst, weights=radius**2, minlength=count)
        areas = 2 * np.pi * squares / np.maximum(valence * (valence + 1), 1)
        known = valence > 0
        areas[~known] = areas[known].mean() if known.any() else 1.0
        return areas
