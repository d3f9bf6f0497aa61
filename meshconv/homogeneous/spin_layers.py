"""Layers between spin-weighted convolutions: nonlinearities, normalisation, resampling, invariants."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.homogeneous.transform import SphereTransform, check_orders, cut
from meshconv.nn.tensor_product import TensorProductNonlinearity


class SpinNonlinearity(nn.Module):
    r"""A pointwise nonlinearity of fields, on a finer grid, and projected to the degrees up to lmax.

    A pointwise function of fields of degree L has higher degrees, which on a grid for L alias to lower ones and break
    equivariance. On the finer grid the product of two fields is projected exactly at ``oversampling`` 1.5, and of other
    functions less is left: ``benchmarks/homogeneous.py`` measures it.

    Parameters
    ----------
    pointwise : nn.Module
        With ``in_type`` and ``out_type``: :class:`~meshconv.nn.NormNonlinearity`,
        :class:`~meshconv.nn.GatedNonlinearity`, :class:`~meshconv.nn.TensorProductNonlinearity`.
    lmax
    oversampling
        Of the finer Gauss-Legendre grid, see :class:`SphereTransform`.

    Examples
    --------
    >>> from meshconv.nn import NormNonlinearity
    >>> transform = SphereTransform(7)
    >>> act = SpinNonlinearity(NormNonlinearity("2x0 + 2x1"), lmax=7)
    >>> act(torch.randn(transform.num_points, 6), transform).shape
    torch.Size([128, 6])
    """

    def __init__(self, pointwise: nn.Module, lmax: int, oversampling: float = 1.5):
        super().__init__()
        self.in_type: FieldType = pointwise.in_type  # type: ignore[assignment]
        self.out_type: FieldType = pointwise.out_type  # type: ignore[assignment]
        for kind in (self.in_type, self.out_type):
            check_orders(kind, lmax)
        self.pointwise, self.lmax = pointwise, lmax
        self.fine = SphereTransform(lmax, "gauss", oversampling)

    def forward(self, x: Tensor, transform: SphereTransform) -> Tensor:
        """``[..., points, in_type.dim]`` on the grid of ``transform`` to ``[..., points, out_type.dim]``."""
        if transform.lmax < self.lmax:
            raise InputError(f"the nonlinearity has lmax {self.lmax}, which is too high for {transform}; lower it")
        fine = self.fine.synthesis(transform.analysis(x, self.in_type, self.lmax), self.in_type)
        return transform.synthesis(self.fine.analysis(self.pointwise(fine), self.out_type), self.out_type)

    def extra_repr(self) -> str:
        return f"lmax={self.lmax}, oversampling={self.fine.oversampling}"


class SpinQuadratic(SpinNonlinearity):
    """Quadratic nonlinearity, exactly equivariant: products of pairs of fields, projected to the degrees up to lmax.

    A linear map of the fields plus tensor products (:class:`~meshconv.nn.TensorProductNonlinearity`) on
    ``1.5 lmax + 1`` rings.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    lmax
    """

    def __init__(self, in_type: FieldType | str, out_type: FieldType | str, lmax: int):
        super().__init__(TensorProductNonlinearity(in_type, out_type), lmax, 1.5)


class SpinBatchNorm(nn.Module):
    r"""Batch normalisation of fields on the sphere, with means by area: exactly equivariant in training too.

    .. math:: f^0 \mapsto \gamma \frac{f^0 - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad
        f^m \mapsto \gamma \frac{f^m}{\sqrt{\langle |f^m|^2 \rangle / 2 + \epsilon}}

    :class:`~meshconv.nn.FieldBatchNorm` with means over samples and the area of the sphere, which for fields on the
    grid of their transform are sums of squared coefficients.

    Parameters
    ----------
    in_type : FieldType or str
    eps, momentum
        As in :class:`torch.nn.BatchNorm1d`.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, in_type: FieldType | str, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        self.eps, self.momentum = eps, momentum
        scalars = self.in_type.scalars
        self.scale = nn.Parameter(torch.ones(self.in_type.num_fields))
        self.shift = nn.Parameter(torch.zeros(scalars))
        self.register_buffer("running_mean", torch.zeros(scalars))
        self.register_buffer("running_var", torch.ones(self.in_type.num_fields))

    def forward(self, x: Tensor, transform: SphereTransform) -> Tensor:
        """``[..., points, in_type.dim]`` on the grid of ``transform``."""
        self.in_type.check(x, "input")
        scalars = self.in_type.scalars
        if self.training and x.numel():
            weights = (transform.areas / (4 * math.pi)).to(x)
            flat = x.reshape(-1, *x.shape[-2:])
            mean = torch.einsum("nvc,v->c", flat[..., :scalars], weights) / len(flat)
            power = torch.einsum("nvc,nvc,v->c", flat, flat, weights) / len(flat)
            power = torch.cat([power[:scalars] - mean.square(), power[scalars:]])
            var = torch.cat([b if m == 0 else b.unflatten(0, (2, -1)).mean(0) for m, b in self._blocks(power)])
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        factor = self.scale * torch.rsqrt(var.clamp(min=0) + self.eps)
        offset = nn.functional.pad(self.shift - mean * factor[:scalars], (0, self.in_type.dim - scalars))
        return torch.addcmul(offset.to(x.dtype), x, self.in_type.per_component(factor).to(x.dtype))

    def _blocks(self, values: Tensor) -> list[tuple[int, Tensor]]:
        return list(self.in_type.split(values).items())

    def extra_repr(self) -> str:
        return str(self.in_type)


class SpinResample(nn.Module):
    """Fields on another grid: pooling by truncation of the degrees, and its transpose, unpooling.

    Parameters
    ----------
    in_type : FieldType or str

    Examples
    --------
    >>> fine, coarse = SphereTransform(15), SphereTransform(7)
    >>> SpinResample("1x0 + 1x1")(torch.randn(fine.num_points, 3), fine, coarse).shape
    torch.Size([128, 3])
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, source: SphereTransform, target: SphereTransform) -> Tensor:
        """``[..., points of source, dim]`` to ``[..., points of target, dim]``: the degrees that both have."""
        lmax = min(source.lmax, target.lmax)
        return target.synthesis(source.analysis(x, self.in_type, lmax), self.in_type)

    def extra_repr(self) -> str:
        return str(self.in_type)


class PowerSpectrum(nn.Module):
    r"""Rotation-invariant power of every component at every degree.

    .. math:: C_l = \frac{1}{2l + 1} \sum_m |a_{lm}|^2

    For fields of order s > 0, of E and of B.

    Parameters
    ----------
    in_type : FieldType or str
    lmax
    """

    def __init__(self, in_type: FieldType | str, lmax: int):
        super().__init__()
        self.in_type, self.lmax = FieldType(in_type), lmax
        check_orders(self.in_type, lmax)
        self.out_type = FieldType.from_multiplicities([(lmax + 1) * self.in_type.dim])

    def forward(self, x: Tensor, transform: SphereTransform) -> Tensor:
        """``[..., points, in_type.dim]`` to ``[..., lmax + 1, in_type.dim]``."""
        if transform.lmax < self.lmax:
            raise InputError(f"the power spectrum has lmax {self.lmax}, which is too high for {transform}; lower it")
        return power_spectrum(cut(transform.analysis(x, self.in_type), self.lmax))

    def extra_repr(self) -> str:
        return f"{self.in_type}, lmax={self.lmax}"


def power_spectrum(coefficients: Tensor) -> Tensor:
    """Power of coefficients ``[..., lmax + 1, 2 lmax + 2, dim]`` at every degree, ``[..., lmax + 1, dim]``."""
    degree = torch.arange(coefficients.shape[-3], dtype=coefficients.dtype, device=coefficients.device)
    return coefficients.square().sum(-2) / (2 * degree + 1)[:, None]
