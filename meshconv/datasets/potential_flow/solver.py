"""Steady potential flow around a smooth closed body, by an integral equation for the potential on its surface."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, eye_array

from meshconv.errors import InputError
from meshconv.geometry.nearest import tree_of

Array = NDArray[np.float64]

# Neighbours of a vertex in the fit of a cubic: more than two rings, for nine unknowns.
_NEIGHBOURS = 24
# More would take a matrix of 3 GB.
_MOST = 20_000


class SurfaceFlow(NamedTuple):
    """Flow at the vertices of a body, in units of the speed of the stream.

    Attributes
    ----------
    potential : float64 [V]
        Up to a constant, in units of length times speed.
    velocity : float64 [V, 3]
        Tangential.
    pressure : float64 [V]
        Pressure coefficient.
    """

    potential: Array
    velocity: Array
    pressure: Array


class BodyFlow:
    r"""Boundary-element solver of the flow around one body, for any stream.

    The potential :math:`\Phi` of an incompressible flow without vorticity, with :math:`\Phi \to U \cdot x` far away and
    no flow through the surface S, fulfils on S

    .. math:: \Phi(x) - \int_S (\Phi(y) - \Phi(x)) \frac{n_y \cdot (x - y)}{4 \pi |x - y|^3} dA_y = U \cdot x

    with the outward normal n. The integrand is bounded, since the double layer of a constant is known, and is summed
    over the vertices with their areas: the error falls as the square of their spacing. The velocity is the surface
    gradient of :math:`\Phi`, by a cubic through the neighbours of each vertex, and the pressure coefficient
    :math:`1 - |u|^2 / |U|^2`.

    Parameters
    ----------
    vertices : float [V, 3]
        Of a smooth closed surface, in any unit.
    faces : int [F, 3]
        Outward.

    Raises
    ------
    InputError
        A surface that is not closed or not outward, or with more than 20,000 vertices.

    Notes
    -----
    ``tests/test_potential_flow.py`` compares with the closed forms of sphere and ellipsoid (Lamb, Hydrodynamics, 1932,
    articles 92 and 114).

    Examples
    --------
    >>> from meshconv.geometry import icosahedral_sphere
    >>> from scipy.spatial import ConvexHull
    >>> x = icosahedral_sphere(2).xyz
    >>> faces = ConvexHull(x).simplices
    >>> turned = np.einsum("fi,fi->f", x[faces[:, 0]], np.cross(x[faces[:, 1]], x[faces[:, 2]])) < 0
    >>> faces[turned] = faces[turned][:, ::-1]
    >>> flow = BodyFlow(x, faces)([1.0, 0.0, 0.0])
    >>> bool(np.abs(flow.pressure - (1 - 2.25 * (1 - x[:, 0] ** 2))).max() < 0.03)
    True
    """

    def __init__(self, vertices: ArrayLike, faces: ArrayLike):
        self.vertices, self.faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
        count = len(self.vertices)
        if not _NEIGHBOURS < count <= _MOST:
            raise InputError(f"{count} vertices; potential flow takes {_NEIGHBOURS + 1} to {_MOST:,}")
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        there, back = (np.sort(e[:, 0] * count + e[:, 1]) for e in (edges, edges[:, ::-1]))
        if not np.array_equal(there, back) or (np.diff(there) == 0).any():
            raise InputError("the surface is not closed; potential flow is around closed bodies")
        a, b, c = self.vertices[self.faces].transpose(1, 0, 2)
        across = np.cross(b - a, c - a)
        if np.einsum("fi,fi->", a - self.vertices.mean(axis=0), across) <= 0:
            raise InputError("the faces look inward; turn them over")
        rough = np.stack([np.bincount(self.faces.reshape(-1), np.repeat(across[:, k], 3), minlength=count)
                          for k in range(3)], axis=1)  # fmt: skip
        self._near = self._neighbours()
        self.normals = rough / np.linalg.norm(rough, axis=1, keepdims=True)
        for _ in range(2):  # the second time in frames that are nearly exact
            self._fit(self.normals)
        # Of the curved surface over each flat face: on a sphere with edges of length l the factor is 1 + l^2 / 8 R^2.
        bent = ((self.normals[self.faces] - self.normals[np.roll(self.faces, 1, axis=1)]) ** 2).sum(axis=(1, 2))
        areas = np.linalg.norm(across, axis=1) / 2 * (1 + bent / 24)
        self.areas = np.bincount(self.faces.reshape(-1), np.repeat(areas / 3, 3), minlength=count)
        self._matrix = self._equation()

    def __call__(self, stream: ArrayLike) -> SurfaceFlow:
        """Flow of a stream with the direction of ``stream`` ``[3]``.

        Raises
        ------
        InputError
            A stream that is no vector with a length.
        """
        given = np.asarray(stream, dtype=np.float64)
        if given.shape != (3,) or not np.isfinite(given).all() or not given.any():
            raise InputError(f"stream {given.tolist()} is no vector x, y, z with a length")
        along = self.vertices @ (given / np.linalg.norm(given))
        potential: Array = np.linalg.solve(self._matrix, along).astype(np.float64)
        slopes = np.einsum("vck,vk->vc", self._solve, potential[self._near] - potential[:, None])[:, :2]
        velocity = np.einsum("vci,vc->vi", self._tangents, slopes)
        return SurfaceFlow(potential, velocity, 1 - (velocity**2).sum(axis=1))

    def _neighbours(self) -> NDArray[np.int64]:
        """Vertices near each, ``[V, k]``: ring by ring, since the nearest in space may all lie in one direction."""
        count = len(self.vertices)
        near = tree_of(self.vertices).query(self.vertices, k=_NEIGHBOURS + 1)[1][:, 1:].astype(np.int64)
        corners = self.faces[:, [0, 1, 2, 1, 2, 0]].reshape(-1, 2, 3)
        src, dst = corners[:, 0].ravel(), corners[:, 1].ravel()
        step = coo_array((np.ones(len(src)), (src, dst)), shape=(count, count)).tocsr() + eye_array(count, format="csr")
        two = step @ step
        reach = (two @ step).tocoo()
        # 1 to 3: a vertex is in the first ring that has it.
        inside = [(hops.tocsr()[reach.row, reach.col] != 0) for hops in (step, two)]
        ring = 3 - np.sum([np.asarray(found).ravel() for found in inside], axis=0)
        length = np.linalg.norm(self.vertices[reach.row] - self.vertices[reach.col], axis=1)
        other = reach.row != reach.col
        row, col = reach.row[other], reach.col[other]
        order = np.lexsort((length[other], ring[other], row))
        starts = np.searchsorted(row[order], np.arange(count + 1))
        enough = np.flatnonzero(np.diff(starts) >= _NEIGHBOURS)
        near[enough] = col[order][starts[enough][:, None] + np.arange(_NEIGHBOURS)]
        return near

    def _fit(self, rough: Array) -> None:
        """Cubics through the neighbours of each vertex: exact normals, and what makes gradients of values."""
        distance = np.linalg.norm(self.vertices[self._near] - self.vertices[:, None], axis=2)
        axis = np.eye(3)[np.abs(rough).argmin(axis=1)]
        e1 = np.cross(rough, axis)
        e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
        e2 = np.cross(rough, e1)
        off = self.vertices[self._near] - self.vertices[:, None]
        u, v, h = (np.einsum("vki,vi->vk", off, e) for e in (e1, e2, rough))
        # Nearer neighbours count more, so that the terms left out do less harm.
        weight = (distance.mean(axis=1, keepdims=True) / distance) ** 2
        terms = np.stack([u, v, u * u, u * v, v * v, u**3, u * u * v, u * v * v, v**3], axis=2)
        self._solve = np.linalg.pinv(terms * weight[..., None]) * weight[:, None]
        p, q = np.einsum("vck,vk->vc", self._solve, h)[:, :2].T
        along = np.stack([e1 + p[:, None] * rough, e2 + q[:, None] * rough], axis=1)
        # Dual to these: the gradient of f is the sum of its slopes times them.
        self._tangents = np.linalg.inv(np.einsum("vci,vdi->vcd", along, along)) @ along
        normal = rough - p[:, None] * e1 - q[:, None] * e2
        self.normals = normal / np.linalg.norm(normal, axis=1, keepdims=True)

    def _equation(self) -> Array:
        """Matrix of the equation, ``[V, V]``."""
        x, n, w = self.vertices, self.normals, self.areas
        square = np.maximum((x**2).sum(1)[:, None] + (x**2).sum(1)[None] - 2 * x @ x.T, 0.0)
        np.fill_diagonal(square, np.inf)
        layer = (x @ n.T - (x * n).sum(1)) * w / (4 * np.pi * square**1.5)
        np.fill_diagonal(layer, 0.0)
        matrix = -layer
        matrix[np.diag_indices(len(x))] = 1 + layer.sum(axis=1)
        return matrix


def ellipsoid_velocity(axes: ArrayLike, points: ArrayLike, stream: ArrayLike) -> Array:
    r"""Velocity on the surface of an ellipsoid in closed form, in units of the speed of the stream, ``[V, 3]``.

    On the surface :math:`\Phi = \sum_i \frac{2}{2 - \alpha_i} U_i x_i` with :math:`\alpha_i = abc \int_0^\infty
    \frac{d\lambda}{(a_i^2 + \lambda) \sqrt{(a^2 + \lambda)(b^2 + \lambda)(c^2 + \lambda)}}`, so the velocity is the
    tangential part of the constant vector :math:`\frac{2 U_i}{2 - \alpha_i}`.

    Parameters
    ----------
    axes : float [3]
        Half lengths along x, y and z.
    points : float [V, 3]
        On the surface.
    stream : float [3]

    Examples
    --------
    >>> ellipsoid_velocity([1, 1, 1], [[0, 1, 0]], [1, 0, 0]).round(6).tolist()
    [[1.5, 0.0, 0.0]]
    """
    from scipy.special import elliprd

    a, given = np.asarray(axes, dtype=np.float64), np.asarray(stream, dtype=np.float64)
    squares = a**2
    # Carlson's integral R_D is 3/2 of the one above.
    parts = [2 / 3 * a.prod() * elliprd(*np.delete(squares, i), squares[i]) for i in range(3)]
    steady = 2 / (2 - np.array(parts)) * given / np.linalg.norm(given)
    x = np.asarray(points, dtype=np.float64)
    normal = x / squares
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return steady - (normal @ steady)[:, None] * normal
