"""Equivariant linear maps at a point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType


class Linear(nn.Module):
    r"""Complete equivariant linear map at a point: orders do not mix.

    At order (angular frequency) 0 any matrix; at order ``m > 0`` one complex number per pair of channels,
    :math:`(c + i s) \mapsto (A + i B)(c + i s)`, since only rotations and scalings commute with rotations.
    With O(2) the number is real and odd scalars map to odd ones.
    Only invariant scalars have a bias: a constant vector would not be equivariant.

    Parameters
    ----------
    in_type, out_type : FieldType or str
        Orders of ``out_type`` that ``in_type`` lacks are zero.
    bias
        Add a learnt constant at order 0.
    """

    def __init__(self, in_type: FieldType | str, out_type: FieldType | str, bias: bool = True):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.in_type.check_group(self.out_type)
        self.weights = nn.ParameterDict()
        source, target = _blocks(self.in_type), _blocks(self.out_type)
        for key in target:
            if key in source:
                parts = 1 if key in ("0", "0-") or self.in_type.group == "O(2)" else 2
                self.weights[key] = nn.Parameter(torch.empty(parts, source[key], target[key]))
        scalars = self.out_type.scalars
        self.bias = nn.Parameter(torch.zeros(scalars)) if bias and scalars else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise to preserve the variance: output components sum ``parts * channels`` inputs of unit variance."""
        for weight in self.weights.values():
            nn.init.normal_(weight, std=(weight.shape[0] * weight.shape[1]) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def reached(self) -> Tensor:
        """Components of the output that the input reaches, bool ``[out_type.dim]``."""
        parts = []
        for key, count in _blocks(self.out_type).items():
            size = count if key in ("0", "0-") else 2 * count
            parts.append(torch.full((size,), key in self.weights, device=self._device))
        return torch.cat(parts)

    @property
    def _device(self) -> torch.device | None:
        return next((p.device for p in self.parameters()), None)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in_type.dim]`` to ``[..., out_type.dim]``."""
        self.in_type.check(x, "input")
        source = _blocks(self.in_type)
        widths = [c if key in ("0", "0-") else 2 * c for key, c in source.items()]
        blocks, parts = dict(zip(source, x.split(widths, dim=-1), strict=True)), []
        for key, count in _blocks(self.out_type).items():
            bias = self.bias if key == "0" else None
            if key not in self.weights:
                part = x.new_zeros(*x.shape[:-1], count if key in ("0", "0-") else 2 * count)
                parts.append(part if bias is None else part + bias)
                continue
            weight = self.weights[key]
            if key in ("0", "0-"):
                parts.append(nn.functional.linear(blocks[key], weight[0].T, bias))
            else:
                parts.append(blocks[key] @ _real(key, weight))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def matrix(self) -> Tensor:
        """The map without bias as a matrix, ``[in_type.dim, out_type.dim]``: zero between different orders."""
        starts, rows = {}, 0
        for key, count in _blocks(self.in_type).items():
            starts[key] = rows
            rows += count if key in ("0", "0-") else 2 * count
        columns = []
        for key, count in _blocks(self.out_type).items():
            if key in self.weights:
                block = _real(key, self.weights[key])
                below = rows - starts[key] - len(block)
                columns.append(nn.functional.pad(block, (0, 0, starts[key], below)))
            else:
                like = next(iter(self.weights.values()), torch.empty(0))
                columns.append(like.new_zeros(rows, count if key in ("0", "0-") else 2 * count))
        return torch.cat(columns, dim=1)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, bias={self.bias is not None}"


def _real(key: str, weight: Tensor) -> Tensor:
    """Weights of one kind of field as a real matrix between its components."""
    if key in ("0", "0-"):
        return weight[0]
    a, b = weight if len(weight) == 2 else (weight[0], torch.zeros_like(weight[0]))
    return torch.cat([torch.cat([a, b], dim=1), torch.cat([-b, a], dim=1)], dim=0)


def _blocks(field_type: FieldType) -> dict[str, int]:
    """Multiplicities by kind of field, in the order of the components: ``"0"``, ``"0-"``, ``"1"``, ..."""
    counts = {"0": field_type.scalars, "0-": field_type.odd_scalars}
    counts |= {str(m): c for m, c in enumerate(field_type.multiplicities) if m}
    return {key: c for key, c in counts.items() if c}
