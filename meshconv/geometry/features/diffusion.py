"""Averages over a surface at a given length scale: one implicit step of heat diffusion."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, diags_array

from meshconv.geometry.features.sparse import SymmetricFactor, dissection_order
from meshconv.geometry.mesh.halfedges import HalfEdges
from meshconv.geometry.mesh.measures import FloatArray

# Cotangents of slivers grow without bound, those of obtuse pairs are negative; both would break the maximum principle.
_LARGEST_WEIGHT = 10.0
# Vertices without area keep their own value instead of making the system singular.
_SMALLEST_MASS = 1e-9


class HeatAverage:
    r"""Averages by heat diffusion, :math:`(M + t L)^{-1} M f` with vertex areas M and the cotangent Laplacian L.

    The root mean square radius of the average is :math:`2\sqrt{t}`, independent of triangulation and resolution.
    Cotangent weights are clipped to [0, 10], so the maximum principle holds on any mesh.

    Parameters
    ----------
    half_edges : HalfEdges
    corners : float64 [H]
        Corner angle at the origin of each half-edge.
    areas : float64 [V]
        Any unit; only ratios matter.
    points : float64 [V, 3]
        Positions of the vertices; only the order of elimination depends on them.
    """

    def __init__(self, half_edges: HalfEdges, corners: FloatArray, areas: FloatArray, points: FloatArray):
        v = half_edges.num_vertices
        self.mass = np.maximum(areas / areas.sum(), _SMALLEST_MASS / v)
        opposite = corners[half_edges.next(half_edges.next(np.arange(len(corners))))]
        with np.errstate(divide="ignore"):
            cotangent = np.clip(0.5 / np.tan(opposite), -_LARGEST_WEIGHT, _LARGEST_WEIGHT)
        i, j = half_edges.origin, half_edges.tip
        weight = coo_array((cotangent, (i, j)), shape=(v, v)).tocsr()
        weight = weight + weight.T
        weight.data.clip(0.0, _LARGEST_WEIGHT, out=weight.data)
        self.laplacian = diags_array(np.asarray(weight.sum(axis=1)).ravel()) - weight
        self._order = dissection_order(points, self.laplacian)

    def solve(self, time: float, integrals: FloatArray) -> FloatArray:
        r""":math:`(M + t L)^{-1} b` for ``b`` given as integrals over the vertices' areas.

        Parameters
        ----------
        time : float
            In units of the total area.
        integrals : float64 [V, C]

        Returns
        -------
        float64 [V, C]
            Densities per total area; their integral is the sum of ``integrals``.
        """
        matrix = diags_array(self.mass) + time * self.laplacian
        return SymmetricFactor(matrix.tocsr(), self._order).solve(integrals)
