"""Field types: direct sums of irreducible representations of SO(2) or O(2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Group = Literal["SO(2)", "O(2)"]

MAX_ORDER = 64

_TERM = re.compile(r"^(\d+)x(\d+)(-?)$")
_GROUP = re.compile(r"^\s*(S?O\(2\))\s*:(.*)$", re.DOTALL)


class FieldType:
    r"""Direct sum of irreducible representations of SO(2) or O(2), as a value.

    The *order* of a field is its angular frequency ``m``, the number of its rotations per rotation of the frame:
    scalars (0), tangent vectors (1), traceless symmetric tensors (2). Under the rotation by an angle :math:`a`

    .. math:: \rho(a) = \bigoplus_m \begin{pmatrix}\cos ma & -\sin ma\\ \sin ma & \cos ma\end{pmatrix}^{\oplus c_m}

    O(2) has the reflection F: e2 -> -e2 as well, for non-orientable surfaces: it changes the sign of sine
    components, and of the *odd* scalars, written ``0-``.

    Features of the type are arrays ``[..., dim]``: sorted by order, within an order all cosine components and
    then all sine components, channels innermost and contiguous; odd scalars follow the even ones.

    Parameters
    ----------
    text
        ``"16x0 + 8x1"``: multiplicity x order, in any order of the terms; the empty type is not allowed. A type of
        O(2) is written ``"O(2): 8x0 + 8x1"``; ``"8x0 + 4x0- + 8x1"`` implies O(2).

    Raises
    ------
    ValueError
        If the text does not parse, an order exceeds 64, or every multiplicity is zero.

    Notes
    -----
    Types are compared by value, with text too: ``FieldType("8x1 + 16x0") == "16x0 + 8x1"``; the hash is that of
    ``str(type)``. Iteration gives the terms of that text as pairs (multiplicity, order), the order of odd scalars as
    ``"0-"``. ``a + b`` is the direct sum, ``a * b`` the tensor product, ``3 * a`` the direct sum of three copies.

    Examples
    --------
    >>> t = FieldType("8x1 + 16x0")
    >>> t, t.dim, t.num_fields, t.multiplicities
    (FieldType('16x0 + 8x1'), 32, 24, (16, 8))
    >>> list(t)
    [(16, 0), (8, 1)]
    >>> t + FieldType("4x1 + 2x2")
    FieldType('16x0 + 12x1 + 2x2')
    >>> FieldType("2x1") * FieldType("1x1 + 1x2")
    FieldType('4x0 + 2x1 + 2x2 + 2x3')
    >>> t.randn(10).shape
    torch.Size([10, 32])
    >>> FieldType("4x0 + 2x0- + 1x1").group
    'O(2)'
    """

    __slots__ = ("group", "multiplicities", "odd_scalars")

    group: Group
    multiplicities: tuple[int, ...]
    odd_scalars: int

    def __init__(self, text: str | FieldType):
        if isinstance(text, FieldType):
            self._set(text.multiplicities, text.odd_scalars, text.group)
            return
        named = _GROUP.match(str(text))
        counts: list[int] = []
        odd = 0
        for term in (named[2] if named else str(text)).split("+"):
            match = _TERM.match(term.strip())
            if match is None:
                raise ValueError(
                    f"field type {text!r}: cannot read {term.strip()!r}; write multiplicity x order, "
                    f"for example '16x0 + 8x1', or 'O(2): 8x0 + 4x0- + 8x1'"
                )
            multiplicity, order = int(match[1]), int(match[2])
            if order > MAX_ORDER:
                raise ValueError(f"field type {text!r}: order {order} is out of range, the highest is {MAX_ORDER}")
            if match[3] and order > 0:
                raise ValueError(f"field type {text!r}: only order 0 has odd fields")
            odd += multiplicity if match[3] else 0
            counts += [0] * (order + 1 - len(counts))
            counts[order] += multiplicity
        group = named[1] if named else "O(2)" if odd else "SO(2)"
        if odd and group == "SO(2)":
            raise ValueError(f"field type {text!r}: SO(2) has no reflections, so no odd fields; write 'O(2): ...'")
        self._set(_strip(counts, text), odd, group)  # type: ignore[arg-type]

    def _set(self, multiplicities: tuple[int, ...], odd_scalars: int, group: Group) -> None:
        object.__setattr__(self, "multiplicities", multiplicities)
        object.__setattr__(self, "odd_scalars", odd_scalars)
        object.__setattr__(self, "group", group)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"FieldType is immutable, {name} cannot be set")

    @classmethod
    def from_multiplicities(
        cls, multiplicities: Iterable[int], odd_scalars: int = 0, group: Group | None = None
    ) -> FieldType:
        """Type with ``multiplicities[m]`` fields of order ``m``; at order 0 the last ``odd_scalars`` are odd."""
        counts = [int(c) for c in multiplicities]
        group = group or ("O(2)" if odd_scalars else "SO(2)")
        if any(c < 0 for c in counts):
            raise ValueError(f"multiplicities {counts} must not be negative")
        if len(counts) > MAX_ORDER + 1:
            raise ValueError(f"order {len(counts) - 1} is out of range, the highest is {MAX_ORDER}")
        if not 0 <= odd_scalars <= (counts[0] if counts else 0):
            raise ValueError(f"{odd_scalars} odd scalars do not fit among {counts[:1]} scalars")
        if group not in ("SO(2)", "O(2)") or (odd_scalars and group == "SO(2)"):
            raise ValueError(f"group {group!r} with {odd_scalars} odd scalars; give 'SO(2)', or 'O(2)' with odd ones")
        new = cls.__new__(cls)
        new._set(_strip(counts, counts), odd_scalars, group)
        return new

    @classmethod
    def uniform(cls, channels: int, max_order: int) -> FieldType:
        """Type with ``channels`` fields of each order from 0 to ``max_order``."""
        return cls.from_multiplicities([channels] * (max_order + 1))

    def like(self, multiplicities: Iterable[int], odd_scalars: int = 0) -> FieldType:
        """A type of the same group with other multiplicities."""
        return FieldType.from_multiplicities(multiplicities, odd_scalars, self.group)

    @property
    def scalars(self) -> int:
        """Number of fields that nothing changes: order 0 without the odd ones."""
        return self.multiplicities[0] - self.odd_scalars

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

    def parity(self, like: Tensor) -> Tensor:
        """Sign of each component under the reflection e2 -> -e2, ``[dim]`` with dtype and device of ``like``."""
        signs = [1] * self.scalars + [-1] * self.odd_scalars
        for count in self.multiplicities[1:]:
            signs += [1] * count + [-1] * count
        return torch.tensor(signs, dtype=like.dtype, device=like.device)

    def reflect(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the reflection e2 -> -e2: odd scalars and sine components change sign.

        Parameters
        ----------
        x : Tensor [..., dim]
        mask : bool Tensor, optional
            Where to reflect, broadcast against ``x.shape[:-1]``; everywhere by default.
        """
        self.check(x)
        parity = self.parity(x)
        return x * (parity if mask is None else torch.where(mask[..., None], parity, torch.ones_like(parity)))

    def change_gauge(self, x: Tensor, alpha: Tensor, flip: Tensor | None = None) -> Tensor:
        """Components in frames turned by ``alpha`` and, where ``flip``, then reflected.

        Use with :meth:`GaugeGraph.change_gauge <meshconv.GaugeGraph.change_gauge>` of the same arguments.

        Parameters
        ----------
        x : Tensor [..., dim]
        alpha : Tensor
            Radians, broadcast against ``x.shape[:-1]``.
        flip : bool Tensor, optional
            Only for types of O(2), and for scalars, which it leaves alone.
        """
        turned = self.rotate(x, -alpha)
        if flip is None or self.num_fields == self.scalars:
            return turned
        if self.group != "O(2)":
            raise ValueError(f"fields of type {self} are of SO(2); reflections need a type of O(2)")
        return self.reflect(turned, flip)

    def representation(self, angle: Tensor, reflected: bool = False) -> Tensor:
        """Matrices ``[..., dim, dim]`` of rotations by ``angle`` ``[...]``, after the reflection if ``reflected``."""
        eye = torch.eye(self.dim, dtype=angle.dtype, device=angle.device)
        columns = self.reflect(eye) if reflected else eye
        return self.rotate(columns.expand(*angle.shape, -1, -1), angle[..., None]).mT

    def norms(self, x: Tensor) -> Tensor:
        """Length of every field, ``[..., num_fields]``: absolute value at order 0, modulus above.

        The gradient at a field that is exactly zero is zero.
        """
        return torch.cat([b.abs() if m == 0 else _modulus(b) for m, b in self.split(x).items()], dim=-1)

    def invariants(self, x: Tensor) -> Tensor:
        """Gauge invariants ``[..., num_fields]``: scalars, and norms of the other fields."""
        parts = []
        for m, block in self.split(x).items():
            if m == 0 and self.odd_scalars:
                parts += [block[..., : self.scalars], block[..., self.scalars :].abs()]
            else:
                parts.append(block if m == 0 else _modulus(block))
        return torch.cat(parts, dim=-1)

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

    def choose(self, copies: Sequence[int]) -> FieldType:
        """The type of some of the fields: ``copies`` are ascending numbers of fields, those of order 0 first.

        Examples
        --------
        >>> FieldType("3x0 + 2x1").choose([1, 3, 4])
        FieldType('1x0 + 2x1')
        """
        self._check_copies(copies)
        counts, first, odd = [], 0, 0
        for order, count in enumerate(self.multiplicities):
            counts.append(sum(first <= copy < first + count for copy in copies))
            if order == 0:
                odd = sum(self.scalars <= copy < count for copy in copies)
            first += count
        return self.like(counts, odd)

    def components(self, copies: Sequence[int]) -> Tensor:
        """Components of those fields, int64 ``[choose(copies).dim]``, in the order in which their type has them.

        Examples
        --------
        >>> FieldType("1x0 + 2x1").components([0, 2])
        tensor([0, 2, 4])
        """
        self._check_copies(copies)
        chosen = torch.zeros(self.num_fields, dtype=torch.bool)
        chosen[list(copies)] = True
        return self.per_component(chosen).nonzero()[:, 0]

    def _check_copies(self, copies: Sequence[int]) -> None:
        ascending = all(a < b for a, b in zip(copies, copies[1:], strict=False))
        if not ascending or (copies and not 0 <= copies[0] <= copies[-1] < self.num_fields):
            raise ValueError(f"copies {list(copies)} of {self} are not ascending numbers below {self.num_fields}")

    def check(self, x: Tensor, what: str = "features") -> None:
        """Raise ``ValueError`` unless the last axis of ``x`` has the type's length."""
        if x.dim() < 1 or x.shape[-1] != self.dim:
            raise ValueError(f"{what} of type {self} need a last axis of {self.dim}, got {tuple(x.shape)}")

    def check_group(self, other: FieldType) -> None:
        """Raise ``ValueError`` unless both are types of one group."""
        if self.group != other.group:
            raise ValueError(f"fields of different groups: {self} ({self.group}) and {other} ({other.group})")

    def __add__(self, other: FieldType | str) -> FieldType:
        """Direct sum; fields of equal order are put side by side."""
        other = FieldType(other)
        self.check_group(other)
        a, b = self.multiplicities, other.multiplicities
        n = max(len(a), len(b))
        pad_a, pad_b = a + (0,) * (n - len(a)), b + (0,) * (n - len(b))
        counts = (p + q for p, q in zip(pad_a, pad_b, strict=True))
        return self.like(counts, self.odd_scalars + other.odd_scalars)

    def __mul__(self, other: FieldType | str | int) -> FieldType:
        r"""Tensor product: the type of the products of all components of one with all of the other.

        Orders multiply as :math:`m \otimes n = |m - n| \oplus (m + n)`; of two equal ones above 0 the difference is an
        inner and a cross product: two scalars, the second odd for O(2). With a number: as many copies of the type.
        """
        if isinstance(other, int):
            return self.like([other * c for c in self.multiplicities], other * self.odd_scalars)
        if not isinstance(other, FieldType | str):
            return NotImplemented
        other = FieldType(other)
        self.check_group(other)
        counts, odd = [0] * (self.max_order + other.max_order + 1), 0
        for m, p in enumerate(self.multiplicities):
            for n, q in enumerate(other.multiplicities):
                counts[m + n] += p * q
                if m and n:
                    counts[abs(m - n)] += p * q * (2 if m == n else 1)
                    odd += p * q * (m == n and self.group == "O(2)")
        odd += self.scalars * other.odd_scalars + self.odd_scalars * other.scalars
        return self.like(counts, odd)

    def __rmul__(self, other: str | int) -> FieldType:
        return self * other

    def __iter__(self) -> Iterator[tuple[int, int | str]]:
        terms: list[tuple[int, int | str]] = [(self.scalars, 0), (self.odd_scalars, "0-")]
        terms += [(count, order) for order, count in enumerate(self.multiplicities) if order]
        return iter([term for term in terms if term[0]])

    def randn(self, *shape: int, generator: torch.Generator | None = None, **options: Any) -> Tensor:
        """Features ``[*shape, dim]`` of independent standard normal components.

        Parameters
        ----------
        shape
            Without the last axis, or, as for :func:`e3nn.o3.Irreps.randn`, with -1 for it.
        generator, options
            Of :func:`torch.randn`: ``dtype``, ``device``, ``requires_grad``.
        """
        leading = shape[:-1] if shape[-1:] == (-1,) else shape
        if any(n < 0 for n in leading):
            raise ValueError(f"shape {list(shape)}: sizes are not negative; fields lie along the last axis")
        return torch.randn(*leading, self.dim, generator=generator, **options)

    def _key(self) -> tuple:
        return self.multiplicities, self.odd_scalars, self.group

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            try:
                other = FieldType(other)
            except ValueError:
                return False
        return isinstance(other, FieldType) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple:
        return (FieldType, (str(self),))

    def __str__(self) -> str:
        text = " + ".join(f"{count}x{order}" for count, order in self)
        return text if self.group == "SO(2)" else f"O(2): {text}"

    def __repr__(self) -> str:
        return f"FieldType({str(self)!r})"


def concatenate_fields(types: Iterable[FieldType], xs: Iterable[Tensor]) -> Tensor:
    """Features of the direct sum of ``types``: channels of equal order and component side by side."""
    pairs = [(FieldType(t), x) for t, x in zip(types, xs, strict=True)]
    for t, x in pairs:
        t.check(x)
        t.check_group(pairs[0][0])
    parts = [x[..., : t.scalars] for t, x in pairs if t.scalars]
    parts += [x[..., t.scalars : t.multiplicities[0]] for t, x in pairs if t.odd_scalars]
    for m in range(1, max(t.max_order for t, _ in pairs) + 1):
        halves = [x[..., t.slice(m)].chunk(2, dim=-1) for t, x in pairs if m in t.orders]
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
