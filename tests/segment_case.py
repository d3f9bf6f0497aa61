"""Arguments of the transport-and-reduce operators, for their tests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph
from meshconv.ops import transport_dot, transport_max, transport_sum
from meshconv.ops.references import segment as reference


@dataclass
class Case:
    """Features at both ends of a graph's edges, weights of the edges, and the type."""

    x: Tensor
    y: Tensor
    weight: Tensor
    graph: GaugeGraph
    type: FieldType

    @classmethod
    def random(cls, graph: GaugeGraph, field_type: str, heads: int = 1, batch: int = 2, shared: bool = False) -> Case:
        t, normal = FieldType(field_type), {"dtype": torch.float64}
        x, y = (torch.randn(batch, graph.num_vertices, t.dim, **normal) for _ in range(2))
        weight = torch.randn(1 if shared else batch, graph.num_edges, heads, **normal)
        return cls(x, y, weight, graph, t)

    def to(self, dtype: torch.dtype) -> Case:
        geometry = torch.float64 if dtype == torch.float64 else torch.float32
        return replace(
            self, x=self.x.to(dtype), y=self.y.to(dtype), weight=self.weight.to(dtype), graph=self.graph.to(geometry)
        )

    @property
    def edges(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        g = self.graph
        return g.edges

    def leaves(self) -> dict[str, Tensor]:
        """The differentiable arguments, as new leaves."""
        real = {"x": self.x, "y": self.y, "weight": self.weight, "transporter": self.graph.transporter}
        return {k: t.detach().clone().requires_grad_() for k, t in real.items()}

    def run(self, name: str, compiled: bool, leaves: dict[str, Tensor] | None = None) -> Tensor:
        """Operator ``name`` of OPERATORS on all leaves that it takes; shared weights through the wrapper."""
        a = leaves or self.leaves()
        g, t, heads = self.graph, self.type, self.weight.shape[-1]
        n, shared = g.num_vertices, self.weight.shape[0] == 1 and self.x.shape[0] != 1
        if compiled:
            weight = a["weight"][0] if shared else a["weight"]
            return {
                "sum": lambda: transport_sum(a["x"], weight, a["transporter"], self.edges, t),
                "adjoint": lambda: transport_sum(a["y"], weight, a["transporter"], self.edges, t, transpose=True),
                "dot": lambda: transport_dot(a["x"], a["y"], a["transporter"], self.edges, t, heads),
                "max": lambda: transport_max(a["x"], a["transporter"], self.edges, t),
                "max by value": lambda: transport_max(a["x"], a["transporter"], self.edges, t, scalars="value"),
            }[name]()
        if name == "sum":
            return reference.transport_sum_reference(a["x"], a["weight"], a["transporter"], g.src, g.dst, n, t)
        if name == "adjoint":
            return reference.transport_sum_reference(a["y"], a["weight"], -a["transporter"], g.dst, g.src, n, t)
        if name == "dot":
            return reference.transport_dot_reference(a["x"], a["y"], a["transporter"], g.src, g.dst, t, heads)
        chosen = reference.transport_argmax_reference(a["x"], g.src, g.dst, n, t, name == "max by value")
        return reference.transport_select_reference(a["x"], chosen, a["transporter"], g.src, t)


OPERATORS = {
    "sum": ("x", "weight", "transporter"),
    "adjoint": ("y", "weight", "transporter"),
    "dot": ("x", "y", "transporter"),
    "max": ("x", "transporter"),
    "max by value": ("x", "transporter"),
}
"""Operators, and the leaves that each depends on."""
