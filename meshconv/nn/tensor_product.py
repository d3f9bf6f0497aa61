"""Tensor-product nonlinearity."""

from __future__ import annotations

from itertools import combinations_with_replacement

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.nn.linear import Linear


class TensorProductNonlinearity(nn.Module):
    r"""Tensor products of fields, decomposed by the Clebsch-Gordan rule of SO(2) or O(2); exactly equivariant.

    .. math:: f \mapsto L f + b + V \big( (P f)^m \otimes (Q f)^n \big)_{m \le n}, \qquad
        f^m \otimes f^n = \big( f^m f^n, \; \overline{f^m} f^n \big) \in \text{orders } (m + n, \; n - m)

    with fields of order (angular frequency) m as complex numbers and L, P, Q, V complete linear maps. Products are per
    channel; the linear maps mix channels, so that enough channels give every quadratic equivariant map. For two fields
    of the same order the real part of the second product is their inner product, a scalar, and the imaginary part their
    cross product, a scalar for SO(2) and an odd scalar for O(2). The product with an odd scalar rotates a field by a
    right angle.

    Parameters
    ----------
    in_type, out_type : FieldType or str
        ``out_type`` is ``in_type`` by default; orders beyond it are not computed.
    channels
        Channels of P and Q at every order of ``in_type``; by default the most fields of one order in it.

    Raises
    ------
    ValueError
        If no product of fields of ``in_type`` is of ``out_type``.

    Notes
    -----
    The map is quadratic: apply a normalisation before it. ``tests/test_tensor_product.py`` checks that it spans the
    quadratic equivariant maps.

    Examples
    --------
    >>> act = TensorProductNonlinearity("4x1", "4x0 + 4x2")
    >>> act(torch.randn(10, 8)).shape
    torch.Size([10, 12])
    """

    def __init__(
        self, in_type: FieldType | str, out_type: FieldType | str | None = None, channels: int | None = None
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        self.out_type = self.in_type if out_type is None else FieldType(out_type)
        self.in_type.check_group(self.out_type)
        channels = max(self.in_type.multiplicities) if channels is None else channels
        if channels < 1:
            raise ValueError(f"channels {channels} has to be >= 1")
        self.channels = channels
        mirrors = self.in_type.group == "O(2)"
        self._factors, wanted = _kinds(self.in_type), _kinds(self.out_type)
        pairs = combinations_with_replacement(self._factors, 2)
        found = [(a, b, kind) for a, b in pairs for kind in field_products(a, b, mirrors) if kind[0] in wanted]
        if not found:
            raise ValueError(f"no product of two fields of {self.in_type} is of {self.out_type}")
        self._paths = found
        of_kind = {k: channels * sum(kind == k for _, _, (kind, _) in found) for k in wanted}
        factors = _type_of(self.in_type, dict.fromkeys(self._factors, channels))
        self.left, self.right = (Linear(self.in_type, factors, bias=False) for _ in range(2))
        self.back = Linear(_type_of(self.in_type, of_kind), self.out_type, bias=False)
        self.linear = Linear(self.in_type, self.out_type)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise to unit variance for independent fields of unit variance, half of it from the quadratic part."""
        for linear in (self.left, self.right, self.back, self.linear):
            linear.reset_parameters()
        with torch.no_grad():
            for kind in self.linear.weights.keys() & self.back.weights.keys():
                self.linear.weights[kind] *= 0.5**0.5
                self.back.weights[kind] *= 0.5**0.5

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_type.dim]`` to ``[..., out_type.dim]``."""
        left, right = self._split(self.left(x)), self._split(self.right(x))
        parts: dict[str, list[tuple[Tensor, ...]]] = {}
        for a, b, (kind, rule) in self._paths:
            parts.setdefault(kind, []).append(multiply(left[a], right[b], rule))
        blocks = []
        for kind in sorted(parts, key=_rank):
            blocks += [component for half in zip(*parts[kind], strict=True) for component in half]
        return self.linear(x) + self.back(torch.cat(blocks, dim=-1))

    def _split(self, x: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Components of ``channels`` numbers for each kind of field, one or two."""
        parts = iter(x.split(self.channels, dim=-1))
        return {k: tuple(next(parts) for _ in range(1 if k[0] == "0" else 2)) for k in self._factors}

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, channels={self.channels}"


def _kinds(field_type: FieldType) -> list[str]:
    """Kinds of fields that occur, ``"0"``, ``"0-"``, ``"1"``, ..., in the order of the components."""
    return [str(order) for _, order in field_type]


def _rank(kind: str) -> float:
    return 0.5 if kind == "0-" else float(kind)


def _type_of(like: FieldType, counts: dict[str, int]) -> FieldType:
    orders = [0] * (1 + max(int(_rank(kind)) for kind in counts))
    for kind, count in counts.items():
        orders[int(_rank(kind))] += count
    return like.like(orders, counts.get("0-", 0))


def field_products(a: str, b: str, mirrors: bool) -> list[tuple[str, str]]:
    """Kind and rule of every product of two kinds, the second of at least the first's order."""
    if b[0] == "0":
        return [("0" if a == b else "0-", "scalars")]
    if a == "0":
        return [(b, "scale")]
    if a == "0-":
        return [(b, "scale and turn")]
    m, n = int(a), int(b)
    if m == n:
        return [(str(2 * m), "product"), ("0", "inner"), ("0-" if mirrors else "0", "cross")]
    return [(str(m + n), "product"), (str(n - m), "conjugate product")]


def multiply(a: tuple[Tensor, ...], b: tuple[Tensor, ...], rule: str) -> tuple[Tensor, ...]:
    """Components of the product, of unit variance for independent factors of unit variance."""
    if rule == "scalars":
        return (a[0] * b[0],)
    if rule == "scale":
        return a[0] * b[0], a[0] * b[1]
    if rule == "scale and turn":
        return -a[0] * b[1], a[0] * b[0]
    half = 0.5**0.5
    if rule == "product":
        return half * (a[0] * b[0] - a[1] * b[1]), half * (a[0] * b[1] + a[1] * b[0])
    inner, cross = half * (a[0] * b[0] + a[1] * b[1]), half * (a[0] * b[1] - a[1] * b[0])
    return {"inner": (inner,), "cross": (cross,), "conjugate product": (inner, cross)}[rule]
