"""Arguments of one gauge convolution, for the tests of the operator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshconv import FieldType, GaugeGraph
from meshconv.ops import gauge_conv, gauge_conv_reference


@dataclass
class Case:
    """Arguments of one convolution."""

    x: Tensor
    weight: Tensor
    radial: Tensor
    graph: GaugeGraph
    in_type: FieldType
    out_type: FieldType

    @classmethod
    def random(
        cls, graph: GaugeGraph, in_type: str, out_type: str, num_radial: int = 2, batch: tuple[int, ...] = ()
    ) -> Case:
        a, b = FieldType(in_type), FieldType(out_type)
        normal = {"dtype": torch.float64}
        return cls(
            torch.randn(*batch, graph.num_vertices, a.dim, **normal),
            torch.randn(num_radial, a.dim, b.dim, **normal),
            torch.randn(graph.num_edges, num_radial, **normal),
            graph, a, b,
        )  # fmt: skip

    def to(self, dtype: torch.dtype) -> Case:
        geometry = torch.float64 if dtype == torch.float64 else torch.float32
        graph = self.graph.to(geometry)
        weight, radial = self.weight.to(geometry), self.radial.to(geometry)
        return replace(self, x=self.x.to(dtype), weight=weight, radial=radial, graph=graph)

    def leaves(self) -> tuple[Tensor, ...]:
        """The five differentiable arguments, as new leaves."""
        real = (self.x, self.weight, self.radial, self.graph.log_angle, self.graph.transporter)
        return tuple(t.detach().clone().requires_grad_() for t in real)

    def run(self, compiled: bool, *leaves: Tensor) -> Tensor:
        g = self.graph
        x, weight, radial, angle, transporter = leaves or (
            self.x, self.weight, self.radial, g.log_angle, g.transporter,
        )  # fmt: skip
        if compiled:
            edges = g.edges
            return gauge_conv(x, weight, radial, angle, transporter, edges, self.in_type, self.out_type)
        flat = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
        y = gauge_conv_reference(
            flat, weight, radial, angle, transporter, g.src, g.dst, g.num_vertices, self.in_type, self.out_type
        )
        return y.reshape(*x.shape[:-2], *y.shape[1:])


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-300))
