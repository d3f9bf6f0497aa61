"""Matern priors of fields on surfaces as sparse precision matrices."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_array, csr_array, diags_array

from meshconv.errors import InputError
from meshconv.geometry.features.sparse import SymmetricFactor, dissection_order
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.hybrid.arrays import check_memory

Surface = TriangleMesh | SphereGrid | SurfaceComplex | GaugeGraph
_BLOCK = 512  # right-hand sides at a time
_DEGREES = 300  # of harmonics, at least
_SMALLEST_MASS = 1e-9  # of the mean, for vertices without area


class SurfaceOperators:
    r"""Mass and stiffness matrices of fields of one order, from a surface's cotangents, areas and transporters.

    .. math:: G_{pq} = -w_{pq}\, e^{i m g_{q \to p}}, \quad G_{pp} = \sum_q w_{pq}, \quad C_{pp} = A_p

    so that :math:`x^* G x = \sum w_{pq} |x_p - e^{i m g} x_q|^2` over the edges, the Dirichlet energy of scalars
    (m = 0) and of tangent fields (m = 1) as complex numbers in the graph's frames.

    Parameters
    ----------
    surface : TriangleMesh, SphereGrid, SurfaceComplex or GaugeGraph
        A graph has no triangles: its weights are means of :math:`4 A_p / \sum_q r_{pq}^2` at both ends of an edge,
        exact for quadratic functions on regular neighbourhoods, and approximate elsewhere.
    order
        m.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> operators = SurfaceOperators(HealpixSphere(4))
    >>> bool(operators.mass.sum() < 4 * np.pi), bool(np.abs(operators.stiffness.sum(1)).max() < 1e-12)
    (True, True)
    """

    def __init__(self, surface: Surface, order: int = 0):
        self.order = order
        if isinstance(surface, GaugeGraph):
            graph = surface.to("cpu", torch.float64)
            areas, weight = graph.areas.numpy(), _weights_of_graph(graph)
        else:
            made = surface if isinstance(surface, SurfaceComplex) else surface.surface_complex()
            made = made.to("cpu", torch.float64)
            graph, areas, weight = made.graph, made.vertex_areas.numpy(), made.cotangent.numpy()
        self.graph, self.num_vertices = graph, graph.num_vertices
        if not areas.sum() > 0:
            raise InputError(f"the surface has {len(areas)} points and no triangles; give one with faces")
        self.mass = np.maximum(areas, _SMALLEST_MASS * areas.mean())
        src, dst = graph.src.numpy(), graph.dst.numpy()
        turned = weight * np.exp(1j * order * graph.transporter.numpy()) if order else weight
        n = self.num_vertices
        off = coo_array((-turned, (dst, src)), shape=(n, n)).tocsr()
        off = (off + off.conj().T) / 2  # rounding errors of the transporters
        self.stiffness: csr_array = (off + diags_array(np.bincount(dst, weight, n))).tocsr()

    @cached_property
    def elimination(self) -> np.ndarray:
        """Order of elimination for matrices of twice the reach of the stiffness."""
        return dissection_order(self.graph.positions.numpy(), abs(self.stiffness) @ abs(self.stiffness))

    def factor(self, matrix: csr_array) -> SymmetricFactor:
        """Factorisation of a symmetric matrix with at most the reach of two edges."""
        return SymmetricFactor(matrix, self.elimination)

    def precision(self, kappa: float, tau: float) -> csr_array:
        r""":math:`Q = \tau^2 (\kappa^2 C + G)\, C^{-1} (\kappa^2 C + G)`."""
        half = diags_array(kappa**2 * self.mass) + self.stiffness
        return (tau**2 * (half @ diags_array(1 / self.mass) @ half)).tocsr()


def _weights_of_graph(graph: GaugeGraph) -> np.ndarray:
    src, dst = graph.src.numpy(), graph.dst.numpy()
    total = np.bincount(dst, graph.log_radius.numpy() ** 2, graph.num_vertices)
    rate = 4 * graph.areas.numpy() / np.maximum(total, np.finfo(float).tiny)
    return (rate[dst] + rate[src]) / 2


def matern_precision(surface: Surface, kappa: float, tau: float = 1.0, order: int = 0) -> csr_array:
    r"""Sparse precision of a Matern field, :math:`Q = \tau^2 (\kappa^2 C + G)\, C^{-1} (\kappa^2 C + G)`.

    The solution of :math:`\tau (\kappa^2 - \Delta) x = \text{white noise}` in linear finite elements, lumped masses:
    smoothness 1, correlation 0.14 at the distance :math:`\sqrt 8 / \kappa`, and, where that is short against the
    surface's curvature, variance :math:`1 / (4 \pi \kappa^2 \tau^2)`.

    Parameters
    ----------
    surface : TriangleMesh, SphereGrid or SurfaceComplex
    kappa
        Per length unit of the surface.
    tau
    order
        0: scalars. m > 0: fields of order m, complex numbers in the frames of the surface's gauge graph.

    Returns
    -------
    csr_array [V, V]
        Real for order 0, else Hermitian.

    References
    ----------
    Lindgren, Rue, Lindstrom: An explicit link between Gaussian fields and Gaussian Markov random fields: the stochastic
    partial differential equation approach, 2011.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> matern_precision(HealpixSphere(4), kappa=5.0).shape
    (192, 192)
    """
    check_positive(kappa=kappa, tau=tau)
    return SurfaceOperators(surface, order).precision(kappa, tau)


def check_positive(**numbers: float) -> None:
    """Raise ``InputError`` unless all are positive and finite."""
    for name, value in numbers.items():
        if not 0 < value < np.inf:
            raise InputError(f"{name} {value} has to be positive and finite")


def sphere_covariance(cosine: np.ndarray, kappa: float, tau: float = 1.0, highest: int = 200) -> np.ndarray:
    r"""Exact covariance of a Matern field on the unit sphere, summed over harmonics.

    .. math:: k(\cos\theta) = \sum_{l \le L} \frac{2l + 1}{4 \pi\, \tau^2 (\kappa^2 + l (l + 1))^2} P_l(\cos\theta)

    Parameters
    ----------
    cosine : array
        Of the angle between points.
    kappa, tau
        As in :func:`matern_precision`.
    highest
        L; what is left out is at most :math:`1 / (4 \pi \tau^2 L^2)`.

    Examples
    --------
    >>> float(np.round(sphere_covariance(np.array(1.0), kappa=10.0, tau=1 / (10 * np.sqrt(4 * np.pi))), 3))
    1.001
    """
    check_positive(kappa=kappa, tau=tau)
    degree = np.arange(highest + 1)
    weights = (2 * degree + 1) / (4 * np.pi * tau**2 * (kappa**2 + degree * (degree + 1)) ** 2)
    return np.polynomial.legendre.legval(np.asarray(cosine), weights)


class SparsePrior:
    """Matern field with the sparse precision of :func:`matern_precision`.

    Parameters
    ----------
    operators
    range, deviation
        As in :class:`Kriging`.
    """

    def __init__(self, operators: SurfaceOperators, range: float, deviation: float):
        self.operators, self.num_points = operators, operators.num_vertices
        self.precision = operators.precision(*kappa_and_tau(range, deviation))

    @cached_property
    def factor(self) -> SymmetricFactor:
        return self.operators.factor(self.precision)

    def columns(self, index: np.ndarray) -> np.ndarray:
        """Covariance of all points and some, [V, n]."""
        right = np.zeros((self.num_points, len(index)), dtype=self.precision.dtype)
        right[index, np.arange(len(index))] = 1.0
        return self.factor.solve(right)

    @cached_property
    def deviations(self) -> np.ndarray:
        """Standard deviation at each point [V]."""
        found = np.empty(self.num_points)
        for start in range(0, self.num_points, _BLOCK):
            chosen = np.arange(start, min(start + _BLOCK, self.num_points))
            found[chosen] = self.columns(chosen)[chosen, np.arange(len(chosen))].real
        return np.sqrt(found)

    def condition(self, index: np.ndarray, y: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray, float]:
        r"""Posterior mean [V] without the prior's, :math:`K^{-1} y` and log det K of the observations' covariance K."""
        count = np.bincount(index, minlength=self.num_points) / noise**2
        right = np.zeros(self.num_points, dtype=np.result_type(y, self.precision.dtype))
        np.add.at(right, index, y / noise**2)
        posterior = self.operators.factor((self.precision + diags_array(count)).tocsr())
        mean = posterior.solve(right)
        determinant = posterior.log_determinant - self.factor.log_determinant + 2 * len(y) * np.log(noise)
        return mean, (y - mean[index]) / noise**2, determinant


class HarmonicPrior:
    """Matern field on the unit sphere with the exact covariance of :func:`sphere_covariance`.

    Parameters
    ----------
    xyz : float64 [V, 3]
    range, deviation
    """

    def __init__(self, xyz: np.ndarray, range: float, deviation: float):
        self.xyz, self.num_points = xyz, len(xyz)
        self.kappa, self.tau = kappa_and_tau(range, deviation)
        self.highest = max(_DEGREES, int(20 * self.kappa))

    def columns(self, index: np.ndarray) -> np.ndarray:
        """Covariance of all points and some, [V, n]."""
        check_memory(24 * self.num_points * len(index), f"{len(index)} observations")
        return self._by_angle(np.arccos(np.clip(self.xyz @ self.xyz[index].T, -1, 1)))

    @cached_property
    def _by_angle(self) -> CubicSpline:
        """Of the covariance; it oscillates at most ``highest`` times in pi, so that 60 nodes each give ten digits."""
        angle = np.linspace(0, np.pi, 60 * self.highest + 1)
        return CubicSpline(angle, sphere_covariance(np.cos(angle), self.kappa, self.tau, self.highest))

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation at each point [V], all equal."""
        return np.full(self.num_points, np.sqrt(self._by_angle(0.0)))

    def condition(self, index: np.ndarray, y: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray, float]:
        """As :meth:`SparsePrior.condition`."""
        columns = self.columns(index)
        lower = cho_factor(columns[index] + noise**2 * np.eye(len(index)), lower=True)
        weighted = cho_solve(lower, y)
        return columns @ weighted, weighted, float(2 * np.log(np.diag(lower[0])).sum())


def kappa_and_tau(range: float, deviation: float) -> tuple[float, float]:
    """Parameters of the equation for a range and a standard deviation."""
    kappa = 8**0.5 / range
    return kappa, 1 / ((4 * np.pi) ** 0.5 * kappa * deviation)


def posterior_deviations(prior: SparsePrior | HarmonicPrior, index: np.ndarray, noise: float) -> np.ndarray:
    """Standard deviations [V] of a field that has been observed at the points ``index`` [n]."""
    check_memory(16 * len(index) * (prior.num_points + len(index)), f"{len(index)} observations")
    cover = prior.columns(index)
    joint = cho_factor(cover[index] + noise**2 * np.eye(len(index)), lower=True)
    gained = (cover * cho_solve(joint, cover.conj().T).T).real.sum(1)
    return np.sqrt(np.maximum(prior.deviations**2 - gained, 0.0))
