"""Variational auto-encoder of fields on surfaces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType, concatenate_fields
from meshconv.generative.posterior import FieldPosterior, normal_log_density
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, check_levels
from meshconv.nn import (
    ClusterInterpolation,
    ClusterPool,
    ClusterUnpool,
    Linear,
    ResidualBlock,
    Sequential as SurfaceSequential,
    SurfaceModule,
)
from meshconv.nn.block import surface_layer
from meshconv.nn.convolution.conv import Aggregation

# Variances of the posterior from e^-12 to e^4; noise from e^-14 on.
_LEAST, _MOST, _LEAST_NOISE = -12.0, 4.0, -14.0


class FieldVAE(SurfaceModule):
    r"""Gauge-equivariant variational auto-encoder of fields, on one surface or on many.

    The latent variables z are fields on the coarsest level of a hierarchy, standard normal a priori. The posterior
    q(z | x) has a mean of the latent type and one variance for each field copy, made of what does not depend on the
    gauge (:class:`~meshconv.generative.FieldPosterior`); the decoder gives the mean of x, whose noise has one variance
    for each field. With weights :math:`a_v` of points, 1 where all have one area,

    .. math:: \log p(x) \ge E_q \Big[ \sum_v a_v \log N(x_v; f(z)_v, \sigma^2) \Big] - KL(q(z | x) \| N(0, 1))

    Where parts of x are hidden from the encoder the bound on the whole x still holds: so it learns to reconstruct.

    Parameters
    ----------
    in_type : FieldType or str
        Type of the fields; they should have a size of about 1.
    latent : FieldType or str
        Type of the latent fields: ``"4x0 + 2x1"``.
    channels
        Fields of each order on every level, finest first; one level per entry.
    max_order
        Highest order inside.
    blocks
        Residual blocks on every level of the encoder, and as many of the decoder.
    num_radial, cutoff, aggregation
        Of every convolution (see :class:`~meshconv.nn.GaugeConv`).
    linear
        Without nonlinearities, norms and biases of the posterior's variance: a linear Gaussian model, whose best
        likelihood is that of probabilistic principal components.

    Notes
    -----
    ``tests/test_generative.py`` checks covariance, invariance, and the bound against known likelihoods.

    References
    ----------
    Kingma, Welling, "Auto-encoding variational Bayes", 2014; Burda, Grosse, Salakhutdinov, "Importance weighted
    autoencoders", 2016.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> surface = HealpixSphere(4).hierarchy(2).to(torch.float32)
    >>> vae = FieldVAE("1x0", "2x0", channels=(4, 4))
    >>> vae.bound(torch.randn(3, 192, 1), surface).shape, vae.sample(surface, 5).shape
    (torch.Size([3, 1]), torch.Size([5, 192, 1]))
    """

    def __init__(
        self,
        in_type: FieldType | str,
        latent: FieldType | str = "4x0",
        channels: Sequence[int] = (16, 32, 64),
        max_order: int = 1,
        *,
        blocks: int = 1,
        num_radial: int = 2,
        cutoff: float = 2.0,
        aggregation: Aggregation = "mean",
        linear: bool = False,
    ):
        super().__init__()
        if not channels:
            raise ValueError("channels needs one entry per level, got none")
        if blocks < 1:
            raise ValueError(f"blocks {blocks} has to be at least 1")
        self.in_type = self.out_type = FieldType(in_type)
        self.latent, self.linear = FieldType(latent), linear
        self.latent.check_group(self.in_type)
        for name, kind in (("fields", self.in_type), ("latent", self.latent)):
            if kind.max_order > max_order:
                raise ValueError(f"{name} {kind} have order {kind.max_order}, max_order is {max_order}")
        options: dict[str, Any] = {"num_radial": num_radial, "cutoff": cutoff, "aggregation": aggregation}
        types = [self.in_type.like([c] * (max_order + 1)) for c in channels]
        self.seen = self.in_type + self.in_type.like([1])  # with what is known

        def level(start: FieldType, end: FieldType) -> nn.Module:
            kinds = [start, *[end] * blocks]
            pairs = zip(kinds[:-1], kinds[1:], strict=True)
            if linear:
                return SurfaceSequential(*(surface_layer("conv", a, b, **options) for a, b in pairs))
            return SurfaceSequential(*(ResidualBlock(a, b, **options) for a, b in pairs))

        smooth = aggregation == "quadrature"
        self.smooth = smooth
        self.down = nn.ModuleList(map(level, [self.seen, *types[:-1]], types))
        self.pools = nn.ModuleList(ClusterPool(t, centred=smooth) for t in types[:-1])
        self.mean = Linear(types[-1], self.latent)
        self.log_variance = nn.Linear(types[-1].num_fields, self.latent.num_fields)
        self.expand = Linear(self.latent, types[-1])
        self.up = nn.ModuleList(map(level, types, types))
        self.narrow = nn.ModuleList(map(Linear, types[1:], types[:-1]))
        self.unpools = nn.ModuleList((ClusterInterpolation if smooth else ClusterUnpool)(t) for t in types[:-1])
        self.head = Linear(types[0], self.in_type)
        self.log_noise = nn.Parameter(torch.full((self.in_type.num_fields,), -1.0))
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -1.0)

    @property
    def num_levels(self) -> int:
        """Number of levels of the hierarchy."""
        return len(self.down)

    @property
    def noise(self) -> Tensor:
        """Logarithm of the noise's variance of each component, ``[in_type.dim]``."""
        return self.in_type.per_component(self.log_noise.clamp(min=_LEAST_NOISE))

    def encode(self, x: Tensor, surface: Hierarchy, known: Tensor | None = None) -> FieldPosterior:
        """Posterior of the latent fields, on the coarsest level.

        Parameters
        ----------
        x : Tensor [..., V, in_type.dim]
        surface : Hierarchy
        known : bool Tensor [..., V], optional
            Points that are seen; by default those without NaN.

        Raises
        ------
        InputError
            The latent fields would be more numbers than the data.
        """
        self.in_type.check(x, "fields")
        self._check(surface)
        known = _known(x, known)
        given = torch.where(known[..., None], x, 0.0)
        y = concatenate_fields([self.in_type, self.in_type.like([1])], [given, known.to(x.dtype)[..., None]])
        for k, blocks in enumerate(self.down):
            y = blocks(y, surface.levels[k])
            if k < len(self.pools):
                y = self.pools[k](y, surface.pools[k])
        seen = self.mean.in_type.invariants(y)
        logs = self.log_variance(torch.zeros_like(seen) if self.linear else seen)
        return FieldPosterior(self.latent, self.mean(y), logs.clamp(_LEAST, _MOST))

    def decode(self, z: Tensor, surface: Hierarchy) -> Tensor:
        """Mean of the fields ``[..., V, in_type.dim]`` for latent fields ``[..., V_coarse, latent.dim]``."""
        self.latent.check(z, "latent fields")
        self._check(surface)
        y = self.expand(z)
        for k in reversed(range(len(self.up))):
            if k < len(self.pools):
                y = self.narrow[k](y)
                y = self.unpools[k](y, surface.pools[k], *([surface.levels[k + 1]] if self.smooth else []))
            y = self.up[k](y, surface.levels[k])
        return self.head(y)

    def forward(self, x: Tensor, surface: Hierarchy, known: Tensor | None = None) -> Tensor:
        """Reconstruction ``[..., V, in_type.dim]`` from the mean of the posterior."""
        return self.decode(self.encode(x, surface, known).mean, surface)

    def bound(
        self,
        x: Tensor,
        surface: Hierarchy,
        known: Tensor | None = None,
        *,
        beta: float = 1.0,
        samples: int = 1,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Lower bound on :math:`\log p(x)` of each surface, nats, ``[..., G]``.

        Parameters
        ----------
        x : Tensor [..., V, in_type.dim]
            NaN where unknown: what the bound leaves out.
        surface
        known : bool Tensor [..., V], optional
            Points that the encoder sees; by default all that x has.
        beta
            Weight of the divergence, below 1 while training begins.
        samples
            Above 1 the importance-weighted bound :math:`E \log \frac1K \sum_k p(x, z_k) / q(z_k | x)`, which grows with
            the number of samples to :math:`\log p(x)`.
        weights : Tensor [V], optional
            Of points, with mean 1; None: all alike.
        generator
        """
        posterior = self.encode(x, surface, known)
        coarse = surface.levels[-1]
        found = []
        for _ in range(samples):
            z = posterior.sample(generator)
            likelihood = _per_surface(self.log_likelihood(x, z, surface, weights), surface.finest)
            if samples == 1:
                return likelihood - beta * _per_surface(posterior.divergence(), coarse)
            prior = normal_log_density(z, torch.zeros_like(z)).sum(-1)
            found.append(likelihood + _per_surface(prior - posterior.log_density(z), coarse))
        if beta != 1:
            raise ValueError(f"beta {beta}: the importance-weighted bound has the whole divergence")
        return torch.stack(found).logsumexp(0) - math.log(samples)

    def log_likelihood(self, x: Tensor, z: Tensor, surface: Hierarchy, weights: Tensor | None = None) -> Tensor:
        """Logarithm of the density of the fields at each point, given the latent ones, ``[..., V]``."""
        there = torch.isfinite(x)
        off = torch.where(there, x, 0.0) - self.decode(z, surface)
        density = torch.where(there, normal_log_density(off, self.noise), 0.0).sum(-1)
        return density if weights is None else density * weights.to(density)

    def sample(
        self, surface: Hierarchy, count: int = 1, generator: torch.Generator | None = None, noise: bool = False
    ) -> Tensor:
        """Fields ``[count, V, in_type.dim]`` drawn from the model; without ``noise`` their means given z."""
        z = self.latent.randn(count, surface.levels[-1].num_vertices, generator=generator, dtype=self._dtype)
        mean = self.decode(z.to(self.log_noise.device), surface)
        if not noise:
            return mean
        drawn = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
        return mean + drawn * (self.noise / 2).exp()

    def interpolate(self, a: Tensor, b: Tensor, surface: Hierarchy, steps: int = 5) -> Tensor:
        """Fields ``[steps, V, in_type.dim]`` from the reconstruction of ``a [V, dim]`` to that of ``b``.

        Latent means go along the arc, on which their length changes evenly: as far from 0 as draws are.
        """
        if steps < 2:
            raise InputError(f"steps {steps}: an interpolation has at least its two ends")
        start, end = self.encode(a, surface).mean, self.encode(b, surface).mean
        length = [float(v.norm()) for v in (start, end)]
        t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None, None]
        if min(length) == 0:
            return self.decode(start + t * (end - start), surface)
        u, v = start / length[0], end / length[1]
        angle = 2 * math.atan2(float((u - v).norm()), float((u + v).norm()))
        if math.sin(angle) < 1e-4:  # along one line
            return self.decode(start + t * (end - start), surface)
        way = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / math.sin(angle)
        return self.decode(way * (length[0] + t * (length[1] - length[0])), surface)

    def anomaly(self, x: Tensor, surface: Hierarchy, known: Tensor | None = None) -> Tensor:
        r"""Anomaly score of each point, ``[..., V]``: :math:`\frac1d \sum_c (x_c - f(\mu)_c)^2 / \sigma_c^2`.

        About 1 where x is as in the training; NaN where it is unknown.
        """
        off = x - self(x, surface, known)
        return (off.square() * (-self.noise).exp()).mean(-1)

    @property
    def _dtype(self) -> torch.dtype:
        return self.log_noise.dtype

    def _check(self, surface: Hierarchy) -> None:
        check_levels(surface, self.num_levels)
        few, many = surface.levels[-1].num_vertices, surface.finest.num_vertices
        if few * self.latent.dim >= many * self.in_type.dim:
            raise InputError(
                f"latent {self.latent} on {few} points are {few * self.latent.dim} numbers, the data {self.in_type} on "
                f"{many} points {many * self.in_type.dim}; give fewer latent fields or more levels"
            )


def _known(x: Tensor, known: Tensor | None) -> Tensor:
    there = torch.isfinite(x).all(-1)
    return there if known is None else known & there


def _per_surface(values: Tensor, graph: GaugeGraph) -> Tensor:
    """Sums over the points of each surface, ``[..., V]`` to ``[..., G]``."""
    sums = values.new_zeros(*values.shape[:-1], graph.num_graphs)
    return graph.total(sums.index_add(-1, graph.batch_index, values))
