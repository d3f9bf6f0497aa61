"""Components towards south and east, for networks without gauge equivariance; the north vector."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph


def upright_components(x: Tensor, field_type: FieldType, sphere: GaugeGraph) -> Tensor:
    """Components in the frames (south, east) of the points of a sphere, whatever frames ``sphere`` has.

    A network that takes them as scalars has all directions relative to the poles: it is gauge-invariant, but not
    rotation-equivariant.

    Parameters
    ----------
    x : Tensor [..., V, field_type.dim]
    field_type : FieldType
    sphere : GaugeGraph

    Returns
    -------
    Tensor [..., V, field_type.dim]
    """
    if field_type.num_fields == field_type.scalars:
        return x
    along, across = (0 - to_north(sphere)).unbind(-1)  # 0 at a pole, where the axes of the frame replace south and east
    return field_type.change_gauge(x, torch.atan2(across, along))


def to_north(sphere: GaugeGraph) -> Tensor:
    r"""Unit tangent vectors to the north, in the frames of the points; 0 at the poles.

    The gauge-invariant field :math:`(z - (z \cdot n) n) / \cos\phi`; its divergence is :math:`-\tan\phi`, so the
    latitude :math:`\phi` is available to a network over neighbours.

    Parameters
    ----------
    sphere : GaugeGraph

    Returns
    -------
    Tensor [V, 2]
    """
    axis = sphere.frames[:, :2, 2]  # components of z
    length = axis.norm(dim=-1, keepdim=True)
    return torch.where(length > 1e-6, axis / length.clamp(min=1e-6), 0)
