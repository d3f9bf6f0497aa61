"""Kriging: a field from noisy observations at some points, with its uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from meshconv.errors import InputError
from meshconv.geometry.nearest import tree_of
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.hybrid.arrays import check_shape, finite, like
from meshconv.hybrid.matern import (
    HarmonicPrior,
    SparsePrior,
    Surface,
    SurfaceOperators,
    check_positive,
    posterior_deviations,
)

_FEWEST = 10  # observations that parameters are estimated from


class Kriging:
    r"""Posterior of a Matern field on a surface, given noisy observations at some of its points.

    .. math:: y = A x + \epsilon, \quad x \sim N(\mu, Q^{-1}), \quad \epsilon \sim N(0, s^2), \qquad
        \hat x = \mu + (Q + A^T A / s^2)^{-1} A^T (y - \mu) / s^2

    with Q of :func:`matern_precision`, sparse. Scalars on HEALPix spheres have the exact covariance of
    :func:`sphere_covariance` instead, dense between the observations; for the sparse Q on them, give
    ``sphere.surface_complex()``.

    Parameters
    ----------
    surface : TriangleMesh, SphereGrid or SurfaceComplex
    range
        Distance at which the correlation has fallen to 0.14, in the surface's length unit (radians on spheres).
    deviation
        Standard deviation of the field (of each component for tangent fields).
    noise
        Standard deviation s of an observation.
    mean
        Of the field.
    order
        0: a scalar, [V]. 1: a tangent field, [V, 2], in the frames of the surface's gauge graph.

    Raises
    ------
    InputError
        A number is not positive.

    References
    ----------
    Lindgren, Rue, Lindstrom: An explicit link between Gaussian fields and Gaussian Markov random fields, 2011.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> kriging = Kriging(HealpixSphere(8), range=0.8, deviation=1.0, noise=0.1)
    >>> mean, deviation = kriging.predict([0, 400], [1.0, -1.0])
    >>> mean[[0, 400]].round(2), deviation[[0, 400, 200]].round(1)
    (array([ 0.99, -0.99]), array([0.1, 0.1, 1. ]))
    """

    def __init__(
        self,
        surface: Surface,
        range: float,
        deviation: float = 1.0,
        noise: float = 0.1,
        mean: float = 0.0,
        order: int = 0,
    ):
        check_positive(range=range, deviation=deviation, noise=noise)
        self.range, self.deviation, self.noise, self.mean, self.order = range, deviation, noise, mean, order
        self.surface = surface if isinstance(surface, HealpixSphere) and not order else SurfaceOperators(surface, order)
        self.prior = make_prior(self.surface, range, deviation)
        self.num_points = self.prior.num_points

    def predict(self, points: Any, values: Any) -> tuple[Any, Any]:
        """Posterior mean, and the posterior's standard deviation at each point (without the noise of observations).

        Parameters
        ----------
        points : int array [n], or float array [n, 3]
            Numbers of vertices or pixels, one as often as it is observed; or positions, each taken to its nearest
            vertex.
        values : array [n], or [n, 2] for tangent fields

        Returns
        -------
        mean : array [V] or [V, 2]
        deviation : array [V]
            Both tensors if ``values`` is one.

        Raises
        ------
        InputError
            No observations, one off the surface, NaN, or sizes that differ.
        """
        return self.estimate(points, values), like(torch.from_numpy(self.deviations(points)), values)

    def estimate(self, points: Any, values: Any) -> Any:
        """Posterior mean alone: one sparse factorisation, or one dense one of the observations on HEALPix spheres."""
        index, y = self._observations(points, values)
        field = self.prior.condition(index, y - self.mean, self.noise)[0] + self.mean
        return like(torch.from_numpy(self._real(field)), values)

    def deviations(self, points: Any) -> np.ndarray:
        """Posterior standard deviations [V]; they do not depend on the observed values."""
        return posterior_deviations(self.prior, self.locate(points), self.noise)

    def log_likelihood(self, points: Any, values: Any) -> float:
        """Logarithm of the density of the observations."""
        index, y = self._observations(points, values)
        _, weighted, determinant = self.prior.condition(index, y - self.mean, self.noise)
        quadratic = ((y - self.mean).conj() * weighted).sum().real
        return float(-(quadratic + self._components * (determinant + len(y) * np.log(2 * np.pi))) / 2)

    @property
    def _components(self) -> int:
        return 2 if self.order else 1

    @classmethod
    def fit(cls, surface: Surface, points: Any, values: Any, order: int = 0) -> Kriging:
        """Range, deviation, noise and (of scalars) mean that maximise the likelihood of the observations.

        The deviation and the mean are known in closed form for each range and ratio of noise to deviation; Nelder and
        Mead's method finds those two.

        Parameters
        ----------
        surface, order
        points, values
            As in :meth:`predict`; at least 10.

        Examples
        --------
        >>> from meshconv import HealpixSphere
        >>> sphere = HealpixSphere(8)
        >>> found = Kriging.fit(sphere, np.arange(0, 768, 5), np.cos(3 * sphere.theta[::5]))
        >>> found.noise < 0.05 < found.range
        True
        """
        operators = SurfaceOperators(surface, order)
        size = float(operators.mass.sum() ** 0.5)
        start = cls(surface, range=size / 4, order=order)
        index, y = start._observations(points, values)
        parts = start._components
        if len(y) < _FEWEST:
            raise InputError(f"{len(y)} observations do not determine range and noise; give at least {_FEWEST}, or "
                             f"the numbers themselves")  # fmt: skip
        spread = float(np.sqrt((np.abs(y - y.mean()) ** 2).mean() / parts))
        if not spread > 0:
            raise InputError(f"all {len(y)} observations are {y[0]}; range and noise need values that differ")

        def profile(parameters: np.ndarray) -> tuple[float, float, float]:
            """-2 log likelihood, and the best deviation and mean, for a range and a ratio of noise to deviation."""
            prior = make_prior(start.surface, float(np.exp(parameters[0])), 1.0)
            ratio, mean = float(np.exp(parameters[1])), 0.0
            _, weighted, determinant = prior.condition(index, y, ratio)
            if not order:
                ones = prior.condition(index, np.ones_like(y), ratio)[1]
                mean = float((ones * y).sum() / ones.sum())
                weighted = weighted - mean * ones
            variance = float(((y - mean).conj() * weighted).sum().real) / (parts * len(y))
            return parts * (len(y) * np.log(variance) + determinant), variance**0.5, mean

        bounds = [(np.log(size / 200), np.log(2 * size)), (np.log(1e-3), np.log(1e2))]
        first = np.array([np.log(size / 4), np.log(0.3)])
        best = minimize(lambda p: profile(p)[0], first, method="Nelder-Mead", bounds=bounds,
                        options={"xatol": 0.02, "fatol": 0.01, "maxfev": 80,
                                 "initial_simplex": first + np.array([[0, 0], [-0.7, 0], [0, 0.7]])})  # fmt: skip
        _, deviation, mean = profile(best.x)
        spacing, ratio = np.exp(best.x)
        return cls(surface, float(spacing), float(deviation), float(ratio * deviation), float(mean), order)

    def locate(self, points: Any) -> np.ndarray:
        """Vertex of each observation, int64 [n], or ``InputError``."""
        given = torch.as_tensor(points)
        if not given.numel():
            raise InputError("no observations; give at least one point")
        if not given.is_floating_point():
            index = given.flatten().numpy().astype(np.int64)
            wrong = (index < 0) | (index >= self.num_points)
            if wrong.any():
                raise InputError(f"{int(wrong.sum())} observations are off the surface: point {index[wrong][0]}, "
                                 f"expected 0..{self.num_points - 1}")  # fmt: skip
            return index
        places = finite(given, "points")
        if places.dim() != 2 or places.shape[1] != 3:
            raise InputError(f"points are {list(places.shape)}, expected vertices [n] (integers) or positions [n, 3]")
        if isinstance(self.surface, HealpixSphere):
            vertices, reach = self.surface.xyz, 2 * self.surface.spacing
        else:
            graph = self.surface.graph
            vertices, reach = graph.positions.numpy(), float(graph.log_radius.max())
        distance, index = tree_of(vertices).query(places.numpy())
        if (distance > reach).any():
            k = int(distance.argmax())
            raise InputError(f"{int((distance > reach).sum())} observations are off the surface: "
                             f"{places[k].tolist()} is {distance[k]:.3g} from its nearest point, edges are "
                             f"{reach:.3g} long at most")  # fmt: skip
        return index

    def _observations(self, points: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
        index, y = self.locate(points), finite(values, "values")
        shape = (len(index), 2) if self.order else (len(index),)
        check_shape(y, "values", shape, f"there are {len(index)} points")
        return index, (y[:, 0] + 1j * y[:, 1]).numpy() if self.order else y.numpy()

    def _real(self, field: np.ndarray) -> np.ndarray:
        return np.stack([field.real, field.imag], -1) if self.order else field


def make_prior(
    surface: SurfaceOperators | HealpixSphere, range: float, deviation: float
) -> SparsePrior | HarmonicPrior:
    """The sparse one of operators, or that of harmonics."""
    if isinstance(surface, HealpixSphere):
        return HarmonicPrior(surface.xyz, range, deviation)
    return SparsePrior(surface, range, deviation)
