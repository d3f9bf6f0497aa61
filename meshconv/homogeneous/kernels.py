"""Kernels that equivariance allows: null spaces of the constraint on double cosets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.homogeneous.groups import TOLERANCE, Array, MatrixGroup
from meshconv.homogeneous.representations import (
    AnyRepresentation,
    Representation,
    as_matrix,
    check_orthogonal,
    field_representation,
    is_pair,
)

GAP = 1e4
"""Least ratio of the singular values on both sides of the rank."""


def kernel_basis(rho_out: AnyRepresentation, rho_in: AnyRepresentation, stabiliser: Any) -> Any:
    r"""Basis of the matrices k with :math:`\rho_{out}(h) \, k = k \, \rho_{in}(h)` for all h of a group.

    The last step of the theory of convolutions on homogeneous spaces: at the representative :math:`\gamma` of a double
    coset the group is the stabiliser of :math:`\gamma`, and ``rho_in`` is the twisted representation
    :math:`h \mapsto \rho_1(\gamma^{-1} h \gamma)`. :func:`double_coset_basis` does both.

    Parameters
    ----------
    rho_out, rho_in
        Functions from elements to orthogonal matrices; or a matrix for each generator, antisymmetric
        :math:`d\rho(X)` for those of the Lie algebra, orthogonal :math:`\rho(h)` for elements; or field types.
    stabiliser : MatrixGroup, str, pair or sequence
        A group or its name, ``"SO(2)"``, ``"O(2)"``, ``"C4"``, ``"D4"``; a pair (generators of the Lie algebra,
        elements) of sequences of matrices; or a sequence of elements, whatever the functions take: matrices or angles.
        In a sequence, an antisymmetric matrix is of the Lie algebra if it is not orthogonal, or one of its given
        matrices is not; a right angle is else an element.

    Returns
    -------
    float64 [n, dim_out, dim_in]
        Orthonormal: ``(basis[i] * basis[j]).sum()`` is 1 for i = j, else 0. A tensor if a representation gave tensors,
        else an array.

    Raises
    ------
    InputError
        A representation that is none, a group that is not compact, or singular values of the constraint without a gap
        of 1e4, so that the dimension is not certain.

    Notes
    -----
    The null space is that of all generators' constraints stacked, :math:`\rho_{out} \otimes 1 - 1 \otimes
    \rho_{in}^T`, by singular values in float64. ``tests/test_homogeneous_kernels.py`` has tables of dimensions.

    References
    ----------
    Cohen, Geiger, Weiler: A General Theory of Equivariant CNNs on Homogeneous Spaces, NeurIPS 2019, section 3.

    Examples
    --------
    >>> kernel_basis("1x1", "1x1", "SO(2)").shape  # multiples of the identity and of the right angle
    (2, 2, 2)
    >>> kernel_basis("1x1", "1x1", MatrixGroup.trivial()).shape
    (4, 2, 2)
    """
    if isinstance(stabiliser, str):
        stabiliser = MatrixGroup.named(stabiliser)
    elif is_pair(stabiliser):
        stabiliser = MatrixGroup(*stabiliser)
    if isinstance(stabiliser, MatrixGroup):
        left, right = (_of_group(r, stabiliser, n) for r, n in ((rho_out, "rho_out"), (rho_in, "rho_in")))
    else:
        stabiliser = list(stabiliser)
        given = [r for r in (rho_out, rho_in) if not callable(r) and not isinstance(r, FieldType | str)]
        algebra = [_is_algebra(e, [r[k] for r in given if k < len(r)]) for k, e in enumerate(stabiliser)]
        left, right = (_of_elements(r, stabiliser, algebra, n) for r, n in ((rho_out, "rho_out"), (rho_in, "rho_in")))
    basis = null_space(left, right)
    tensors = any(_gives_tensors(r, stabiliser) for r in (rho_out, rho_in))
    return torch.from_numpy(basis) if tensors else basis


def null_space(left: Sequence[Array], right: Sequence[Array]) -> Array:
    """Orthonormal basis ``[n, dim_out, dim_in]`` of the matrices k with ``left[i] @ k == k @ right[i]`` for all i."""
    rows, columns = len(left[0]), len(right[0])
    parts = [np.kron(a, np.eye(columns)) - np.kron(np.eye(rows), b.T) for a, b in zip(left, right, strict=True)]
    _, values, basis = np.linalg.svd(np.concatenate(parts), full_matrices=False)
    # The scale of the matrices before the first value, and rounding after the last, make all and none findable.
    scale = max(1.0, *(np.abs(m).max() for m in (*left, *right)))
    floor = 1e-15 * scale * rows * columns
    steps = np.concatenate([[scale], np.clip(values, floor, scale), [floor]])
    ratios = steps[:-1] / steps[1:]
    rank = int(ratios.argmax())
    if ratios[rank] < GAP:
        raise InputError(
            f"singular values of the kernel constraint have no gap of {GAP:.0e}, the largest is {ratios[rank]:.1e}: "
            "the dimension is not certain; give exact matrices, or generators farther from the identity"
        )
    return np.ascontiguousarray(basis[rank:]).reshape(-1, rows, columns)


def stabiliser(representative: Array, out_group: MatrixGroup, in_group: MatrixGroup) -> MatrixGroup:
    r"""The elements h of H2 with :math:`h \gamma H_1 = \gamma H_1`, that is :math:`H_2 \cap \gamma H_1 \gamma^{-1}`.

    Parameters
    ----------
    representative : float64 [n, n]
        An element :math:`\gamma` of the large group, SO(3), SE(2) or E(2).
    out_group, in_group : MatrixGroup
        H2 and H1, of matrices of the same size.

    Examples
    --------
    >>> from meshconv.homogeneous import translation
    >>> stabiliser(translation(1.5), MatrixGroup.o2(), MatrixGroup.o2()).order  # the reflection across the x axis
    2
    """
    gamma = as_matrix(representative, "the representative")
    if not len(gamma) == out_group.size == in_group.size:
        raise InputError(f"matrices of sizes {len(gamma)}, {out_group.size}, {in_group.size}; one group has one size")
    if np.linalg.cond(gamma) > 1 / TOLERANCE:
        raise InputError(f"the representative {gamma.tolist()} has no inverse; give an element of the group")

    def stays(h: Array) -> bool:
        return in_group.locate(np.linalg.solve(gamma, h @ gamma)) is not None

    shared = [x for x in out_group.algebra if stays(out_group.exponential(1.0)) and stays(out_group.exponential(2.0))]
    if shared or not out_group.algebra:
        return MatrixGroup(shared, [np.eye(len(gamma)), *(c for c in out_group.components[1:] if stays(c))])
    found = [np.eye(len(gamma))]
    for component in out_group.components:
        for target in in_group.components:
            for angle in _meeting_angles(gamma, component, target, out_group, in_group):
                h = component @ out_group.exponential(angle)
                if stays(h) and not any(np.allclose(h, f, atol=TOLERANCE) for f in found):
                    found.append(h)
    return MatrixGroup([], found)


def _meeting_angles(
    gamma: Array, component: Array, target: Array, out_group: MatrixGroup, in_group: MatrixGroup
) -> list[float]:
    """Candidates t for which ``component exp(t X2) gamma`` is in ``gamma target exp(R X1)``.

    Both sides are linear in cosine and sine of their angles; those of the right are projected out.
    """
    x = out_group.algebra[0]
    back = np.linalg.inv(gamma @ target)
    constant, sine, cosine = (back @ component @ m @ gamma for m in (np.eye(len(x)) + x @ x, x, -x @ x))
    rest = constant - np.eye(len(x))
    if in_group.algebra:
        y = in_group.algebra[0]
        rest = rest - y @ y
        span, _ = np.linalg.qr(np.stack([y.ravel(), (y @ y).ravel()], axis=1))
        project = np.eye(x.size) - span @ span.T
    else:
        project = np.eye(x.size)
    matrix = project @ np.stack([cosine.ravel(), sine.ravel()], axis=1)
    _, values, directions = np.linalg.svd(matrix, full_matrices=False)
    point = -np.linalg.lstsq(matrix, project @ rest.ravel(), rcond=1e-9)[0]
    if values[1] > 1e-9 * max(1.0, values[0]):
        return [math.atan2(point[1], point[0])]
    # A line of solutions: where it meets the circle.
    inside = 1 - point @ point
    if inside < -TOLERANCE:
        return []
    ends = [point + s * math.sqrt(max(inside, 0)) * directions[1] for s in (-1, 1)]
    return [math.atan2(e[1], e[0]) for e in ends]


def double_coset_basis(
    rho_out: AnyRepresentation,
    rho_in: AnyRepresentation,
    representative: Array,
    out_group: MatrixGroup,
    in_group: MatrixGroup,
) -> Array:
    r"""Basis of the values at :math:`\gamma` of the kernels of equivariant maps, fields on G/H1 to fields on G/H2.

    .. math:: \rho_2(h) \, k(\gamma) = k(\gamma) \, \rho_1(\gamma^{-1} h \gamma), \qquad
        h \in H_2 \cap \gamma H_1 \gamma^{-1}

    On the rest of the double coset :math:`k(h_2 \gamma h_1) = \rho_2(h_2) \, k(\gamma) \, \rho_1(h_1)`.

    Parameters
    ----------
    rho_out, rho_in
        Representations of ``out_group`` and ``in_group``, as in :func:`kernel_basis`.
    representative : float64 [n, n]
        :math:`\gamma`. For SO(3)/SO(2), :func:`~meshconv.homogeneous.tilt` of a colatitude; for SE(2)/SO(2), a
        :func:`~meshconv.homogeneous.translation`. For C_n the double cosets are a continuum of radii and angles.
    out_group, in_group : MatrixGroup
        H2 and H1.

    Returns
    -------
    float64 [n, dim_out, dim_in]
        Orthonormal.

    Examples
    --------
    >>> from meshconv.homogeneous import tilt
    >>> so2 = MatrixGroup.so2()
    >>> [len(double_coset_basis("1x2", "1x1", tilt(b), so2, so2)) for b in (0, 1, np.pi)]  # poles and in between
    [0, 4, 0]
    """
    group = stabiliser(representative, out_group, in_group)
    left = Representation(rho_out, out_group, "rho_out")
    right = Representation(rho_in, in_group, "rho_in")
    return kernel_basis(left, lambda h: right(np.linalg.solve(representative, h @ representative)), group)


def _of_group(rho: AnyRepresentation, group: MatrixGroup, name: str) -> list[Array]:
    """Matrices of a group's generators."""
    if isinstance(rho, Representation) and rho.group is group:
        return rho.matrices
    return Representation(rho, group, name).matrices


def _of_elements(rho: AnyRepresentation, elements: list[Any], algebra: list[bool], name: str) -> list[Array]:
    """Matrices of elements that are given as a sequence."""
    if not elements:
        raise InputError("the stabiliser has no generators; give the identity, or MatrixGroup.trivial()")
    if isinstance(rho, FieldType | str):
        rho = field_representation(FieldType(rho))
    if not callable(rho):
        if len(rho) != len(elements):
            raise InputError(f"{name} has {len(rho)} matrices for {len(elements)} generators; give one each")
        found = [as_matrix(m, f"{name} of a generator") for m in rho]
        for element, matrix, derived in zip(elements, found, algebra, strict=True):
            if derived:
                Representation([matrix], MatrixGroup([element]), name)  # whole orders
    else:
        groups = [MatrixGroup([e]) if a else None for e, a in zip(elements, algebra, strict=True)]
        found = [
            as_matrix(rho(e), f"{name} of a generator") if g is None else Representation(rho, g, name).matrices[0]
            for e, g in zip(elements, groups, strict=True)
        ]
        _check_products(rho, [e for e, a in zip(elements, algebra, strict=True) if not a], name)
    for k, matrix in enumerate(found):
        check_orthogonal(matrix, f"{name} of generator {k}", algebra[k])
    return found


def _check_products(rho: Any, elements: list[Any], name: str) -> None:
    """Raise unless a function of angles, or of matrices, is a homomorphism on the pairs of these elements."""
    angles = [e for e in elements if np.ndim(e) == 0 and not isinstance(e, str)]
    if angles and len(angles) == len(elements):
        full = as_matrix(rho(angles[0] + 2 * math.pi), name) - as_matrix(rho(angles[0]), name)
        if np.abs(full).max() > 1e-6:
            raise InputError(f"{name}(2 pi) is not 1, off by {np.abs(full).max():.1e}; orders are whole numbers")
        pairs = [(rho(a), rho(b), rho(a + b)) for a in angles for b in angles]
    elif all(np.ndim(e) == 2 for e in elements):
        pairs = [(rho(a), rho(b), rho(a @ b)) for a in elements[:8] for b in elements[:8]]
    else:
        return
    for a, b, ab in pairs:
        off = np.abs(as_matrix(a, name) @ as_matrix(b, name) - as_matrix(ab, name)).max()
        if off > 1e-6:
            raise InputError(
                f"{name} is no homomorphism: {name}(g h) and {name}(g) {name}(h) differ by {off:.1e}; give matrices "
                "that multiply as the elements do"
            )


def _is_algebra(element: Any, images: list[Any]) -> bool:
    """Whether a matrix is antisymmetric, and it or an image that is given is not orthogonal."""
    if np.ndim(element) != 2 or len(element) == 1:
        return False
    matrices = [as_matrix(m, "a generator") for m in (element, *images)]
    turned = all(np.allclose(m, -m.T, atol=TOLERANCE) for m in matrices)
    return turned and any(not np.allclose(m @ m.T, np.eye(len(m)), atol=TOLERANCE) for m in matrices)


def _gives_tensors(rho: Any, group: Any) -> bool:
    """Whether a representation is of tensors."""
    sample = np.eye(group.size) if isinstance(group, MatrixGroup) else group[0]
    found = [rho(sample)] if callable(rho) else rho
    return isinstance(rho, torch.Tensor) or any(isinstance(m, torch.Tensor) for m in found)
