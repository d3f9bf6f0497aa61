"""Orthogonal representations of compact groups: from functions, matrices of generators, or field types."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.linalg import expm, logm

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.homogeneous.groups import TOLERANCE, Array, MatrixGroup

AnyRepresentation = Callable[[Any], Any] | Sequence[Any] | FieldType | str

_STEP = 2.0**-8  # of the derivative: the angle of order 64 is below pi


def as_matrix(value: Any, what: str) -> Array:
    """A square matrix in float64; numbers are matrices of one entry."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    matrix = np.asarray(value, dtype=np.float64)
    matrix = matrix.reshape(1, 1) if matrix.size == 1 else matrix
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{what} has shape {matrix.shape}; a representation has square matrices")
    if not np.isfinite(matrix).all():
        raise InputError(f"{what} has entries that are not finite; give real orthogonal matrices")
    return matrix


def check_orthogonal(matrix: Array, what: str, algebra: bool = False) -> None:
    """Raise unless a matrix is orthogonal, or antisymmetric for an element of a Lie algebra."""
    error = matrix + matrix.T if algebra else matrix @ matrix.T - np.eye(len(matrix))
    if (off := float(np.abs(error).max())) > TOLERANCE * max(1, float(np.abs(matrix).max())):
        kind = "antisymmetric" if algebra else "orthogonal"
        raise InputError(f"{what} is not {kind}, by {off:.1e}; choose an orthonormal basis of the representation")


class Representation:
    r"""Orthogonal representation of a :class:`~meshconv.homogeneous.MatrixGroup`.

    .. math:: \rho(c_k e^{tX}) = \rho(c_k) \, e^{t \, d\rho(X)}

    Parameters
    ----------
    rho
        A function from elements of the group to matrices; or a matrix for each of ``group.generators``,
        :math:`d\rho(X)` for the Lie algebra and :math:`\rho(h)` for elements; or a :class:`~meshconv.FieldType`.
    group
    name
        For error messages.

    Raises
    ------
    InputError
        It is not orthogonal, not a homomorphism, or :math:`\rho(2\pi) \neq 1` (half-integer orders).

    Examples
    --------
    >>> rho = Representation([np.array([[0.0, -2.0], [2.0, 0.0]])], MatrixGroup.so2())  # order 2
    >>> np.allclose(rho(MatrixGroup.so2().exponential(np.pi / 4)), [[0, -1], [1, 0]])
    True
    """

    def __init__(self, rho: AnyRepresentation | Representation, group: MatrixGroup, name: str = "rho"):
        self.group, self.name = group, name
        if isinstance(rho, Representation):
            rho = rho.__call__
        matrices = generator_matrices(rho, group, name)
        self.dim = len(matrices[0])
        self.matrices = matrices
        self._algebra = matrices[: len(group.algebra)]
        self._check_period()
        self._components = group.images(matrices[len(group.algebra) :], self.dim)
        self._check_homomorphism(rho)

    def __call__(self, element: Array) -> Array:
        """Matrix ``[dim, dim]`` of an element of the group."""
        place = self.group.locate(np.asarray(element, dtype=np.float64))
        if place is None:
            raise InputError(f"{np.asarray(element).tolist()} is no element of the group of {self.name}")
        component, angle = place
        return self._components[component] @ expm(sum((angle * x for x in self._algebra), np.zeros((self.dim,) * 2)))

    def _check_period(self) -> None:
        for x in self._algebra:
            orders = np.abs(np.linalg.eigvals(x).imag)
            worst = orders[np.abs(orders - np.round(orders)).argmax()]
            if abs(worst - round(worst)) > 1e-6:
                raise InputError(
                    f"{self.name} has order {worst:.6g}, so {self.name}(2 pi) is not 1; orders are whole numbers, "
                    "half-integer ones belong to the double cover"
                )

    def _check_homomorphism(self, rho: Any) -> None:
        known = self._components
        for k, component in enumerate(self.group.components):
            for element, image in zip(self.group.elements, self.matrices[len(self._algebra) :], strict=True):
                off = np.abs(self(component @ element) - known[k] @ image).max()
                self._refuse(off)
        samples = [c @ self.group.exponential(0.7 + k) for k, c in enumerate(self.group.components[:8])]
        if callable(rho):
            for sample in samples:
                self._refuse(np.abs(as_matrix(rho(sample), self.name) - self(sample)).max())
        for x, image in zip(self.group.algebra, self._algebra, strict=True):
            for element, matrix in zip(self.group.elements, self.matrices[len(self._algebra) :], strict=True):
                sign = 1 if np.allclose(element @ x, x @ element, atol=TOLERANCE) else -1
                self._refuse(np.abs(matrix @ image - sign * image @ matrix).max())

    def _refuse(self, off: float) -> None:
        if off > 1e-6:
            raise InputError(
                f"{self.name} is no homomorphism: {self.name}(g h) and {self.name}(g) {self.name}(h) differ by "
                f"{off:.1e}; give matrices that multiply as the elements do"
            )


