"""Potts layer: smoothed segmentations by belief propagation with learned edge weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.hybrid.factor_graph import check_damping
from meshconv.hybrid.smoother import mlp


class PottsLayer(nn.Module):
    r"""Marginals of a Potts model on a surface.

    .. math:: p(c) \propto \exp\Big(\sum_p l_p(c_p) + \sum_{pq} J_{pq} [c_p = c_q]\Big)

    l are logits, for example of a segmentation network. The weight J >= 0 of a pair of neighbours is a small network's
    softplus of what does not depend on the gauge or on the order of the pair: absolute differences and means of the
    features' invariants, and the distance in units of the surface's scale. Marginals come from ``iterations`` of belief
    propagation with all messages at once; each takes O(C) per edge. Edges without an opposite one are left out.

    Parameters
    ----------
    classes
    in_type : FieldType or str
        Of the features that weights are learned from.
    hidden
    iterations
    damping
        As in :func:`belief_propagation`.
    weight
        J before training, the same at all edges.

    Examples
    --------
    >>> from meshconv import TriangleMesh
    >>> corners = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    >>> graph = TriangleMesh(corners, [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]).gauge_graph()
    >>> layer = PottsLayer(classes=3, in_type="2x0 + 1x1")
    >>> logits = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.2, 0.0]])
    >>> layer(logits, graph, layer.in_type.randn(4)).argmax(-1)
    tensor([0, 0, 0, 0])
    """

    def __init__(
        self,
        classes: int,
        in_type: FieldType | str,
        hidden: int = 16,
        iterations: int = 5,
        damping: float = 0.0,
        weight: float = 0.3,
    ):
        super().__init__()
        check_damping(damping)
        if classes < 2 or iterations < 1 or weight <= 0:
            raise InputError(f"classes {classes} has to be >= 2, iterations {iterations} >= 1 and weight {weight} > 0")
        self.classes, self.in_type = classes, FieldType(in_type)
        self.iterations, self.damping = iterations, damping
        self.edge = mlp(2 * self.in_type.num_fields + 1, hidden, 1)
        nn.init.zeros_(self.edge[2].weight)  # type: ignore[arg-type]
        nn.init.constant_(self.edge[2].bias, float(torch.tensor(weight).expm1().log()))  # type: ignore[arg-type]

    def weights(self, graph: GaugeGraph, features: Tensor) -> Tensor:
        """J [..., E] of each directed edge, equal for both directions."""
        self.in_type.check(features, "features")
        invariants = self.in_type.invariants(features)
        one, other = (invariants.index_select(-2, i) for i in (graph.src, graph.dst))
        length = (graph.log_radius / graph.scale[graph.dst]).to(invariants)[:, None]
        length = length.expand(*one.shape[:-1], 1)
        seen = torch.cat([(one - other).abs(), (one + other) / 2, length], -1)
        return nn.functional.softplus(self.edge(seen))[..., 0]

    def forward(self, logits: Tensor, graph: GaugeGraph, features: Tensor) -> Tensor:
        """Logarithms of marginals [..., V, classes], from logits of this shape and features [..., V, in_type.dim]."""
        if logits.shape[-2:] != (graph.num_vertices, self.classes):
            raise InputError(f"logits are {list(logits.shape)}, expected [.., {graph.num_vertices}, {self.classes}]: "
                             f"the graph's vertices and the classes")  # fmt: skip
        edge, opposite = opposite_edges(graph)
        coupling = self.weights(graph, features).index_select(-1, edge)[..., None]
        src, dst = graph.src[edge], graph.dst[edge]
        # An edge's message multiplies the probability of equal classes by e^J, of others by 1.
        gain = coupling.expm1()
        messages = torch.zeros_like(logits.index_select(-2, src))
        belief = logits
        for _ in range(self.iterations):
            back = (belief.index_select(-2, src) - messages.index_select(-2, opposite)).log_softmax(-1)
            new = torch.log1p(gain * back.exp())
            messages = (1 - self.damping) * new + self.damping * messages
            belief = logits.index_add(-2, dst, messages)
        return belief.log_softmax(-1)

    def extra_repr(self) -> str:
        return f"{self.classes} classes, {self.in_type}, iterations={self.iterations}"


def opposite_edges(graph: GaugeGraph) -> tuple[Tensor, Tensor]:
    """Edges that have an opposite one [K], and where among them it stands [K]."""
    key = graph.dst * graph.num_vertices + graph.src
    back = graph.src * graph.num_vertices + graph.dst
    edge = torch.isin(key, back).nonzero()[:, 0]
    order = torch.argsort(key[edge])
    return edge, order[torch.searchsorted(key[edge][order], back[edge])]
