"""Fields as a map shows them: components towards south and east, which is what networks without gauges read."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.gauge_graph import GaugeGraph


def upright_components(x: Tensor, field_type: FieldType, sphere: GaugeGraph) -> Tensor:
    """Components in the frames (south, east) of the points of a sphere, whatever frames ``sphere`` has.

    A network that takes them for scalars sees every direction relative to the poles: it is the same in every gauge, but
    changes when the sphere turns.

    Parameters
    ----------
    x : Tensor [..., V, field_type.dim]
    field_type : FieldType
    sphere : GaugeGraph
        Positions on a sphere about the origin.

    Returns
    -------
    Tensor [..., V, field_type.dim]
    """
    if field_type.num_fields == field_type.scalars:
        return x
    up, (e1, e2) = sphere.positions, sphere.frames[:, :2].unbind(1)
    axis = up.new_tensor([0.0, 0.0, 1.0])
    east = torch.linalg.cross(axis.expand_as(up), up)
    south = torch.linalg.cross(east, up)
    # At a pole both vanish, and the frame's own axes stand for them.
    alpha = torch.atan2((south * e2).sum(-1), (south * e1).sum(-1))
    return field_type.change_gauge(x, alpha)
