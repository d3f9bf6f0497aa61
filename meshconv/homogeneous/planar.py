"""Group convolutions of images: fields on SE(2)/H and E(2)/H for H = SO(2), O(2), C_n, D_n."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.homogeneous.groups import Array, MatrixGroup, rotation
from meshconv.homogeneous.kernels import kernel_basis
from meshconv.homogeneous.representations import Representation, quotient_representation, regular_representation

_TERM = re.compile(r"(\d+)x(regular|\d+-?|[CD]\d+)")


class PlanarType:
    r"""Type of the fields of an image under a group H of rotations and reflections.

    Terms are multiplicity x kind. Kinds are an order k, the irreducible representation of angular frequency k
    (``"0-"`` and, for even n, ``"k-"`` of k = n / 2: times the determinant); ``"regular"``: a value for each element of
    the group; and the name of a subgroup, ``"C2"`` or ``"D1"``: a value for each of its cosets.

    Parameters
    ----------
    group
        ``"SO(2)"``, ``"O(2)"``, ``"C8"``, ``"D4"``, ...
    text
        ``"2xregular + 4x0 + 2x1"``. Channels are term by term, field by field, component by component.

    Raises
    ------
    InputError
        A term that does not parse, or a representation that the group does not have.

    Examples
    --------
    >>> t = PlanarType("D4", "2xregular + 1x1")
    >>> t.dim, t.num_fields
    (18, 3)
    """

    def __init__(self, group: str, text: str):
        self.name, self.group, self.text = group, MatrixGroup.named(group), text
        self.terms: list[tuple[int, str]] = []
        for term in text.split("+"):
            match = _TERM.fullmatch(term.strip())
            if match is None or int(match[1]) < 1:
                raise InputError(
                    f"planar type {text!r}: cannot read {term.strip()!r}; write '2xregular + 4x0 + 2x1', or a subgroup"
                )
            self.terms.append((int(match[1]), match[2]))
        self.kinds = {kind: representation(group, kind) for _, kind in self.terms}

    @property
    def dim(self) -> int:
        """Number of channels."""
        return sum(count * self.kinds[kind].dim for count, kind in self.terms)

    @property
    def num_fields(self) -> int:
        return sum(count for count, _ in self.terms)

    def matrix(self, element: Array) -> Array:
        """Representation ``[dim, dim]`` of an element ``[3, 3]`` of the group."""
        blocks = [np.kron(np.eye(count), self.kinds[kind](element)) for count, kind in self.terms]
        found, at = np.zeros((self.dim, self.dim)), 0
        for block in blocks:
            found[at : at + len(block), at : at + len(block)] = block
            at += len(block)
        return found

    def transform(self, x: Tensor, quarter_turns: int = 0, mirrored: bool = False) -> Tensor:
        r"""The turned fields :math:`(hf)(p) = \rho(h) f(h^{-1} p)` of a square image ``[..., dim, n, n]``, exactly.

        h is a reflection of up and down, if ``mirrored``, and then counter-clockwise quarter turns.
        """
        element = rotation(quarter_turns * math.pi / 2) @ np.diag([1.0, -1.0 if mirrored else 1.0, 1.0])
        moved = torch.rot90(x.flip(-2) if mirrored else x, quarter_turns, (-2, -1))
        return torch.einsum("ij,...jyx->...iyx", torch.from_numpy(self.matrix(element)).to(x), moved)

    def invariants(self, x: Tensor) -> Tensor:
        """Norms of irreducible fields, highest values of others, ``[..., num_fields, H, W]`` of ``[..., dim, H, W]``.

        Trivial fields are as they are.
        """
        parts, at = [], 0
        for count, kind in self.terms:
            size = self.kinds[kind].dim
            block = x[..., at : at + count * size, :, :].unflatten(-3, (count, size))
            at += count * size
            if kind == "0":
                parts.append(block[..., 0, :, :])
            else:
                parts.append(block.amax(-3) if is_permutation(kind) else block.square().sum(-3).add(1e-12).sqrt())
        return torch.cat(parts, dim=-3)

    def __repr__(self) -> str:
        return f"PlanarType({self.name!r}, {self.text!r})"


def is_permutation(kind: str) -> bool:
    """Whether the group permutes the components, so that any pointwise function commutes with it."""
    return kind == "regular" or kind[0] in "CD"


def representation(name: str, kind: str) -> Representation:
    """Representation of a named group by kind (see :class:`PlanarType`)."""
    group = MatrixGroup.named(name)
    if kind == "regular":
        return regular_representation(group)
    if kind[0] in "CD":
        return quotient_representation(group, MatrixGroup.named(kind))
    order, odd = int(kind.rstrip("-")), kind.endswith("-")
    mirrors = name[0] in "DO"
    n = math.inf if group.algebra else int(re.sub(r"\D", "", name))
    single = order == 0 or 2 * order == n
    if 2 * order > n or (odd and not (single and mirrors)):
        raise InputError(f"{name} has no irreducible representation {kind!r}; orders go to half of the number of turns")

    def rho(element: Array) -> Array:
        angle = math.atan2(element[1, 0], element[0, 0])
        sign = round(float(np.linalg.det(element)))
        if single:
            return np.array([[round(math.cos(order * angle)) * (sign if odd else 1.0)]])
        c, s = math.cos(order * angle), math.sin(order * angle)
        return np.array([[c, -s * sign], [s, c * sign]])

    return Representation(rho, group, f"order {kind}")


def planar_basis(in_kind: Representation, out_kind: Representation, frequency: int) -> Array:
    r"""Angular parts of the kernels between two representations, ``[n, dim_out, 2 frequency + 1, dim_in]``.

    .. math:: K(x) = \sum_a Y_a(\theta) W_a, \qquad \rho_{out}(h) W = W (D(h) \otimes \rho_{in}(h))

    where D is the representation of H on the waves :math:`Y = (1, \cos\theta, \sin\theta, \cos 2\theta, \dots)` up to
    ``frequency``: so K(hx) = rho_out(h) K(x) rho_in(h)^-1. For SO(2) these are 1, 2 or 4 for a pair of orders.

    Examples
    --------
    >>> one, two = (representation("SO(2)", k) for k in "12")
    >>> len(planar_basis(one, two, 3)), len(planar_basis(one, two, 0))
    (4, 0)
    """
    waves = FieldType("O(2): " + " + ".join(f"1x{k}" for k in range(frequency + 1)))
    turns = Representation(waves, in_kind.group, "waves")

    def right(element: Array) -> Array:
        return np.kron(turns(element), in_kind(element))

    basis = kernel_basis(out_kind, right, in_kind.group)
    return basis.reshape(len(basis), out_kind.dim, turns.dim, in_kind.dim)


def ring_filters(size: int, frequency: int) -> list[tuple[int, Array]]:
    """Radial rings times waves on the pixels: for each ring its frequency limit and values ``[2 f + 1, size, size]``.

    Gaussian rings at whole radii; the waves of a ring end at twice its radius, which the pixels resolve.
    """
    offset = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(offset, -offset)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    centre = radius < 1e-9
    found = []
    for ring in range((size + 1) // 2):
        limit = min(2 * ring, frequency)
        profile = np.exp(-((radius - ring) ** 2) / (2 * 0.6**2))
        waves = [profile]
        for k in range(1, limit + 1):
            # At the centre there is no direction.
            waves += [np.where(centre, 0, profile * wave(k * angle)) for wave in (np.cos, np.sin)]
        found.append((limit, np.stack(waves)))
    return found


class GroupConv2d(nn.Module):
    r"""Convolution of images, equivariant under translations and a group of rotations and reflections.

    .. math:: f'(p) = \sum_q K(q - p) f(q), \qquad K(hx) = \rho_{out}(h) \, K(x) \, \rho_{in}(h)^{-1}

    Kernels are all that the constraint allows on Gaussian rings up to a frequency
    (:func:`~meshconv.homogeneous.kernel_basis` solves it), sampled on the pixels. Under the turns and reflections of
    the pixel grid that are in the group it is exact; under others, of smooth images, up to what sampling leaves.

    Parameters
    ----------
    in_type, out_type : PlanarType
        Of one group.
    size
        Pixels along a side of the filter, odd.
    frequency
        Highest angular frequency.
    bias
        Learnt constant where the group leaves one.

    Examples
    --------
    >>> image, hidden = PlanarType("C4", "1x0"), PlanarType("C4", "2xregular")
    >>> conv = GroupConv2d(image, hidden)
    >>> conv(torch.randn(1, 1, 9, 9)).shape, conv.expanded()
    (torch.Size([1, 8, 9, 9]), Conv2d(1, 8, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2)))
    """

    def __init__(self, in_type: PlanarType, out_type: PlanarType, size: int = 5, frequency: int = 3, bias: bool = True):
        super().__init__()
        if in_type.name != out_type.name:
            raise InputError(f"fields of different groups: {in_type} and {out_type}; a convolution has one")
        if size < 1 or size % 2 == 0 or frequency < 0:
            raise InputError(f"size {size} has to be odd and frequency {frequency} not negative")
        self.in_type, self.out_type, self.size = in_type, out_type, size
        rings = ring_filters(size, frequency)
        solved: dict[tuple[str, str], Tensor] = {}
        self.weights = nn.ParameterDict()
        fan_in = sum(count * in_type.kinds[kind].dim for count, kind in in_type.terms)
        for j, (many, out_kind) in enumerate(out_type.terms):
            for i, (few, in_kind) in enumerate(in_type.terms):
                key = (out_kind, in_kind)
                if key not in solved:
                    solved[key] = _sampled(in_type.kinds[in_kind], out_type.kinds[out_kind], rings)
                    self.register_buffer(_name(key), solved[key], persistent=False)
                basis = solved[key]
                if len(basis):
                    power = basis.square().sum() / (basis.shape[1] * basis.shape[2])
                    scale = (power * fan_in).rsqrt()
                    self.weights[f"{j}_{i}"] = nn.Parameter(scale * torch.randn(many, few, len(basis)))
        self._constants(bias)

    def _constants(self, bias: bool) -> None:
        trivial = Representation(lambda h: np.eye(1), self.out_type.group, "trivial")
        columns = torch.zeros(0, self.out_type.dim)
        at = 0
        for count, kind in self.out_type.terms:
            fixed = torch.from_numpy(kernel_basis(self.out_type.kinds[kind], trivial, self.out_type.group))[..., 0]
            for _ in range(count if bias else 0):
                new = torch.zeros(len(fixed), self.out_type.dim)
                new[:, at : at + fixed.shape[1]] = fixed
                columns = torch.cat([columns, new])
                at += fixed.shape[1]
        self.register_buffer("constants", columns, persistent=False)
        self.bias = nn.Parameter(torch.zeros(len(columns))) if len(columns) else None

    def filter(self) -> Tensor:
        """The filter of an ordinary convolution, ``[out_type.dim, in_type.dim, size, size]``."""
        rows = []
        for j, (many, out_kind) in enumerate(self.out_type.terms):
            row = []
            for i, (few, in_kind) in enumerate(self.in_type.terms):
                basis = getattr(self, _name((out_kind, in_kind)))
                if f"{j}_{i}" in self.weights:
                    block = torch.einsum("pqn,nabyx->paqbyx", self.weights[f"{j}_{i}"], basis)
                    row.append(block.flatten(2, 3).flatten(0, 1))
                else:
                    row.append(basis.new_zeros(many * basis.shape[1], few * basis.shape[2], self.size, self.size))
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows)

    def offset(self) -> Tensor | None:
        """The constant that is added, ``[out_type.dim]``."""
        constants: Tensor = self.constants  # type: ignore[assignment]
        return None if self.bias is None else self.bias @ constants

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_type.dim, H, W]`` to ``[N, out_type.dim, H, W]``, with zeros beyond the image."""
        if x.dim() != 4 or x.shape[1] != self.in_type.dim:
            raise InputError(f"images have shape {tuple(x.shape)}; give [N, {self.in_type.dim}, H, W]")
        return nn.functional.conv2d(x, self.filter(), self.offset(), padding=self.size // 2)

    def expanded(self) -> nn.Conv2d:
        """An ordinary convolution with the same filter, for inference."""
        filters, offset = self.filter().detach(), self.offset()
        out, into = filters.shape[:2]
        conv = nn.Conv2d(into, out, self.size, padding=self.size // 2, bias=offset is not None)
        conv = conv.to(filters)
        with torch.no_grad():
            conv.weight.copy_(filters)
            if offset is not None and conv.bias is not None:
                conv.bias.copy_(offset)
        return conv

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, size={self.size}"


def _name(key: tuple[str, str]) -> str:
    return "basis_" + "_".join(key).replace("-", "odd")


def _sampled(in_kind: Representation, out_kind: Representation, rings: list[tuple[int, Array]]) -> Tensor:
    """Kernels on the pixels ``[n, dim_out, dim_in, size, size]``, of all rings."""
    bases = {limit: planar_basis(in_kind, out_kind, limit) for limit in {limit for limit, _ in rings}}
    parts = []
    for limit, waves in rings:
        # The representation has all cosines before the sines of an order, one channel each: the order of the waves.
        parts.append(np.einsum("noai,ayx->noiyx", bases[limit], waves))
    return torch.from_numpy(np.concatenate(parts)).to(torch.get_default_dtype())
