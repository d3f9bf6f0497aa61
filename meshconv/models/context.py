"""Global context of a surface, and conditioning of the fields at its points on it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn import GlobalPool, Linear, SurfaceModule, from_ambient, to_ambient


class Context(NamedTuple):
    """Context of each surface: invariants ``[..., G, scalars]`` and vectors in space ``[..., G, vectors, 3]``."""

    scalars: Tensor
    vectors: Tensor


def space_type(like: FieldType, vectors: int) -> FieldType:
    """Vectors in space as fields: components along the normal (odd ones with O(2)), and tangent vectors."""
    return like.like([vectors, vectors], odd_scalars=vectors if like.group == "O(2)" else 0)


class GlobalContext(SurfaceModule):
    r"""Area means over each surface of invariants, and of learnt vectors in space.

    .. math:: U_k = \frac{1}{A}\sum_p a_p \big( (W f_p)^0_k n_p + (W f_p)^1_k \big)

    The vectors rotate with the surface and do not depend on the gauge; they are normalised to a mean square of 1 / 3
    per component (unless they vanish, as on a sphere). The invariants are a dense layer of the mean invariants and of
    the inner products of the vectors.

    Parameters
    ----------
    in_type : FieldType or str
    scalars, vectors
        How many of each.
    """

    def __init__(self, in_type: FieldType | str, scalars: int, vectors: int):
        super().__init__()
        self.in_type, self.vectors = FieldType(in_type), vectors
        self.space = space_type(self.in_type, vectors)
        self.to_space = Linear(self.in_type, self.space, bias=False)
        self.vector_pool = GlobalPool(FieldType.from_multiplicities([3 * vectors]), "area")
        self.scalar_pool = GlobalPool(self.in_type, "area")
        self.dense = nn.Sequential(nn.Linear(self.in_type.num_fields + vectors**2, scalars), nn.SiLU())

    def forward(self, x: Tensor, graph: GaugeGraph) -> Context:
        """Of fields ``[..., V, in_type.dim]``."""
        ambient = to_ambient(self.to_space(x), graph, self.space).flatten(-2)
        vectors = self.vector_pool(ambient, graph).unflatten(-1, (self.vectors, 3))
        vectors = vectors * (vectors.square().mean((-2, -1), keepdim=True) + 1e-6).rsqrt()
        products = (vectors @ vectors.mT).flatten(-2) / 3
        return Context(self.dense(torch.cat([self.scalar_pool(x, graph), products], dim=-1)), vectors)


class ContextConditioning(nn.Module):
    r"""Conditioning of the fields at each point on the global context of its surface.

    Added are linear maps of the invariants, of the components of the vectors :math:`U_k` in the frame of the point, and
    of their inner products with learnt vectors :math:`u_{p,k}` of the point. If :math:`u_p` is the position, which
    inputs of moments contain, :math:`U_k \cdot u_p` are coordinates in learnt axes of the surface, which rotate with
    it.

    Parameters
    ----------
    in_type : FieldType or str
    scalars, vectors
        As of :class:`GlobalContext`.
    """

    def __init__(self, in_type: FieldType | str, scalars: int, vectors: int):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        self.space = space_type(self.in_type, vectors)
        self.to_space = Linear(self.in_type, self.space, bias=False)
        odd = self.space.odd_scalars
        seen = self.in_type.like([scalars + 2 * vectors, vectors], odd_scalars=odd)
        self.linear = Linear(seen, self.in_type)

    def forward(self, x: Tensor, graph: GaugeGraph, context: Context) -> Tensor:
        """``[..., V, in_type.dim]`` to the same."""
        own = self.space.split(self.to_space(x))
        seen_fields = from_ambient(context.vectors[..., graph.batch_index, :, :], graph, self.space)
        seen = self.space.split(seen_fields)
        along = own[0] * seen[0]
        across = (own[1] * seen[1]).unflatten(-1, (2, -1)).sum(-2)
        scalars = context.scalars[..., graph.batch_index, :]
        return x + self.linear(torch.cat([scalars, along + across, seen_fields], dim=-1))
