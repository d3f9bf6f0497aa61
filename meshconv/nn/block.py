"""Residual block of the models, and the choice of its layer over neighbours."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.convolution.attention import GaugeAttention
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.convolution.message import GaugeMessage
from meshconv.nn.linear import Linear
from meshconv.nn.nonlinearity import GatedNonlinearity
from meshconv.nn.norm import FieldBatchNorm
from meshconv.nn.recompute import Recomputable
from meshconv.nn.surface_module import SurfaceModule
from meshconv.nn.watched import is_watched

LayerName = Literal["conv", "attention", "message"]

LAYERS: dict[str, type[nn.Module]] = {"conv": GaugeConv, "attention": GaugeAttention, "message": GaugeMessage}


def surface_layer(layer: LayerName, in_type: FieldType | str, out_type: FieldType | str, **options: Any) -> nn.Module:
    """A :class:`GaugeConv`, :class:`GaugeAttention` or :class:`GaugeMessage`, called with features and the surface.

    Parameters
    ----------
    layer
        ``"conv"``, ``"attention"`` or ``"message"``.
    in_type, out_type : FieldType or str
    options
        Options of the layer; all three have ``num_radial``, ``cutoff``, ``radial``, ``self_interaction`` and ``bias``.

    Examples
    --------
    >>> surface_layer("attention", "2x0", "4x0 + 4x1", heads=2).out_type
    FieldType('4x0 + 4x1')
    """
    if layer not in LAYERS:
        raise ValueError(f"layer {layer!r} is not one of {', '.join(map(repr, LAYERS))}")
    return LAYERS[layer](in_type, out_type, **options)


class ResidualBlock(Recomputable, SurfaceModule):
    """Residual block: two layers over neighbours with batch norm and gated nonlinearity, and an equivariant shortcut.

    The shortcut is the identity if the types are equal and the complete linear map otherwise; it has no bias on
    orders (angular frequencies) >= 1. The block is exactly equivariant.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    layer
        ``"conv"`` (:class:`GaugeConv`), ``"attention"`` (:class:`GaugeAttention`) or ``"message"``
        (:class:`GaugeMessage`).
    options
        Passed to both layers.
    """

    def __init__(
        self, in_type: FieldType | str, out_type: FieldType | str, layer: LayerName = "conv", **options: Any
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.act1, self.act2 = GatedNonlinearity(self.out_type), GatedNonlinearity(self.out_type)
        gated = self.act1.in_type
        self.conv1 = surface_layer(layer, self.in_type, gated, bias=False, **options)
        self.norm1 = FieldBatchNorm(gated)
        self.conv2 = surface_layer(layer, self.out_type, gated, bias=False, **options)
        self.norm2 = FieldBatchNorm(gated)
        same = self.in_type == self.out_type
        self.shortcut = nn.Identity() if same else Linear(self.in_type, self.out_type)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        return self.run(self._layers, x, graph)

    def _layers(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        y = normalised_gate(self.norm1, self.act1, self.conv1(x, graph))
        return normalised_gate(self.norm2, self.act2, self.conv2(y, graph), self.shortcut(x))


def normalised_gate(norm: nn.Module, act: nn.Module, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """``act(norm(x)) + residual``, in one pass over memory where norm and nonlinearity are those of the block.

    Layers that have been replaced, or that something listens to, run one by one.
    """
    if not is_watched(norm, act) and type(norm) is FieldBatchNorm and type(act) is GatedNonlinearity:
        return norm.gated(x, act.out_type, residual)
    y = act(norm(x))
    return y if residual is None else residual + y
