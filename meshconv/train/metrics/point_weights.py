"""Area weights of points."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch


def point_weights(batch: SurfaceBatch) -> Tensor:
    """Area of each point or face, or length of each edge, in means of its surface: 1 where all are alike.

    Of elements with shares it is the area they have of their points.

    Returns
    -------
    float64 Tensor [V], or [n] if the batch has elements
    """
    graph = batch.surface.finest
    if batch.elements is None:
        sizes = graph.areas.to(torch.float64)
    elif batch.shares is not None:
        # The area of each point, divided among the elements that take from it.
        shares = batch.shares.to(torch.float64)
        taken = shares.new_zeros(graph.num_vertices).index_add(0, batch.elements.flatten(), shares.flatten())
        density = torch.where(taken > 0, graph.areas.to(torch.float64) / torch.where(taken > 0, taken, 1), 0)
        sizes = (shares * density[batch.elements]).sum(1)
    else:
        corners = graph.positions.to(torch.float64)[batch.elements]
        sides = corners[:, 1:] - corners[:, :1]
        spanned = sides[:, 0] if sides.shape[1] == 1 else torch.linalg.cross(sides[:, 0], sides[:, 1])
        sizes = spanned.norm(dim=-1)
    counts = torch.bincount(batch.member, minlength=graph.num_graphs)
    return sizes / torch.segment_reduce(sizes, "mean", lengths=counts)[batch.member]
