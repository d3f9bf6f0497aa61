"""Field types: which irreducible representations of SO(2) the features of a point carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

_TERM = re.compile(r"^(\d+)x(\d+)$")


class FieldType:
    r"""Direct sum of irreducible representations of SO(2), as a value.

    A field of *order* ``m`` is what turns ``m`` times when the frame turns once: scalars (0), tangent
    vectors (1), traceless symmetric tensors (2). Under the rotation by an angle :math:`a`

    .. math:: \rho(a) = \bigoplus_m \begin{pmatrix}\cos ma & -\sin ma\\ \sin ma & \cos ma\end{pmatrix}^{\oplus c_m}

    Features of the type are arrays ``[..., dim]``: order by order, inside an order all cosine components and
    then all sine components, channels innermost. That keeps the channels of a component contiguous.

    Parameters
    ----------
    text
        ``"16x0 + 8x1"``: multiplicity x order, orders strictly ascending; the empty type is not allowed.

    Raises
    ------
    ValueError
        If the text does not parse, orders do not ascend, or every multiplicity is zero.

    Examples
    --------
    >>> t = FieldType("16x0 + 8x1")
    >>> t.dim, t.num_fields, t.multiplicities
    (32, 24, (16, 8))
    >>> t + FieldType("4x1 + 2x2")
    FieldType('16x0 + 12x1 + 2x2')
    """

    __slots__ = ("multiplicities",)

    multiplicities: tuple[int, ...]

    def __init__(self, text: str | FieldType):
        if isinstance(text, FieldType):
            object.__setattr__(self, "multiplicities", text.multiplicities)
            return
        counts: list[int] = []
        for term in str(text).split("+"):
            match = _TERM.match(term.strip())
            if match is None:
                raise ValueError(
                    f"field type {text!r}: cannot read {term.strip()!r}; write multiplicity x order, "
                    f"for example '16x0 + 8x1'"
                )
            multiplicity, order = int(match[1]), int(match[2])
            if order < len(counts):
                raise ValueError(f"field type {text!r}: orders have to ascend, {order} comes too late")
            counts += [0] * (order - len(counts)) + [multiplicity]
        object.__setattr__(self, "multiplicities", _strip(counts, text))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"FieldType is immutable, {name} cannot be set")

    @classmethod
    def from_multiplicities(cls, multiplicities: Iterable[int]) -> FieldType:
        """Type with ``multiplicities[m]`` fields of order ``m``."""
        counts = [int(c) for c in multiplicities]
        if any(c < 0 for c in counts):
            raise ValueError(f"multiplicities {counts} must not be negative")
        new = cls.__new__(cls)
        object.__setattr__(new, "multiplicities", _strip(counts, counts))
        return new

    @classmethod
    def uniform(cls, channels: int, max_order: int) -> FieldType:
        """Type with ``channels`` fields of each order from 0 to ``max_order``."""
        return cls.from_multiplicities([channels] * (max_order + 1))

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders that occur, ascending."""
        return tuple(m for m, c in enumerate(self.multiplicities) if c)

    @property
    def max_order(self) -> int:
        return len(self.multiplicities) - 1

    @property
    def dim(self) -> int:
        """Length of the feature vector: one component per scalar, two per field of higher order."""
        return sum(c if m == 0 else 2 * c for m, c in enumerate(self.multiplicities))

    @property
    def num_fields(self) -> int:
        return sum(self.multiplicities)

    def slice(self, order: int) -> slice:
        """Part of the last axis that holds the fields of ``order`` (empty if there are none)."""
        if order < 0:
            raise ValueError(f"orders are not negative, got {order}")
        if order > self.max_order:
            return slice(self.dim, self.dim)
        start = sum(c if m == 0 else 2 * c for m, c in enumerate(self.multiplicities[:order]))
        width = self.multiplicities[order] * (1 if order == 0 else 2)
        return slice(start, start + width)

    def split(self, x: Tensor) -> dict[int, Tensor]:
        """Blocks of the last axis by order, for the orders that occur.

        One split, not a slice per order: the gradient is then one concatenation instead of a padded sum of zeros.
        """
        self.check(x)
        widths = [self.multiplicities[m] * (1 if m == 0 else 2) for m in self.orders]
        return dict(zip(self.orders, x.split(widths, dim=-1), strict=True))

    def rotate(self, x: Tensor, angle: Tensor) -> Tensor:
        r"""Apply :math:`\rho(angle)`: turn components of order ``m`` counter-clockwise by ``m * angle``.

        Parameters
        ----------
        x : Tensor [..., dim]
        angle : Tensor
            Radians, broadcast against ``x.shape[:-1]``.

        Returns
        -------
        Tensor [..., dim]
            Norms of all fields are preserved.
        """
        parts = []
        for m, block in self.split(x).items():
            if m == 0:
                parts.append(block)
                continue
            c, s = block.chunk(2, dim=-1)
            cos, sin = torch.cos(m * angle)[..., None], torch.sin(m * angle)[..., None]
            parts += [cos * c - sin * s, sin * c + cos * s]
        return torch.cat([p.expand(*parts[-1].shape[:-1], -1) for p in parts], dim=-1)

    def norms(self, x: Tensor) -> Tensor:
        """Length of every field, ``[..., num_fields]``: absolute value at order 0, modulus above.

        The gradient at a field that is exactly zero is zero.
        """
        return torch.cat([b.abs() if m == 0 else _modulus(b) for m, b in self.split(x).items()], dim=-1)

    def invariants(self, x: Tensor) -> Tensor:
        """What a change of gauge leaves alone, ``[..., num_fields]``: scalars, and lengths of the other fields."""
        return torch.cat([b if m == 0 else _modulus(b) for m, b in self.split(x).items()], dim=-1)

    def scale_fields(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiply every field by its own ``factor`` ``[..., num_fields]`` (both components alike)."""
        self.check(x)
        return x * self.per_component(factor)

    def per_component(self, values: Tensor) -> Tensor:
        """Repeat one value per field, ``[..., num_fields]``, to one per component, ``[..., dim]``."""
        parts, start = [], 0
        for m in self.orders:
            part = values[..., start : start + self.multiplicities[m]]
            parts += [part] if m == 0 else [part, part]
            start += self.multiplicities[m]
        return torch.cat(parts, dim=-1)

    def check(self, x: Tensor, what: str = "features") -> None:
        """Raise ``ValueError`` unless the last axis of ``x`` has the type's length."""
        if x.dim() < 1 or x.shape[-1] != self.dim:
            raise ValueError(f"{what} of type {self} need a last axis of {self.dim}, got {tuple(x.shape)}")

    def __add__(self, other: FieldType) -> FieldType:
        """Direct sum; fields of equal order are put side by side."""
        a, b = self.multiplicities, other.multiplicities
        n = max(len(a), len(b))
        pad_a, pad_b = a + (0,) * (n - len(a)), b + (0,) * (n - len(b))
        return FieldType.from_multiplicities(p + q for p, q in zip(pad_a, pad_b, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldType) and self.multiplicities == other.multiplicities

    def __hash__(self) -> int:
        return hash(self.multiplicities)

    def __reduce__(self) -> tuple:
        return (FieldType, (str(self),))

    def __str__(self) -> str:
        return " + ".join(f"{c}x{m}" for m, c in enumerate(self.multiplicities) if c)

    def __repr__(self) -> str:
        return f"FieldType({str(self)!r})"


def concatenate_fields(types: Iterable[FieldType], xs: Iterable[Tensor]) -> Tensor:
    """Features of the direct sum of ``types``: channels of equal order and component side by side."""
    pairs = [(FieldType(t), x) for t, x in zip(types, xs, strict=True)]
    parts = []
    for m in range(max(t.max_order for t, _ in pairs) + 1):
        blocks = [x[..., t.slice(m)] for t, x in pairs if m in t.orders]
        if m == 0:
            parts += blocks
        else:
            halves = [b.chunk(2, dim=-1) for b in blocks]
            parts += [h[0] for h in halves] + [h[1] for h in halves]
    return torch.cat(parts, dim=-1)


def _modulus(block: Tensor) -> Tensor:
    c, s = block.chunk(2, dim=-1)
    square = c * c + s * s
    # sqrt has an infinite slope at 0, and inf * 0 is NaN in the backward pass.
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def _strip(counts: list[int], text: object) -> tuple[int, ...]:
    while counts and counts[-1] == 0:
        counts = counts[:-1]
    if not counts:
        raise ValueError(f"field type {text!r} has no fields")
    return tuple(counts)
