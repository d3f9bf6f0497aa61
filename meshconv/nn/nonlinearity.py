"""Nonlinearities of fields: norm and gated (exactly equivariant), Fourier (approximately)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.ops import fourier_act
from meshconv.ops.fourier import Activation, check_activation


class NormNonlinearity(nn.Module):
    r"""Norm nonlinearity: silu on invariant scalars, every other field times a smooth function of its norm.

    .. math:: f^0 \mapsto \mathrm{silu}(f^0), \qquad f^m \mapsto f^m \, \sigma(a |f^m| + b)

    with m the order (angular frequency), a and b learnt per field. Exactly equivariant; smooth also where the field
    vanishes.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        count = self.in_type.num_fields - self.in_type.scalars
        self.slope = nn.Parameter(torch.ones(count))
        self.offset = nn.Parameter(torch.zeros(count))

    def forward(self, x: Tensor) -> Tensor:
        scalars = self.in_type.scalars
        gate = torch.sigmoid(self.slope * self.in_type.norms(x)[..., scalars:] + self.offset)
        return _act_and_gate(x, gate, self.in_type)

    def extra_repr(self) -> str:
        return str(self.in_type)


class GatedNonlinearity(nn.Module):
    r"""Gated nonlinearity: silu on invariant scalars, every other field times the sigmoid of its own gate, a scalar.

    .. math:: f^0 \mapsto \mathrm{silu}(f^0), \qquad f^m_c \mapsto f^m_c \, \sigma(s_c)

    The input has one additional scalar per field of order (angular frequency) m >= 1 and per odd scalar, after the
    other scalars. Exactly equivariant.

    Parameters
    ----------
    out_type : FieldType or str
        ``in_type`` is ``out_type`` plus the gates.
    """

    def __init__(self, out_type: FieldType | str):
        super().__init__()
        self.out_type = FieldType(out_type)
        counts, odd = self.out_type.multiplicities, self.out_type.odd_scalars
        self.in_type = self.out_type.like((sum(counts) + odd, *counts[1:]), odd)

    def forward(self, x: Tensor) -> Tensor:
        self.in_type.check(x, "input")
        scalars, gates = self.out_type.scalars, self.in_type.scalars - self.out_type.scalars
        if not gates:
            return nn.functional.silu(x)
        plain, gate, rest = x.split([scalars, gates, self.in_type.dim - self.in_type.scalars], dim=-1)
        return _act_and_gate(torch.cat([plain, rest], dim=-1), torch.sigmoid(gate), self.out_type)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


def _act_and_gate(x: Tensor, gate: Tensor, field_type: FieldType) -> Tensor:
    """silu on the invariant scalars, factors ``gate [..., other fields]`` on the rest."""
    counts = [field_type.odd_scalars, *(c for c in field_type.multiplicities[1:] if c)]
    odd_gate, *others = gate.split(counts, dim=-1)
    gates, parts = iter(others), []
    for m, block in field_type.split(x).items():
        if m == 0:
            parts.append(nn.functional.silu(block[..., : field_type.scalars]))
            if field_type.odd_scalars:
                parts.append(block[..., field_type.scalars :] * odd_gate)
        else:
            c, s = block.chunk(2, dim=-1)
            g = next(gates)
            parts += [c * g, s * g]
    return torch.cat(parts, dim=-1)


class FourierNonlinearity(nn.Module):
    r"""Fourier nonlinearity: a pointwise function of the fields of orders 0 to M as a function on the circle.

    .. math:: f(\phi_k) = f^0 + \sum_m (f^m_c \cos m\phi_k + f^m_s \sin m\phi_k), \qquad
        f \mapsto \mathrm{DFT}[\sigma(f(\phi_k))]_{m \le M}

    The order m is the angular frequency. Equivariance is exact under rotations by ``2 pi / N`` and reflections,
    approximate under other rotations: sigma creates all frequencies, and those from ``N - M`` on are aliased. The
    relative gauge error of relu for Gaussian features of order 2 is about 31 % with ``N = 2M + 1`` samples and about
    1.3 % with the default ``8M + 1``, and decays as ``1 / N^2``; docs/layers.md has a table, ``tests/test_fourier.py``
    measures it. A polynomial of degree p has frequencies up to ``p M`` only: it is exact with ``(p + 1) M + 1``
    samples.

    Parameters
    ----------
    in_type : FieldType or str
        The same multiplicity at all orders from 0 to M.
    samples
        Number N of points on the circle, at least ``2M + 1``.
    activation
        ``"relu"``, or ``"silu"``, which is smooth and so has less aliasing, or any pointwise function of a
        tensor (not compiled).
    """

    def __init__(self, in_type: FieldType | str, samples: int | None = None, activation: Activation = "relu"):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)
        counts = self.in_type.multiplicities
        if len(set(counts)) != 1 or self.in_type.odd_scalars:
            raise ValueError(
                f"the Fourier nonlinearity needs one multiplicity at all orders and no odd scalars, got {self.in_type}"
            )
        order = self.in_type.max_order
        self.samples = 8 * order + 1 if samples is None else samples
        if self.samples < 2 * order + 1:
            raise ValueError(f"{self.samples} samples do not resolve order {order}; it takes {2 * order + 1}")
        check_activation(activation)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        self.in_type.check(x, "input")
        parts = x.unflatten(-1, (-1, self.in_type.multiplicities[0]))
        return fourier_act(parts, self.samples, self.activation).flatten(-2)

    def extra_repr(self) -> str:
        return f"{self.in_type}, samples={self.samples}, activation={self.activation!r}"
