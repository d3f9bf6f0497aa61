"""Dropout of whole fields."""

from __future__ import annotations

from torch import Tensor, nn

from meshconv.fields import FieldType


class FieldDropout(nn.Module):
    """In training, zero each field of each point with probability ``p`` and divide the others by ``1 - p``.

    Both components of a field of order (angular frequency) m >= 1 are dropped together, as equivariance requires; the
    expectation is the input. In evaluation mode the layer is the identity.

    Parameters
    ----------
    in_type : FieldType or str
    p
        Probability, from 0 to 1.
    """

    def __init__(self, in_type: FieldType | str, p: float = 0.5):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p {p} is not a probability")
        self.in_type = self.out_type = FieldType(in_type)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        self.in_type.check(x, "input")
        if not self.training or self.p == 0:
            return x
        fields = x.new_ones(*x.shape[:-1], self.in_type.num_fields)
        return self.in_type.scale_fields(x, nn.functional.dropout(fields, self.p))

    def extra_repr(self) -> str:
        return f"{self.in_type}, p={self.p}"
