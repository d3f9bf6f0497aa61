"""Tangent fields as vectors and tensors in space, and back."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from meshconv.fields import FieldType


class HasFrames(Protocol):
    """A gauge graph (its points) or a surface complex (its triangles)."""

    @property
    def frames(self) -> Tensor: ...


def to_ambient(x: Tensor, surface: HasFrames, field_type: FieldType | str) -> Tensor:
    r"""Fields as vectors or tensors in space: :math:`c\,e_1 + s\,e_2`, the same whatever the gauge.

    Parameters
    ----------
    x : Tensor [..., V, dim]
    surface
        A graph, or a complex for fields on its triangles.
    field_type : FieldType or str
        ``"Nx1"``: tangent vectors. ``"Nx0 + Nx1"``: vectors with component :math:`f\,n` along the normal.
        ``"Nx2"``: symmetric traceless tangent tensors
        :math:`c\,(e_1 e_1^T - e_2 e_2^T) + s\,(e_1 e_2^T + e_2 e_1^T)`.

    Returns
    -------
    Tensor [..., V, N, 3] or [..., V, N, 3, 3]

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(2).gauge_graph()
    >>> wind = torch.tensor([[0.0, 5.0]]).double().expand(48, 2)   # eastward: (south, east)
    >>> bool((to_ambient(wind, graph, "1x1")[..., 2].abs() < 1e-12).all())
    True
    """
    t, frames = _supported(field_type, surface)
    t.check(x, "input")
    e1, e2, n = frames.to(x.dtype)[:, :, None, :].unbind(1)
    if t.orders == (2,):
        c, s = x[..., None, None].unflatten(-3, (2, -1)).unbind(-4)
        outer = e1[..., :, None] * e2[..., None, :]
        return c * (e1[..., :, None] * e1[..., None, :] - e2[..., :, None] * e2[..., None, :]) + s * (outer + outer.mT)
    c, s = x[..., t.slice(1), None].unflatten(-2, (2, -1)).unbind(-3)
    tangent = c * e1 + s * e2
    return tangent + x[..., t.slice(0), None] * n if 0 in t.orders else tangent


def from_ambient(values: Tensor, surface: HasFrames, field_type: FieldType | str) -> Tensor:
    """The fields of ``field_type`` in vectors ``[..., V, N, 3]`` or tensors ``[..., V, N, 3, 3]``.

    The inverse of :func:`to_ambient`. Parts of other vectors and tensors that ``field_type`` does not represent (normal
    component, trace, antisymmetric part) are removed by orthogonal projection.

    Returns
    -------
    Tensor [..., V, dim]
    """
    t, frames = _supported(field_type, surface)
    count, axes = t.multiplicities[-1], 2 if t.orders == (2,) else 1
    expected = (frames.shape[0], count, *[3] * axes)
    if tuple(values.shape[-axes - 2 :]) != expected:
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"values of type {t} need shape [..., {wanted}], got {tuple(values.shape)}")
    e1, e2, n = frames.to(values.dtype)[:, :, None, :].unbind(1)
    if axes == 2:
        symmetric = (values + values.mT) / 2
        along = torch.einsum("...ij,...j->...i", symmetric, e1.expand(values.shape[:-1]))
        across = torch.einsum("...ij,...j->...i", symmetric, e2.expand(values.shape[:-1]))
        return torch.cat([((along * e1).sum(-1) - (across * e2).sum(-1)) / 2, (along * e2).sum(-1)], dim=-1)
    parts = [(values * e).sum(-1) for e in (e1, e2)]
    return torch.cat([(values * n).sum(-1), *parts] if 0 in t.orders else parts, dim=-1)


def _supported(field_type: FieldType | str, surface: HasFrames) -> tuple[FieldType, Tensor]:
    t, frames = FieldType(field_type), surface.frames
    fits = t.orders in ((1,), (2,), (0, 1)) and t.multiplicities[0] in (0, t.multiplicities[-1])
    # A reflected frame has the opposite normal, and so an opposite normal component.
    if not fits or (t.group == "O(2)" and t.scalars):
        raise ValueError(f"fields in space are of type 'Nx1', 'Nx0 + Nx1' (O(2): 'Nx0- + Nx1') or 'Nx2', not '{t}'")
    return t, frames