def generator_matrices(rho: AnyRepresentation, group: MatrixGroup, name: str) -> list[Array]:
    """Matrices of ``group.generators``, checked each for itself."""
    count = len(group.algebra)
    if isinstance(rho, FieldType | str):
        rho = field_representation(FieldType(rho))
    if callable(rho):
        found = [_derivative(rho, group, name) for _ in group.algebra]
        found += [as_matrix(rho(h), f"{name} of a generator") for h in group.elements]
    else:
        given = [*rho[0], *rho[1]] if is_pair(rho) else list(rho)
        if len(given) != len(group.generators):
            raise InputError(f"{name} has {len(given)} matrices for {len(group.generators)} generators; give one each")
        found = [as_matrix(m, f"{name} of a generator") for m in given]
    if len({m.shape for m in found}) != 1:
        raise InputError(f"{name} has matrices of shapes {[m.shape for m in found]}; they act on one space")
    for k, matrix in enumerate(found):
        check_orthogonal(matrix, f"{name} of generator {k}", algebra=k < count)
    return found


def is_pair(value: Any) -> bool:
    """Whether this is (matrices of the Lie algebra, matrices of elements), not a sequence of two matrices."""
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    return all(not len(part) or np.ndim(part[0]) == 2 for part in value if hasattr(part, "__len__")) and all(
        hasattr(part, "__len__") for part in value
    )


def field_representation(field_type: FieldType) -> Callable[[Any], Array]:
    """The representation of a field type on rotations and reflections of the plane, ``[2, 2]`` or larger matrices."""

    def rho(element: Any) -> Array:
        h = np.asarray(element, dtype=np.float64)
        if h.ndim == 0:
            h = np.array([[math.cos(h), -math.sin(h)], [math.sin(h), math.cos(h)]])
        mirrored = bool(np.linalg.det(h[:2, :2]) < 0)
        if mirrored and field_type.group != "O(2)" and field_type.num_fields != field_type.scalars:
            raise InputError(f"field type {field_type} has no reflections; write 'O(2): ...'")
        angle = torch.tensor(math.atan2(h[1, 0], h[0, 0]), dtype=torch.float64)
        return field_type.representation(angle, mirrored).numpy()

    return rho


def regular_representation(group: MatrixGroup) -> Representation:
    """The permutations of a finite group's elements by multiplication from the left, ``[order, order]`` matrices."""
    return quotient_representation(group, MatrixGroup([], [np.eye(group.size)]))


def quotient_representation(group: MatrixGroup, subgroup: MatrixGroup) -> Representation:
    """The permutations of the cosets g K of a subgroup K of a finite group.

    Examples
    --------
    >>> quotient_representation(MatrixGroup.dihedral(4), MatrixGroup.cyclic(2)).dim
    4
    """
    if group.algebra or subgroup.algebra:
        raise InputError("permutations of cosets are of finite groups; use irreducible representations of SO(2), O(2)")
    outside = [e for e in subgroup.elements if group.locate(e) is None]
    if outside:
        raise InputError(f"{outside[0].tolist()} is in the subgroup and not in the group; give a subgroup of it")
    cosets: list[Array] = []

    def place(g: Array) -> int | None:
        return next((k for k, c in enumerate(cosets) if subgroup.locate(np.linalg.solve(c, g)) is not None), None)

    for component in group.components:
        if place(component) is None:
            cosets.append(component)

    def rho(element: Array) -> Array:
        matrix = np.zeros((len(cosets),) * 2)
        for k, c in enumerate(cosets):
            matrix[place(element @ c), k] = 1
        return matrix

    return Representation(rho, group)


def _derivative(rho: Callable[[Any], Any], group: MatrixGroup, name: str) -> Array:
    """:math:`d\\rho(X)` of a function on the group."""
    near = as_matrix(rho(group.exponential(_STEP)), f"{name} near the identity")
    check_orthogonal(near, f"{name} near the identity")
    if np.abs(near - np.eye(len(near))).max() > 0.5:
        raise InputError(f"{name} is not continuous at the identity, or has orders above 64; give a homomorphism")
    found = np.real(logm(near)) / _STEP
    return (found - found.T) / 2
