"""Solutions of the kernel constraint, as a projection of dense kernels in the frame of the edge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType


class KernelSpace(nn.Module):
    r"""Linear projection of dense kernels onto the equivariant kernels of a group within a band limit.

    In the frame of the edge a kernel of SO(2) is any matrix :math:`K_0`. Between orders (angular frequencies) n and m
    it is a complex multiple A of the field and one, B, of its conjugate, of angular frequencies m - n and m + n in the
    edge's angle:

    .. math:: K_0 f = A f + B \bar f, \qquad K(\theta) = e^{i m\theta} K_0 e^{-i n\theta}
        \;\Rightarrow\; A e^{i(m-n)\theta}, \; B e^{i(m+n)\theta}

    The band limit L keeps A where :math:`|m-n| \le L` and B where :math:`m+n \le L`. The reflection across the edge,
    an element of O(2), leaves the entries between components of equal parity, that is real A and B.

    Parameters
    ----------
    in_type, out_type : FieldType
        Of one group.
    band_limit : int, optional
        Highest angular frequency of the kernel; all by default.

    Notes
    -----
    ``tests/test_kernel_space.py`` compares dimensions and kernels with a numerical null space of the constraint.
    """

    keep: Tensor
    swap: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, in_type: FieldType, out_type: FieldType, band_limit: int | None = None):
        super().__init__()
        in_type.check_group(out_type)
        self.in_dim = in_type.dim
        if band_limit is not None and band_limit < 0:
            raise ValueError(f"band_limit {band_limit} must not be negative")
        highest = in_type.max_order + out_type.max_order  # m + n is the highest angular frequency
        limit = highest if band_limit is None else band_limit
        # For SO(2) without a band limit every kernel is equivariant: no table of all pairs of components is needed.
        self.trivial = in_type.group == "SO(2)" and limit >= highest
        parts = {} if self.trivial else self._tables(in_type, out_type, limit)
        self.trivial = self.trivial or bool((parts["keep"] == 1).all())
        for name in ("keep", "swap", "rows", "columns"):
            self.register_buffer(name, None if self.trivial else parts[name], persistent=False)

    @staticmethod
    def _tables(in_type: FieldType, out_type: FieldType, limit: int) -> dict[str, Tensor]:
        n, row_phase = _components(in_type)
        m, column_phase = _components(out_type)
        n, m = n[:, None], m[None, :]
        a, b = ((m - n).abs() <= limit).double(), ((m + n) <= limit).double()
        # A part: (W_cc + W_ss) / 2 and (W_cs - W_sc) / 2; B part with the other signs. Scalars have one part only.
        single = (m == 0) | (n == 0)
        keep = torch.where(single, a, (a + b) / 2)
        sign = torch.where(row_phase[:, None] == column_phase[None, :], 1.0, -1.0)
        swap = torch.where(single, 0.0, sign * (a - b) / 2)
        if in_type.group == "O(2)":
            like = torch.zeros(0, dtype=torch.float64)
            equal = (in_type.parity(like)[:, None] == out_type.parity(like)[None, :]).double()
            keep, swap = keep * equal, swap * equal
        real = torch.get_default_dtype()
        exchanged = {"rows": _exchanged(in_type), "columns": _exchanged(out_type)}
        return {"keep": keep.to(real), "swap": swap.to(real), **exchanged}

    def forward(self, weight: Tensor) -> Tensor:
        """Project ``[..., in_type.dim, out_type.dim]``."""
        if self.trivial:
            return weight
        return self.keep * weight + self.swap * weight.index_select(-2, self.rows).index_select(-1, self.columns)

    def fan_in(self) -> Tensor:
        """Variance of each output component, ``[out_type.dim]`` or 0-d, for inputs and raw weights of variance 1."""
        return torch.tensor(float(self.in_dim)) if self.trivial else (self.keep**2 + self.swap**2).sum(0)


def _components(field_type: FieldType) -> tuple[Tensor, Tensor]:
    """Order of every component, and 0 for a scalar or cosine, 1 for a sine."""
    orders, phases = [], []
    for m, count in enumerate(field_type.multiplicities):
        orders += [m] * (count if m == 0 else 2 * count)
        phases += [0] * count + ([] if m == 0 else [1] * count)
    return torch.tensor(orders), torch.tensor(phases)


def _exchanged(field_type: FieldType) -> Tensor:
    """The permutation of components that exchanges cosine and sine of each field."""
    order = torch.arange(field_type.dim)
    parts = []
    for m in field_type.orders:
        part = order[field_type.slice(m)]
        parts.append(part if m == 0 else part.roll(len(part) // 2))
    return torch.cat(parts)
