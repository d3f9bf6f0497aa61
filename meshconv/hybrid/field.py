"""HybridField: a field from sparse observations, by a Matern model and a network that corrects it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import diags_array
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.hybrid.matern import SparsePrior, Surface, SurfaceOperators, check_positive, posterior_deviations
from meshconv.models.field_unet import FieldUNet


class FieldModel:
    r"""A Matern prior and noisy observations of a field: its posterior, and preconditioned messages towards it.

    The gradient of the log posterior, :math:`A^T (y - A x) / s^2 - Q x`, has condition numbers of 1e3 to 1e5. A message
    is that gradient times :math:`(Q + \delta I / s^2)^{-1}`, with the share :math:`\delta` of points that are observed:
    factorised once for a surface, whatever is observed. Steps of messages below :math:`2 \delta` are stable, and the
    posterior is where the message is zero.

    Parameters
    ----------
    surface : TriangleMesh, SphereGrid, SurfaceComplex or GaugeGraph
    range, deviation, noise, order
        As in :class:`Kriging`.
    density
        The share of points observed, in (0, 1].

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> model = FieldModel(HealpixSphere(4).gauge_graph(), range=1.0, deviation=1.0, noise=0.1, density=0.1)
    >>> mask = torch.arange(192) % 10 == 0
    >>> y = torch.where(mask, 1.0, 0.0)[:, None]
    >>> x = model.posterior(y, mask)
    >>> bool(model.message(x, y, mask).abs().max() < 1e-6)
    True
    """

    def __init__(
        self, surface: Surface, range: float, deviation: float, noise: float, density: float = 0.02, order: int = 0
    ):
        check_positive(range=range, deviation=deviation, noise=noise, density=density)
        if density > 1:
            raise InputError(f"density {density} has to be at most 1, the share of points that are observed")
        self.prior = SparsePrior(SurfaceOperators(surface, order), range, deviation)
        self.noise, self.density, self.order = noise, density, order
        shift = np.full(self.prior.num_points, density / noise**2)
        self._preconditioner = self.prior.operators.factor((self.prior.precision + diags_array(shift)).tocsr())

    def posterior(self, values: Tensor, mask: Tensor) -> Tensor:
        """Posterior mean [..., V, 1 or 2] of observed ``values`` [..., V, 1 or 2] where ``mask`` [..., V]."""
        return self._each(self._posterior, values, mask)

    def deviations(self, mask: Tensor) -> Tensor:
        """Standard deviation of the posterior at each point [V], for ``mask`` [V]."""
        return torch.from_numpy(posterior_deviations(self.prior, np.flatnonzero(mask.cpu().numpy()), self.noise))

    def message(self, x: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Preconditioned gradient of the log posterior at ``x`` [..., V, 1 or 2], without a gradient of its own."""
        return self._each(self._message, x, values, mask)

    def _posterior(self, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
        index = np.flatnonzero(mask)
        if not len(index):
            raise InputError("no observations; give at least one point")
        return self.prior.condition(index, y[index], self.noise)[0]

    def _message(self, x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
        slope = np.where(mask, y - x, 0) / self.noise**2 - self.prior.precision @ x
        return self._preconditioner.solve(slope)

    def _each(self, function: Any, *tensors: Tensor) -> Tensor:
        """``function`` of numpy fields, real or complex, for each sample of leading axes."""
        like = tensors[0]
        *fields, mask = (t.detach().cpu().numpy() for t in tensors)
        flat = [f.astype(np.float64).reshape(-1, *f.shape[-2:]) for f in fields]
        flat = [f[..., 0] + 1j * f[..., 1] if self.order else f[..., 0] for f in flat]
        masks = np.broadcast_to(mask, like.shape[:-1]).reshape(-1, mask.shape[-1])
        found = np.stack([function(*parts) for parts in zip(*flat, masks, strict=True)])
        parts = [found.real, found.imag] if self.order else [found]
        return torch.from_numpy(np.stack(parts, -1)).reshape(like.shape).to(like)


class HybridField(nn.Module):
    r"""Reconstruction of a scalar or tangent field by a model and a gauge-equivariant network in one iteration.

    .. math:: x^{(0)} = \text{posterior}, \qquad
        x^{(k+1)} = x^{(k)} + g\, m(x^{(k)}) + f_\theta(x^{(k)}, r^{(k)}, \text{mask}, \text{inputs})

    with the messages m of :class:`FieldModel`, through which no gradient flows, a learned gate g between 0 and
    :math:`\delta`, where steps are stable, the residual r of the observations, and a U-Net f that is shared by all
    iterations. Its last layer starts at zero: an untrained network returns the posterior mean, that is kriging.

    Parameters
    ----------
    in_type : FieldType or str
        Of other inputs, known at every point.
    out_type : FieldType or str
        ``"1x0"`` or ``"1x1"``: the field.
    channels, max_order, options
        Of the :class:`~meshconv.models.FieldUNet`.
    iterations

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> hierarchy = HealpixSphere(4).hierarchy(2).to(torch.float32)
    >>> model = FieldModel(hierarchy.finest, range=1.0, deviation=1.0, noise=0.1, density=0.1)
    >>> network = HybridField("1x0", "1x0", channels=[4, 4], max_order=1).eval()
    >>> mask = torch.arange(192) % 10 == 0
    >>> y = torch.where(mask, 1.0, 0.0)[:, None]
    >>> x = network(torch.ones(192, 1), hierarchy, y, mask, model)
    >>> torch.allclose(x, model.posterior(y, mask), atol=1e-5)
    True
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        channels: Sequence[int] = (8, 16),
        max_order: int = 1,
        iterations: int = 2,
        **options: Any,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        if self.out_type.num_fields != 1 or self.out_type.max_order > 1:
            raise InputError(f"out_type {self.out_type}: one scalar (1x0) or tangent field (1x1) is reconstructed")
        if iterations < 1:
            raise InputError(f"iterations {iterations} has to be >= 1")
        self.iterations, self.num_levels = iterations, len(channels)
        self.seen = [self.in_type, self.out_type, self.out_type, self.in_type.like([1])]
        both = self.seen[0] + self.seen[1] + self.seen[2] + self.seen[3]
        self.network = FieldUNet(both, self.out_type, channels, max_order, **options)
        for parameter in self.network.head.parameters():
            nn.init.zeros_(parameter)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, surface: Hierarchy, values: Tensor, mask: Tensor, model: FieldModel) -> Tensor:
        """The field [..., V, out_type.dim].

        Parameters
        ----------
        x : Tensor [..., V, in_type.dim]
        surface : Hierarchy
        values : Tensor [..., V, out_type.dim]
            Observations; anything finite where there is none.
        mask : bool Tensor [..., V]
            Where they are.
        model : FieldModel
            Of the finest level.
        """
        self.in_type.check(x, "input")
        self.out_type.check(values, "values")
        if not bool(torch.isfinite(values).all()):
            raise InputError("values have NaN or infinity; set what is not observed to 0, and mask to False there")
        seen = mask[..., None].to(values)
        values = values * seen
        field = model.posterior(values, mask)
        for k in range(self.iterations):
            if k:
                step = model.density * torch.sigmoid(self.gate)
                field = field + step * model.message(field, values, mask)
            inputs = [x, field, (values - field) * seen, seen]
            field = field + self.network(concatenate_fields(self.seen, inputs), surface)
        return field

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, iterations={self.iterations}"
