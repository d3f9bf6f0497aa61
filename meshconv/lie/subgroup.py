"""Toroidal subgroup analysis: planes that turn, and the weights at which one angle turns them together."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.lie.likelihood import coordinates, marginal_log_likelihood, products, turned
from meshconv.lie.pairs import Array, Pairs, as_pairs, as_signals, check_variety
from meshconv.lie.stiefel import Ascent, learn_planes
from meshconv.lie.von_mises import CoupledVonMises, VonMises, modulus
from meshconv.lie.weights import integer_weights

Orbit = Literal["torus", "subgroup"]

_WEIGHT_PAIRS = 2_000


class ToroidalSubgroup:
    r"""Irreducible representations of a commutative group, learned from pairs of transformed signals.

    A commutative group of rotations of :math:`\mathbb R^D` turns planes, each by an angle of its own. Given pairs that
    an unknown element relates, the model finds the planes: orthonormal columns W, an angle :math:`\varphi_j` for each
    of J planes, the identity outside of them, and Gaussian noise,

    .. math:: y = W R(\varphi) W^T x + (1 - W W^T) x + \sigma \epsilon, \qquad
        \varphi_j \sim \text{von Mises}(\eta_j).

    All planes turn freely under the *torus*. A *one-parameter subgroup* turns plane j by :math:`\omega_j s`, with
    integer weights :math:`\omega_j`, the orders of a :class:`~meshconv.FieldType`.

    Parameters
    ----------
    num_planes
        J. Components outside of the planes are of weight 0.
    concentration
        Of the prior of every angle at 0; 0 is the uniform prior.
    steps, batch, learning_rate
        Of the stochastic ascent.
    max_weight
        Highest weight to look for; the length of a signal, at most 64, by default.
    seed
        Of the batches.

    Attributes
    ----------
    planes : Tensor [J, dim, 2]
        Orthonormal bases, after the fit, by ascending weight. A plane is known up to a rotation within it, and planes
        of equal weight up to a unitary mixture.
    weights : int64 Tensor [J]
        Not negative: a plane's second basis vector lies where it turns with the angle. The sign of the angle itself is
        unknown unless the fit has angles.
    columns : Tensor [dim, 2 J]
        The bases side by side, the matrix W.
    noise : Tensor []
        Standard deviation sigma.

    Notes
    -----
    Signals are float64 tensors inside; arrays of numpy and tensors are taken. Pairs are one array ``[n, 2, dim]`` or a
    tuple ``(x, y)`` of arrays ``[n, dim]``. Bad ones raise :class:`~meshconv.InputError`. ``tests/test_lie.py`` checks
    the posterior and the likelihood against numerical integrals, and planes and weights against known ones.

    References
    ----------
    Cohen and Welling, Learning the irreducible representations of commutative Lie groups, ICML 2014.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> x, s = torch.randn(1000, 6), 6.28 * torch.rand(1000, 1)
    >>> true = ToroidalSubgroup.from_columns(torch.linalg.qr(torch.randn(6, 6))[0], weights=[1, 2, 3])
    >>> model = ToroidalSubgroup(3, steps=100).fit((x, true.transform(x, s[:, 0])))
    >>> model.weights
    tensor([1, 2, 3])
    """

    planes: Tensor
    weights: Tensor
    noise: Tensor

    def __init__(
        self,
        num_planes: int,
        *,
        concentration: float = 0.0,
        steps: int = 500,
        batch: int = 256,
        learning_rate: float = 0.02,
        max_weight: int | None = None,
        seed: int = 0,
    ):
        counts = {"num_planes": num_planes, "steps": steps, "batch": batch}
        counts |= {} if max_weight is None else {"max_weight": max_weight}
        for name, value in counts.items():
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} {value!r}: give a whole number above 0")
        if not (isinstance(concentration, float | int) and 0 <= concentration < float("inf")):
            raise InputError(f"concentration {concentration!r}: give a number of at least 0")
        if not (isinstance(learning_rate, float | int) and 0 < learning_rate < float("inf")):
            raise InputError(f"learning_rate {learning_rate!r}: give a number above 0")
        self.num_planes = int(num_planes)
        self.concentration = float(concentration)
        self.steps, self.batch, self.learning_rate = int(steps), int(batch), learning_rate
        self.max_weight, self.seed = max_weight, seed

    @classmethod
    def from_columns(
        cls, columns: Array, weights: Any = None, noise: float = 1.0, concentration: float = 0.0
    ) -> ToroidalSubgroup:
        """Model of known planes.

        Parameters
        ----------
        columns : [dim, 2 J]
            Orthonormal; columns 2 j and 2 j + 1 span plane j.
        weights : int [J], optional
            Integers; zero by default. A negative one mirrors its plane.
        noise
            Standard deviation.
        """
        w = as_signals(columns, "columns")
        dim, size = w.shape
        if size % 2:
            raise InputError(f"columns: {size} columns, an odd number; a plane has two")
        if size > dim:
            raise InputError(f"columns: {size // 2} planes need {size} dimensions, signals have {dim}; give fewer")
        deviation = float((w.mT @ w - torch.eye(size, dtype=w.dtype)).abs().max())
        if deviation > 1e-5:
            raise InputError(f"columns: not orthonormal by {deviation:.1e}; take the polar factor")
        if not 0 < noise < float("inf"):
            raise InputError(f"noise {noise}: give a number above 0")
        model = cls(size // 2, concentration=concentration)
        number = torch.zeros(size // 2) if weights is None else as_signals(weights, "weights", size // 2)[0]
        if bool((number != number.round()).any()):
            raise InputError(f"weights {number.tolist()}: give whole numbers")
        model.noise = torch.tensor(float(noise), dtype=torch.float64)
        model._set(w, number.to(torch.int64))
        return model

    def _set(self, columns: Tensor, weights: Tensor) -> None:
        planes = columns.unflatten(-1, (-1, 2)).transpose(0, 1).clone()
        planes[weights < 0, :, 1] *= -1
        order = weights.abs().argsort(stable=True)
        self.planes, self.weights = planes[order].contiguous(), weights.abs()[order]

    @property
    def columns(self) -> Tensor:
        return self.planes.transpose(0, 1).flatten(1)

    @property
    def dim(self) -> int:
        """Length of a signal."""
        if not hasattr(self, "planes"):
            raise InputError("the planes are not learned yet; call fit(pairs) first")
        return self.planes.shape[1]

    @property
    def prior(self) -> VonMises:
        """Of the angles of the planes, ``[J]``."""
        eta = torch.zeros(self.num_planes, 2, dtype=torch.float64)
        eta[:, 0] = self.concentration
        return VonMises(eta)

    def fit(self, pairs: Pairs, angles: Array | None = None) -> ToroidalSubgroup:
        """Learn planes and noise, then the weights.

        Parameters
        ----------
        pairs : [n, 2, dim] or (x, y) of [n, dim]
        angles : [n], optional
            Radians by which the pairs are turned, where that is known. Otherwise weights have no common factor.

        Returns
        -------
        ToroidalSubgroup
            Itself.

        Raises
        ------
        InputError
            Fewer dimensions than the planes need; signals that are all zero, constant or the same; NaN; x and y of
            different sizes.
        """
        x, y = as_pairs(pairs)
        dim = x.shape[1]
        if 2 * self.num_planes > dim:
            raise InputError(
                f"num_planes {self.num_planes}: they need {2 * self.num_planes} dimensions, signals have {dim}; "
                f"ask for at most {dim // 2}"
            )
        check_variety(x, y)
        how = Ascent(self.steps, self.batch, self.learning_rate, self.seed)
        unit = max(x.abs().max(), y.abs().max())
        columns, noise = learn_planes(x / unit, y / unit, self.num_planes, self.prior.eta[0], how)
        self.noise = noise * unit
        self._set(columns, torch.zeros(self.num_planes, dtype=torch.int64))
        return self.fit_weights((x, y), angles)

    def fit_weights(self, pairs: Pairs, angles: Array | None = None) -> ToroidalSubgroup:
        """Learn the weights of the planes as they are, from pairs of one subgroup, for example of small angles.

        Parameters
        ----------
        pairs : [n, 2, dim] or (x, y) of [n, dim]
        angles : [n], optional
            Radians, where they are known.
        """
        x, y = as_pairs(pairs, self.dim)
        known = None if angles is None else as_signals(angles, "angles", len(x))[0, :_WEIGHT_PAIRS]
        eta = self._products(x[:_WEIGHT_PAIRS], y[:_WEIGHT_PAIRS]) / self.noise.square()
        self._set(self.columns, integer_weights(eta, known, self.max_weight or min(self.dim, 64)))
        return self

    def _products(self, x: Tensor, y: Tensor) -> Tensor:
        columns = self.columns
        return products(coordinates(x, columns), coordinates(y, columns))

    def posterior(self, pairs: Pairs) -> VonMises:
        r"""Distribution of the angle of every plane for every pair, ``[n, J]``.

        The prior is conjugate: :math:`\hat\eta_j = \eta_j + (u_j \cdot v_j, u_j \times v_j) / \sigma^2` with the
        coordinates u, v of x and y in the plane.

        Returns
        -------
        VonMises
            With ``angle``, ``concentration``, ``eta``, ``resultant`` and ``log_prob``.
        """
        x, y = as_pairs(pairs, self.dim)
        return VonMises(self.prior.eta + self._products(x, y) / self.noise.square())

    def angle_posterior(self, pairs: Pairs) -> CoupledVonMises:
        """Distribution of the one angle s of every pair, ``[n]``, that turns plane j by ``weights[j] s``.

        Its prior is uniform on the circle; ``angle`` is the mode.
        """
        x, y = as_pairs(pairs, self.dim)
        return CoupledVonMises(self._products(x, y) / self.noise.square(), self.weights)

    def log_likelihood(self, pairs: Pairs, over: Orbit = "torus") -> Tensor:
        """Logarithm of the density of y given x, ``[n]``.

        Parameters
        ----------
        over
            ``"torus"``: the angles of all planes integrated out, in closed form. ``"subgroup"``: one angle, uniform on
            the circle, integrated out.
        """
        x, y = as_pairs(pairs, self.dim)
        if _is_torus(over):
            return marginal_log_likelihood(x, y, self.columns, self.noise, self.prior.eta)
        frozen = marginal_log_likelihood(x, y, self.columns[:, :0], self.noise, self.prior.eta[:0])
        z = self._products(x, y) / self.noise.square()
        return frozen - z[..., 0].sum(-1) + CoupledVonMises(z, self.weights).log_normaliser

    def transform(self, x: Array, angle: float | Array) -> Tensor:
        """Signals ``[n, dim]`` moved along the one-parameter subgroup by ``angle`` (radians, a number or ``[n]``)."""
        s = torch.as_tensor(angle, dtype=torch.float64)
        return self.turn(x, s[..., None] * self.weights)

    def turn(self, x: Array, angles: Array) -> Tensor:
        """Signals ``[n, dim]`` moved by an element of the torus: ``angles`` (radians) of the planes, [J] or [n, J]."""
        x = as_signals(x, "x", self.dim)
        phi = torch.as_tensor(angles, dtype=torch.float64)
        if phi.shape[-1:] != (self.num_planes,) or (phi.dim() > 1 and phi.shape != (len(x), self.num_planes)):
            raise InputError(f"angles: shape {tuple(phi.shape)}; give one for all, or one for each of {len(x)} signals")
        if not bool(torch.isfinite(phi).all()):
            raise InputError("angles: NaN or infinity among them; give radians")
        u = coordinates(x, self.columns)
        return x + (turned(u, phi) - u).flatten(1) @ self.columns.mT

    def invariants(self, x: Array) -> Tensor:
        r"""What the one-parameter subgroup leaves alone, ``[n, dim + J - 2]``.

        In this order: the norms :math:`|u_j|`, which the whole torus preserves; the relative phase of each further
        plane with the first one r of the lowest weight above 0, :math:`\omega_r\arg u_j - \omega_j\arg u_r` with the
        common factor of the two weights divided out, as cosine and sine times the smaller of the norms, which is
        continuous; the components outside of the planes. Relative phases with a plane of weight 0 are its components
        times the smaller of the norms over its own.

        Returns
        -------
        Tensor [n, dim + J - 2]
            ``[:, :J]`` are the norms.
        """
        x = as_signals(x, "x", self.dim)
        u = coordinates(x, self.columns)
        norms = modulus(u)
        angle = torch.atan2(u[..., 1], u[..., 0])
        moving = self.weights.nonzero().flatten().tolist()
        r = moving[0] if moving else 0
        others = [j for j in range(self.num_planes) if j != r]
        mine, theirs = self.weights[r], self.weights[others]
        factor = torch.gcd(mine, theirs).clamp(min=1)
        phase = (mine // factor).clamp(min=1) * angle[:, others] - theirs // factor * angle[:, r : r + 1]
        size = torch.where(theirs > 0, torch.minimum(norms[:, others], norms[:, r : r + 1]), norms[:, others])
        phases = size[..., None] * torch.stack([torch.cos(phase), torch.sin(phase)], dim=-1)
        outside = torch.linalg.qr(self.columns, mode="complete").Q[:, 2 * self.num_planes :]
        return torch.cat([norms, phases.flatten(1), x @ outside], dim=1)

    def distance(self, pairs: Pairs, over: Orbit = "subgroup") -> Tensor:
        r"""Manifold distance: the least Euclidean distance of y to the orbit of x, ``[n]``.

        Parameters
        ----------
        over
            The orbit of the one-parameter subgroup, or of the whole torus, for which the distance is that of the norms
            and of the components outside of the planes.
        """
        x, y = as_pairs(pairs, self.dim)
        if _is_torus(over):
            u, v = (coordinates(p, self.columns) for p in (x, y))
            phi = VonMises(products(u, v)).angle
        else:
            phi = CoupledVonMises(self._products(x, y), self.weights).angle[:, None] * self.weights
        return (y - self.turn(x, phi)).norm(dim=1)

    def __repr__(self) -> str:
        known = f", weights {self.weights.tolist()}, noise {float(self.noise):.3g}" if hasattr(self, "planes") else ""
        return f"ToroidalSubgroup({self.num_planes}{known})"


def _is_torus(over: str) -> bool:
    if over not in ("torus", "subgroup"):
        raise InputError(f"over {over!r}: give 'torus' or 'subgroup'")
    return over == "torus"
