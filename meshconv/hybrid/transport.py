"""Known physics between times: advection by a tangent field and diffusion, as a prior over space and time."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse import block_array, coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from meshconv.blas import single_threaded_blas
from meshconv.errors import InputError
from meshconv.geometry.features.sparse import SymmetricFactor, dissection_order
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.hybrid.arrays import check_shape, finite, like
from meshconv.hybrid.matern import SparsePrior, SurfaceOperators, check_positive


class AdvectionDiffusion:
    r"""Implicit steps of a scalar that a tangent field carries and that diffuses.

    :math:`\partial_t x = -v \cdot \nabla x + D\,\Delta x`, in linear finite elements with lumped masses:

    .. math:: (C + \Delta t\,(D\,G + B))\, x_{t+1} = C\, x_t, \qquad
        B_{ij} = \sum_f \tfrac13 A_f\, v_f \cdot \nabla\varphi_j

    Constants do not change. The error is of first order in the time step.

    Parameters
    ----------
    surface : TriangleMesh, SphereGrid or SurfaceComplex
    velocity : array [V, 3]
        In space, at the vertices; the tangent part of its mean over a triangle's corners counts.
    diffusivity
        D >= 0, in squared length units per time.
    dt
        Time step.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> sphere = HealpixSphere(4)
    >>> flow = AdvectionDiffusion(sphere, np.zeros((192, 3)), diffusivity=0.1, dt=0.5)
    >>> z = flow.step(sphere.xyz[:, 2])
    >>> bool(abs(z[0] / sphere.xyz[0, 2] - 1 / (1 + 0.5 * 0.1 * 2)) < 0.01)
    True
    """

    def __init__(
        self, surface: TriangleMesh | SphereGrid | SurfaceComplex, velocity: Any, diffusivity: float, dt: float
    ):
        check_positive(dt=dt)
        if not 0 <= diffusivity < np.inf:
            raise InputError(f"diffusivity {diffusivity} has to be at least 0 and finite")
        given = surface if isinstance(surface, SurfaceComplex) else surface.surface_complex()
        complex_ = given.to("cpu", torch.float64)
        self.operators, self.dt, self.diffusivity = SurfaceOperators(complex_), dt, diffusivity
        n = self.operators.num_vertices
        v = finite(velocity, "velocity")
        check_shape(v, "velocity", (n, 3), f"the surface has {n} points")
        faces = complex_.faces.numpy()
        inside = np.einsum("fki,fi->fk", complex_.frames.numpy()[:, :2], v.numpy()[faces].mean(1))
        slope = np.einsum("fck,fk->fc", complex_.hat_gradient.numpy().reshape(-1, 3, 2), inside)
        part = slope * complex_.areas.numpy()[:, None] / 3
        rows, columns = np.repeat(faces, 3, axis=1).ravel(), np.tile(faces, 3).ravel()
        advection = coo_array((np.tile(part, 3).ravel(), (rows, columns)), shape=(n, n))
        self.mass = diags_array(self.operators.mass).tocsr()
        self.implicit: csr_array = (self.mass + dt * (diffusivity * self.operators.stiffness + advection)).tocsr()
        with single_threaded_blas():
            self._factor = splu(self.implicit.tocsc())

    @single_threaded_blas()
    def step(self, x: Any) -> Any:
        """The field one time step later, [V] or [V, C]."""
        field = finite(x, "x")
        n = self.operators.num_vertices
        check_shape(field, "x", (n, *field.shape[1:]), f"the surface has {n} points")
        return like(torch.from_numpy(self._factor.solve(self.mass @ field.numpy())), x)


class SpaceTimePrior:
    r"""Prior of a series of fields: Matern at the first time, steps of known physics with noise between times.

    .. math:: -2 \log p(x) = x_0^T Q x_0 + \sum_t r_t^T S^{-1} r_t, \qquad r_t = M x_{t+1} - C x_t

    with the implicit matrix M of :class:`AdvectionDiffusion` and the covariance S = w^2 C of noise that is white in
    space: w is its standard deviation in one step, per square root of area. One sparse matrix over all times; points
    are numbered time by time, t V + v.

    Parameters
    ----------
    flow : AdvectionDiffusion
    times
        Number of times, at least 2.
    range, deviation
        Of the Matern field at the first time, as in :class:`Kriging`.
    process_noise
        w.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> flow = AdvectionDiffusion(HealpixSphere(2), np.zeros((48, 3)), diffusivity=0.1, dt=0.5)
    >>> prior = SpaceTimePrior(flow, times=3, range=1.0, deviation=1.0, process_noise=0.1)
    >>> prior.estimate([0, 100], [1.0, 1.0], noise=0.1).shape
    (3, 48)
    """

    def __init__(self, flow: AdvectionDiffusion, times: int, range: float, deviation: float, process_noise: float):
        check_positive(process_noise=process_noise)
        if times < 2:
            raise InputError(f"times {times} has to be at least 2; use Kriging for one")
        self.flow, self.times = flow, times
        self.num_points = times * flow.operators.num_vertices
        first = SparsePrior(flow.operators, range, deviation).precision
        weight = diags_array(1 / (process_noise**2 * flow.operators.mass))
        ahead, behind = flow.implicit, flow.mass
        diagonal = [behind.T @ weight @ behind] * (times - 1) + [0 * first]
        diagonal = [d + (first if t == 0 else ahead.T @ weight @ ahead) for t, d in enumerate(diagonal)]
        right = -(behind.T @ weight @ ahead)
        blocks: list[list[Any]] = [[None] * times for _ in diagonal]
        for t, block in enumerate(diagonal):
            blocks[t][t] = block
            if t + 1 < times:
                blocks[t][t + 1], blocks[t + 1][t] = right, right.T
        self.precision: csr_array = block_array(blocks).tocsr()

    @cached_property
    def _elimination(self) -> np.ndarray:
        """Order of elimination: a time step counts as the two edges that the precision reaches in space."""
        operators = self.flow.operators
        places = operators.graph.positions.numpy()
        step = 2 * np.sqrt(operators.mass.mean())
        points = np.concatenate([np.c_[places, np.full(len(places), t * step)] for t in range(self.times)])
        return dissection_order(points, self.precision)

    def factor(self, matrix: csr_array) -> SymmetricFactor:
        """Factorisation of a symmetric matrix with the reach of the precision."""
        return SymmetricFactor(matrix, self._elimination)

    def estimate(self, points: Any, values: Any, noise: float) -> Any:
        """Posterior mean [times, V].

        Parameters
        ----------
        points : int array [n]
            t V + v of each observation.
        values : array [n]
        noise
            Standard deviation of an observation.
        """
        check_positive(noise=noise)
        index, y = torch.as_tensor(points).flatten().numpy(), finite(values, "values")
        if not len(index):
            raise InputError("no observations; give at least one point")
        check_shape(y, "values", (len(index),), f"there are {len(index)} points")
        if not 0 <= index.min() <= index.max() < self.num_points:
            raise InputError(f"observations are off the surface and times: points {index.min()}..{index.max()}, "
                             f"expected 0..{self.num_points - 1}")  # fmt: skip
        right = np.bincount(index, y.numpy() / noise**2, self.num_points).astype(np.float64)
        count = np.bincount(index, minlength=self.num_points) / noise**2
        solution = self.factor((self.precision + diags_array(count)).tocsr()).solve(right)
        return like(torch.from_numpy(solution.reshape(self.times, -1)), values)
