"""Loss of fields on the sphere by degree of spherical harmonics, which does not reward blurring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.sphere.healpix import HealpixSphere


class SpectralLoss(nn.Module):
    r"""Adjusted mean square error of scalars and vectors on a HEALPix sphere.

    The mean square error punishes a sharp field that is a little displaced twice, and so teaches blurring. By degree l,
    with powers :math:`p_l, q_l` of prediction and target and their coherence :math:`\gamma_l`, it is
    :math:`p_l + q_l - 2 \gamma_l \sqrt{p_l q_l}`; here it is

    .. math:: (\sqrt{p_l} - \sqrt{q_l})^2 + 2 \max(p_l, q_l) (1 - \gamma_l)

    (Subich et al. 2025): the best power is that of the target, however little is known of the phase. What harmonics up
    to degree ``2 nside`` do not hold counts as in the mean square error, so that the loss is 0 for equal fields alone.
    Of vectors the power is that of gradients and curls together: neither depends on a frame.

    Parameters
    ----------
    field_type
        Orders 0 and 1, frames towards south and east.
    spec
        :attr:`~meshconv.datasets.SphereMaps.spec` of the data.

    Raises
    ------
    InputError
        Data that are not on a whole HEALPix sphere, fields of order 2 or more, or values that are missing.

    Notes
    -----
    Harmonic coefficients are healpy's, on the CPU. ``tests/test_spectral_loss.py`` compares with sums over harmonics.
    """

    def __init__(self, field_type: FieldType, spec: Mapping[str, Any]):
        super().__init__()
        inputs = spec.get("inputs")
        if inputs is None or not isinstance(inputs["nside"], int) or inputs["domain"] is not None:
            raise InputError("loss spectral is for maps on a whole HEALPix sphere: give nside, and no domain")
        if field_type.max_order > 1:
            raise InputError(f"loss spectral is for scalars and vectors, not for {field_type}")
        self.field_type, self.sphere = field_type, HealpixSphere(inputs["nside"])

    def forward(self, error: Tensor, target: Tensor) -> Tensor:
        """What a sample has beyond its mean square error, summed over the fields, float64 ``[...]``.

        Parameters
        ----------
        error : Tensor [..., V, field_type.dim]
            Prediction minus target.
        target : Tensor [..., V, field_type.dim]
        """
        if target.isnan().any():
            raise InputError("loss spectral: targets are missing at some points, and harmonics need all of them")
        parts = []
        for order, fields in self._fields(error, target):
            e, y = (coefficients(x, order, self.sphere) for x in fields)
            tiny = torch.finfo(y.dtype).tiny  # sqrt has no derivative at 0
            q, cross = _power(y, y), _power(y, e)
            p = (q + 2 * cross + _power(e, e)).clamp(min=tiny)
            both = (p * q.clamp(min=tiny)).sqrt().clamp(min=tiny)
            coherence = (q + cross) / both
            parts.append((2 * (torch.maximum(p, q) - both) * (1 - coherence)).sum((-1, -2)))
        return torch.stack(parts).sum(0)

    def _fields(self, *given: Tensor) -> list[tuple[int, list[Tensor]]]:
        """Of each order the fields of both, ``[..., fields, V]`` or ``[..., fields, 2, V]``."""
        found = []
        for order, width in enumerate(self.field_type.multiplicities):
            blocks = [x[..., self.field_type.slice(order)] for x in given]
            if order == 1:  # [..., V, 2 c] to [..., c, 2, V]
                blocks = [block.unflatten(-1, (2, width)).transpose(-3, -1) for block in blocks]
            elif width:
                blocks = [block.mT for block in blocks]
            if width:
                found.append((order, blocks))
        return found


def coefficients(x: Tensor, order: int, sphere: HealpixSphere) -> Tensor:
    r"""Harmonic coefficients of fields up to degree ``2 nside``, whose squares add up to the mean square of the field.

    Parameters
    ----------
    x : Tensor [..., V] or [..., 2, V]
        Scalars; or vectors, towards south and east.
    order : 0 or 1
    sphere

    Returns
    -------
    float64 Tensor [..., 1 or 2, lmax + 1, lmax + 1, 2]
        Of gradients and curls for vectors; degree, m, and real and imaginary part (m > 0 times :math:`\sqrt 2`).
    """
    found: Tensor = _Analysis.apply(x.unsqueeze(-2) if order == 0 else x, order, sphere)
    return found


class _Analysis(torch.autograd.Function):
    """Sums over the pixels with equal weights. The adjoint is the synthesis."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int, sphere: HealpixSphere) -> Tensor:
        import healpy  # GPL-2 and slow to import: only where it is used

        ctx.order, ctx.sphere, ctx.dtype = order, sphere, x.dtype
        largest = 2 * sphere.nside
        place, scale = _packed(largest)
        maps = x.detach().cpu().double().numpy().reshape(-1, *x.shape[-2:])[..., _rings(sphere)]
        out = np.zeros((*maps.shape[:2], largest + 1, largest + 1), dtype=complex)
        for k, parts in enumerate(maps):
            found = (
                [healpy.map2alm(parts[0], largest, iter=0, pol=False)]
                if order == 0
                else healpy.map2alm_spin(list(parts), 1, largest)
            )
            for part, numbers in zip(out[k], found, strict=True):
                part[place] = numbers * scale
        both = np.stack([out.real, out.imag], axis=-1)
        return torch.from_numpy(both).to(x.device).reshape(*x.shape[:-1], *both.shape[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        import healpy

        (grad,) = grads
        sphere, largest = ctx.sphere, 2 * ctx.sphere.nside
        place, scale = _packed(largest)
        given = grad.detach().cpu().double().numpy()
        given = given.reshape(-1, *given.shape[-4:])
        packed = (given[..., 0] + 1j * given[..., 1])[:, :, place[0], place[1]]
        # Coefficients with m > 0 stand for those with -m too.
        packed = packed * np.where(place[1] > 0, 0.5, 1.0) * scale * (4 * np.pi / sphere.npix)
        out = np.empty((*packed.shape[:2], sphere.npix))
        for k, parts in enumerate(packed):
            out[k][:, _rings(sphere)] = (
                healpy.alm2map(parts[0], sphere.nside, largest, pol=False)
                if ctx.order == 0
                else healpy.alm2map_spin(list(parts), sphere.nside, 1, largest)
            )
        found = torch.from_numpy(out).to(grad.device, ctx.dtype)
        return found.reshape(*grad.shape[:-3], sphere.npix), None, None


def _packed(largest: int) -> tuple[tuple[NDArray, NDArray], NDArray[np.float64]]:
    """Degree and m of healpy's packed coefficients, and what makes their squares add up to the mean square."""
    import healpy

    degree, m = healpy.Alm.getlm(largest)
    return (degree, m), np.where(m > 0, np.sqrt(2), 1.0) / np.sqrt(4 * np.pi)


def _rings(sphere: HealpixSphere) -> NDArray[np.int64]:
    """Index of the points in ring order."""
    import healpy

    every = np.arange(sphere.npix)
    return healpy.ring2nest(sphere.nside, every) if sphere.pixel_order == "nest" else every


def _power(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products over m and kinds of each degree, ``[..., lmax + 1]``."""
    return (a * b).sum(dim=(-1, -2, -4))
