"""Holonomy: the gauge-invariant rotation angle of transport around a loop."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph, wrap_angle


def loop_holonomy(graph: GaugeGraph, loop: Tensor) -> Tensor:
    r"""Holonomy of closed paths over edges, :math:`\sum_k g_{v_k \to v_{k+1}}`.

    Parameters
    ----------
    graph : GaugeGraph
        With any transport, edges sorted by target and source (as every builder's are).
    loop : int64 [..., N]
        Vertices in the order of the path, which returns from the last to the first.

    Returns
    -------
    Tensor [...]
        Radians in [-pi, pi], counter-clockwise; that of the graph's dtype.

    Raises
    ------
    InputError
        Two consecutive vertices are not joined by an edge.
    """
    start, stop = loop, loop.roll(-1, dims=-1)
    wanted = stop * graph.num_vertices + start
    key = graph.dst * graph.num_vertices + graph.src
    edge = torch.searchsorted(key, wanted).clamp(max=max(graph.num_edges - 1, 0))
    absent = key[edge] != wanted if graph.num_edges else torch.ones_like(wanted, dtype=torch.bool)
    if bool(absent.any()):
        first = absent.nonzero()[0].tolist()
        pair = int(start[tuple(first)]), int(stop[tuple(first)])
        raise InputError(f"loop steps from vertex {pair[0]} to {pair[1]}, which no edge of the graph joins")
    return wrap_angle(graph.transporter[edge].sum(dim=-1))


def face_holonomies(graph: GaugeGraph, faces: Tensor) -> Tensor:
    """Holonomy around each face, ``[F]``: with Levi-Civita transport its integrated curvature.

    On a closed surface with holonomies below pi they sum to 2 pi times the Euler characteristic.

    Parameters
    ----------
    graph : GaugeGraph
        One-ring graph (or larger) of the mesh.
    faces : int64 [F, 3]
        Such as ``mesh.surface.faces``.
    """
    return loop_holonomy(graph, torch.as_tensor(faces))
