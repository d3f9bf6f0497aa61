"""The shallow-water equations on the rotating sphere, by spherical harmonics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import ducc0
import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from meshconv.errors import InputError

Array = NDArray[np.float64]
State = NDArray[np.complex128]

RADIUS, GRAVITY, ROTATION = 6.37122e6, 9.80616, 7.292e-5
"""Of the Earth: metres, metres and radians per second."""

# Third-order Adams-Bashforth is stable on the imaginary axis up to 0.72.
_STABLE = 0.6
# Winds add to the speed of gravity waves, metres per second.
_FASTEST_WIND = 60.0


class Rings(NamedTuple):
    """Points on circles of latitude: colatitudes, and on each the number of points, first longitude, first index."""

    theta: Array
    nphi: NDArray[np.uint64]
    phi0: Array
    ringstart: NDArray[np.uint64]

    @classmethod
    def healpix(cls, nside: int) -> Rings:
        """Centres of HEALPix pixels in ring order."""
        return cls(**ducc0.healpix.Healpix_Base(nside, "RING").sht_info())

    @classmethod
    def regular(cls, rows: int) -> Rings:
        """``rows`` latitudes from north to south, half a step from the poles, with ``2 rows`` longitudes from 0."""
        number = np.full(rows, 2 * rows, dtype=np.uint64)
        start = np.arange(rows, dtype=np.uint64) * np.uint64(2 * rows)
        return cls((np.arange(rows) + 0.5) * np.pi / rows, number, np.zeros(rows), start)


class Maps(NamedTuple):
    """Height in metres; eastward and northward wind in metres per second."""

    h: Array
    u: Array
    v: Array


class ShallowWater:
    r"""Spectral solver in vorticity, divergence and geopotential.

    .. math:: \partial_t \zeta = -\nabla \cdot (\eta V), \quad
        \partial_t \delta = k \cdot \nabla \times (\eta V) - \nabla^2 (\Phi + V^2 / 2), \quad
        \partial_t \Phi = -\nabla \cdot (\Phi V)

    with the absolute vorticity :math:`\eta = \zeta + f` and :math:`f = 2 \Omega \, a \cdot n` for the axis a.
    Products are formed on a Gauss grid that is large enough for no aliasing. Time steps are third-order
    Adams-Bashforth, the first two by Runge and Kutta. The waves of the largest degree L lose a factor e of vorticity
    and divergence in ``damping_hours``, those of degree l in :math:`(L (L+1) / l (l+1))^4` times that. Mass is
    conserved to rounding.

    Parameters
    ----------
    truncation
        Largest degree of the harmonics.
    axis : sequence of 3 numbers
        Direction of the axis of rotation.
    rotation
        Rate, radians per second; 0: none.
    depth
        Mean, metres.
    damping_hours
        ``math.inf``: no damping.

    Attributes
    ----------
    theta, phi : float64 [rows], [2 rows]
        Colatitudes and longitudes of the Gauss grid, radians.
    coriolis : float64 [rows, 2 rows]
        f on that grid, per second.

    Raises
    ------
    InputError
        A truncation below 4, an axis without direction, a depth or damping that is not positive.

    Notes
    -----
    A state is complex128 ``[3, n]``, orthonormal coefficients of geopotential (m^2/s^2), vorticity and divergence (1/s)
    by order m, within it by degree. ``tests/test_shallow_water.py`` has the steady zonal flow of Williamson et al.,
    third order in time, turned planets, and conservation.

    References
    ----------
    Williamson, Drake, Hack, Jakob, Swarztrauber, "A standard test set for numerical approximations to the shallow water
    equations in spherical geometry", 1992.

    Examples
    --------
    >>> water = ShallowWater(21)
    >>> state = water.balanced_state(np.random.default_rng(0))
    >>> later = water.advance(state, 6 * 3600)
    >>> water.maps(later, Rings.healpix(8)).h.shape
    (768,)
    """

    def __init__(
        self,
        truncation: int = 42,
        *,
        axis: Sequence[float] = (0.0, 0.0, 1.0),
        rotation: float = ROTATION,
        depth: float = 1e4,
        damping_hours: float = 2.0,
    ):
        length = float(np.linalg.norm(axis))
        if truncation < 4:
            raise InputError(f"truncation {truncation} is below 4, there is no flow to resolve; give 21 or more")
        if not (len(axis) == 3 and math.isfinite(length) and length > 0):
            raise InputError(f"axis {list(axis)} is not the direction of an axis; give three numbers, as 0 0 1")
        if not (depth > 0 and damping_hours > 0):
            raise InputError(f"depth {depth} and damping_hours {damping_hours} have to be positive")
        self.truncation, self.depth = truncation, depth
        self.axis = np.asarray(axis, dtype=np.float64) / length
        rows = next_fast_len((3 * truncation + 2) // 2)  # quadratic terms are exact, transforms at full speed
        self.shape = (rows, 2 * rows)
        nodes, self._area = np.polynomial.legendre.leggauss(rows)
        self.theta, self.phi = np.arccos(nodes[::-1]), np.arange(2 * rows) * np.pi / rows
        st, ct = np.sin(self.theta)[:, None], np.cos(self.theta)[:, None]
        x, y, z = self.axis
        self.coriolis = 2 * rotation * (x * st * np.cos(self.phi) + y * st * np.sin(self.phi) + z * ct)
        degree = np.concatenate([np.arange(m, truncation + 1) for m in range(truncation + 1)])
        self.degree = degree.astype(np.float64)
        self._slope = np.sqrt(self.degree * (self.degree + 1)) / RADIUS
        self._laplace = -(self._slope**2)
        self._inverse = np.divide(1, self._laplace, out=np.zeros_like(self._slope), where=self.degree > 0)
        self._damping = (self._laplace / self._laplace.min()) ** 4 / (3600 * damping_hours)

    def advance(self, state: State, seconds: float) -> State:
        """The state after some time, in the fewest equal time steps that are stable.

        Raises
        ------
        InputError
            The flow became unstable.
        """
        if seconds <= 0:
            return state
        speed = math.sqrt(GRAVITY * self.depth) + _FASTEST_WIND
        steps = max(math.ceil(seconds * (self.truncation + 0.5) / RADIUS * speed / _STABLE), 1)
        dt = seconds / steps
        damping = np.exp(-dt * self._damping)
        before: list[State] = []
        for k in range(steps):
            rate = self.tendency(state)
            if k < 2:
                state = self._runge_kutta(state, rate, dt)
            else:
                state = state + dt / 12 * (23 * rate - 16 * before[1] + 5 * before[0])
            state[1:] *= damping
            before = [*before[-1:], rate]
        if not np.isfinite(state).all():
            raise InputError("the flow became unstable; give a slower initial wind, or a shorter damping_hours")
        return state

    def _runge_kutta(self, state: State, rate: State, dt: float) -> State:
        two = self.tendency(state + dt / 2 * rate)
        three = self.tendency(state + dt / 2 * two)
        return state + dt / 6 * (rate + 2 * two + 2 * three + self.tendency(state + dt * three))

    def tendency(self, state: State) -> State:
        """Rate of change of a state without damping, per second."""
        phi, vorticity = (self._to_grid(c) for c in state[:2])
        wind = self.wind(state)
        absolute = wind * (vorticity + self.coriolis)
        curl, divergence = self._curl_and_divergence(absolute)
        energy = self._to_harmonics(phi + 0.5 * (wind**2).sum(axis=0))
        return np.stack([-self._curl_and_divergence(wind * phi)[1], -divergence, curl - self._laplace * energy])

    def wind(self, state: State) -> Array:
        """Southward and eastward wind on the Gauss grid, ``[2, rows, 2 rows]``."""
        potentials = self._potentials(state)
        rows, columns = self.shape
        return ducc0.sht.synthesis_2d(
            alm=potentials, spin=1, lmax=self.truncation, geometry="GL", ntheta=rows, nphi=columns, nthreads=1
        )

    def state_of(self, height: Array, south: Array, east: Array) -> State:
        """State of fields on the Gauss grid: height (m), southward and eastward wind (m/s), ``[rows, 2 rows]`` each."""
        phi = self._to_harmonics(GRAVITY * height)
        return np.stack([phi, *self._curl_and_divergence(np.stack([south, east]))])

    def balanced_state(
        self, random: np.random.Generator, speed: float = 30.0, degree: float = 8.0, width: float = 4.0
    ) -> State:
        r"""Random state without divergence, whose height balances its wind at first.

        Coefficients of vorticity are normal, times :math:`\exp(-(l - l_0)^2 / w^2)`, scaled to the largest wind. The
        geopotential makes the rate of the divergence 0. Drawn with the axis upright and turned with it: the same
        numbers give the same weather on a turned planet.

        Parameters
        ----------
        random : numpy.random.Generator
        speed
            Largest wind, m/s.
        degree, width
            l_0 and w.
        """
        n = len(self.degree)
        state = np.zeros((3, n), dtype=np.complex128)
        drawn = random.standard_normal(n) + 1j * random.standard_normal(n)
        drawn[: self.truncation + 1].imag = 0  # order 0
        drawn[0] = 0
        state[1] = drawn * np.exp(-(((self.degree - degree) / width) ** 2))
        state[1] *= speed / np.sqrt((self.wind(state) ** 2).sum(axis=0).max())
        x, y, z = self.axis
        if (x, y) != (0, 0) or z < 0:
            angles = math.atan2(math.hypot(x, y), z), math.atan2(y, x)
            state[1] = ducc0.sht.rotate_alm(state[1], self.truncation, 0.0, *angles, nthreads=1)
        state[0] = self._inverse * self.tendency(state)[2]
        state[0, 0] = math.sqrt(4 * math.pi) * GRAVITY * self.depth
        return state

    def maps(self, state: State, rings: Rings) -> Maps:
        """Height and wind at any points, ``[V]`` each, in the order of the rings."""
        phi = ducc0.sht.synthesis(alm=state[:1], spin=0, lmax=self.truncation, nthreads=1, **rings._asdict())
        south, east = ducc0.sht.synthesis(
            alm=self._potentials(state), spin=1, lmax=self.truncation, nthreads=1, **rings._asdict()
        )
        return Maps(phi[0] / GRAVITY, east, -south)

    def mass(self, state: State) -> float:
        """Mean height, metres."""
        return float(state[0, 0].real) / math.sqrt(4 * math.pi) / GRAVITY

    def energy(self, state: State) -> float:
        r"""Mean of :math:`(h V^2 + g h^2) / 2`, m^3/s^2."""
        height = self._to_grid(state[0]) / GRAVITY
        density = height * (self.wind(state) ** 2).sum(axis=0) + GRAVITY * height**2
        return float(self._area[::-1] @ density.mean(axis=1)) / 4

    def _potentials(self, state: State) -> State:
        """Coefficients of gradient and rotated gradient for divergence and vorticity."""
        return self._slope * self._inverse * state[:0:-1]

    def _to_grid(self, coefficients: State) -> Array:
        rows, columns = self.shape
        return ducc0.sht.synthesis_2d(
            alm=coefficients[None], spin=0, lmax=self.truncation, geometry="GL", ntheta=rows, nphi=columns, nthreads=1
        )[0]

    def _to_harmonics(self, field: Array) -> State:
        return ducc0.sht.analysis_2d(map=field[None], spin=0, lmax=self.truncation, geometry="GL", nthreads=1)[0]

    def _curl_and_divergence(self, field: Array) -> State:
        gradient, rotated = ducc0.sht.analysis_2d(map=field, spin=1, lmax=self.truncation, geometry="GL", nthreads=1)
        return np.stack([-self._slope * rotated, -self._slope * gradient])
