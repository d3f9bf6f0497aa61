"""Linear maps of the fields at one point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType


class Linear(nn.Module):
    r"""Complete equivariant linear map at a point: orders do not mix.

    At order 0 any matrix; at order ``m > 0`` one complex number per pair of channels,
    :math:`(c + i s) \mapsto (A + i B)(c + i s)`, since only rotations and scalings commute with rotations.
    A bias exists at order 0 alone: a constant vector would single out a direction of the frame.

    Parameters
    ----------
    in_type, out_type : FieldType or str
        Orders of ``out_type`` that ``in_type`` lacks come out as zeros.
    bias
        Add a learnt constant at order 0.
    """

    def __init__(self, in_type: FieldType | str, out_type: FieldType | str, bias: bool = True):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.weights = nn.ParameterDict()
        for m in self.out_type.orders:
            if m in self.in_type.orders:
                shape = (1 if m == 0 else 2, self.in_type.multiplicities[m], self.out_type.multiplicities[m])
                self.weights[str(m)] = nn.Parameter(torch.empty(shape))
        scalars = self.out_type.multiplicities[0]
        self.bias = nn.Parameter(torch.zeros(scalars)) if bias and scalars else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Variance preserving: each output component sums ``parts * channels`` inputs of unit variance."""
        for weight in self.weights.values():
            nn.init.normal_(weight, std=(weight.shape[0] * weight.shape[1]) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in_type.dim]`` to ``[..., out_type.dim]``."""
        self.in_type.check(x, "input")
        blocks, parts = self.in_type.split(x), []
        for m in self.out_type.orders:
            if m not in blocks:
                count = self.out_type.multiplicities[m]
                parts.append(x.new_zeros(*x.shape[:-1], count if m == 0 else 2 * count))
                continue
            part = blocks[m]
            weight = self.weights[str(m)]
            if m == 0:
                parts.append(nn.functional.linear(part, weight[0].T, self.bias))
            else:
                a, b = weight
                real = torch.cat([torch.cat([a, b], dim=1), torch.cat([-b, a], dim=1)], dim=0)
                parts.append(part @ real)
        if self.bias is not None and "0" not in self.weights:
            parts[0] = parts[0] + self.bias
        return torch.cat(parts, dim=-1)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, bias={self.bias is not None}"
