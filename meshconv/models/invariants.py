"""Dense layers on gauge-invariant features."""

from __future__ import annotations

from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.nn import FieldBatchNorm, Linear
from meshconv.nn.recompute import Recomputable
from meshconv.nn.watched import is_watched


class InvariantLayers(Recomputable, nn.Module):
    """Dense layers with batch norm and silu on the scalars and field norms of each point.

    Parameters
    ----------
    in_type : FieldType or str
    width, layers
        Units and number of layers; ``out_type`` has ``width`` scalars.
    """

    def __init__(self, in_type: FieldType | str, width: int, layers: int = 1):
        super().__init__()
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([width])
        sizes = [self.in_type.num_fields] + [width] * layers
        types = [FieldType.from_multiplicities([n]) for n in sizes]
        self.linears = nn.ModuleList(Linear(a, b) for a, b in zip(types[:-1], types[1:], strict=True))
        self.norms = nn.ModuleList(FieldBatchNorm(t) for t in types[1:])

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_type.dim]`` to ``[..., width]``."""
        for k in range(len(self.linears)):
            x = self.run(self._layer, x, k)
        return x

    def _layer(self, x: Tensor, k: int) -> Tensor:
        y = self.linears[k](x if k else self.in_type.invariants(x))
        norm = self.norms[k]
        if type(norm) is FieldBatchNorm and not is_watched(norm):
            return norm.gated(y, norm.out_type)
        return nn.functional.silu(norm(y))
