"""The kernel solver: tables of dimensions, the constraint itself, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meshconv import FieldType, InputError
from meshconv.homogeneous import (
    MatrixGroup,
    Representation,
    double_coset_basis,
    kernel_basis,
    quotient_representation,
    regular_representation,
    rotation,
    stabiliser,
    tilt,
    translation,
)
from meshconv.nn.convolution.kernel import KernelSpace

SO2, O2 = MatrixGroup.so2(), MatrixGroup.o2()
J = np.array([[0.0, -1.0], [1.0, 0.0]])
IRREPS_O2 = ["O(2): 1x0", "1x0-", "O(2): 1x1", "O(2): 1x2"]


def plane(t: float) -> np.ndarray:
    return np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]])


def irrep(order: int):
    return lambda t: np.eye(1) if order == 0 else plane(order * t)


def angle(h: np.ndarray) -> float:
    return math.atan2(h[1, 0], h[0, 0])


@pytest.mark.parametrize("out", range(5))
@pytest.mark.parametrize("into", range(5))
def test_dimensions_on_the_sphere(out, into):
    """North pole, generic, south pole: the twist makes orders n and -n at the south pole, as many."""
    dims = [len(double_coset_basis(f"1x{out}", f"1x{into}", tilt(b), SO2, SO2)) for b in (0, 1.1, math.pi)]
    same = out == into
    expected = {0: (1, 1, 1)} if same and out == 0 else {}
    generic = (1 if out == 0 else 2) * (1 if into == 0 else 2)
    at_poles = (2 if out else 1) if same else 0
    assert dims == list(expected.get(out, (at_poles, generic, at_poles)))


@pytest.mark.parametrize(
    ("radius", "table"),
    [
        (1.5, [[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 2, 2], [1, 1, 2, 2]]),
        (0.0, np.eye(4, dtype=int).tolist()),
    ],
)
def test_dimensions_on_the_plane_with_mirrors(radius, table):
    gamma = translation(radius * math.cos(0.4), radius * math.sin(0.4))  # the mirror of the stabiliser is another
    found = [[len(double_coset_basis(a, b, gamma, O2, O2)) for b in IRREPS_O2] for a in IRREPS_O2]
    assert found == table


def test_dimensions_of_c4_at_the_origin_and_beyond():
    c4 = MatrixGroup.cyclic(4)
    irreps = [lambda h: np.eye(1), lambda h: plane(angle(h)), lambda h: np.eye(1) * round(math.cos(2 * angle(h)))]
    at_origin = [[len(double_coset_basis(a, b, np.eye(3), c4, c4)) for b in irreps] for a in irreps]
    assert at_origin == np.diag([1, 2, 1]).tolist()
    beyond = [[len(double_coset_basis(a, b, translation(0.3, 0.9), c4, c4)) for b in irreps] for a in irreps]
    assert beyond == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert [len(kernel_basis(a, a, "C4")) for a in irreps] == [1, 2, 1]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_regular_representations_have_one_kernel_for_each_element(n):
    """The commutant of the regular representation is the group algebra."""
    for group in (MatrixGroup.cyclic(n), MatrixGroup.dihedral(n)):
        rho = regular_representation(group)
        assert rho.dim == group.order == len(kernel_basis(rho, rho, group))
    quotient = quotient_representation(MatrixGroup.dihedral(n), MatrixGroup([], [np.diag([1.0, -1, 1])]))
    # Orbits of K on G / K: those of the mirror on n points, by Burnside.
    fixed = 1 if n % 2 else 2
    assert len(kernel_basis(quotient, quotient, quotient.group)) == (n + fixed) // 2


@pytest.mark.parametrize("orders", [(m, n) for m in range(5) for n in range(5)])
def test_closed_forms_of_the_gauge_convolution(orders):
    """In the frame of the edge: everything for SO(2), the half of equal parity for O(2)."""
    m, n = orders
    for group, prefix in ((SO2, ""), (O2, "O(2): ")):
        a, b = FieldType(f"{prefix}1x{m}"), FieldType(f"{prefix}1x{n}")
        basis = double_coset_basis(a, b, translation(0.7), group, group)
        dense = torch.eye(a.dim * b.dim).reshape(-1, b.dim, a.dim)
        closed = KernelSpace(b, a)(dense).mT.reshape(len(dense), -1).double().numpy()
        own = basis.reshape(len(basis), -1)
        assert np.linalg.matrix_rank(closed) == len(own)
        assert np.allclose(closed @ own.T @ own, closed, atol=1e-6)  # one space


def test_a_kernel_satisfies_the_constraint_with_the_twist():
    gamma, rng = tilt(math.pi), np.random.default_rng(0)
    basis = double_coset_basis("1x2", "1x2", gamma, SO2, SO2)
    for t in rng.uniform(0, 6, 5):
        assert np.allclose(plane(2 * t) @ basis, basis @ plane(-2 * t))
        assert not np.allclose(plane(2 * t) @ basis, basis @ plane(2 * t))
    assert np.allclose(np.einsum("aij,bij->ab", basis, basis), np.eye(2))


def test_conjugate_groups_have_conjugate_kernels():
    """The fields of a group that turns about another point."""
    shift, so2 = translation(2.0, -1.0), MatrixGroup.so2()
    moved = MatrixGroup([shift @ so2.algebra[0] @ np.linalg.inv(shift)])
    rho = Representation([3 * J], moved)
    group = stabiliser(np.linalg.inv(shift), so2, moved)  # about the origin it is the same group
    assert group.order == math.inf
    assert len(double_coset_basis("1x3", rho, np.linalg.inv(shift), so2, moved)) == 2
    assert stabiliser(np.eye(3), so2, moved).order == 1


def test_stabilisers():
    d4, c2 = MatrixGroup.dihedral(4), MatrixGroup.cyclic(2)
    assert stabiliser(np.eye(3), d4, c2).order == 2
    assert stabiliser(rotation(0.3), MatrixGroup.o2(), d4).order == 8  # turned mirrors of O(2)
    assert stabiliser(translation(1), SO2, SO2).order == 1
    assert stabiliser(tilt(0.5), SO2, MatrixGroup.cyclic(5)).order == 1  # SO(3)/C_n
    assert stabiliser(tilt(math.pi), SO2, MatrixGroup.cyclic(5)).order == 5


def test_all_ways_to_say_the_same():
    m, n = 2, 2
    ways = [
        kernel_basis("1x2", "1x2", "SO(2)"),
        kernel_basis(lambda h: plane(m * angle(h)), lambda h: plane(n * angle(h)), SO2),
        kernel_basis([m * J], [n * J], SO2),
        kernel_basis([m * J], [n * J], ([J], [])),
        kernel_basis([m * J], [n * J], [J]),
        kernel_basis(irrep(m), irrep(n), [0.7]),
        kernel_basis([plane(m * 0.7)], [plane(n * 0.7)], [plane(0.7)]),
        kernel_basis(lambda h: plane(m * angle(h)), lambda h: plane(n * angle(h)), [plane(0.7)]),
    ]
    projector = [np.einsum("nij,nkl->ijkl", w, w) for w in ways]
    assert all(np.allclose(p, projector[0], atol=1e-10) for p in projector)
    mirror = np.diag([1.0, -1.0])
    assert len(kernel_basis([J, mirror], [J, mirror], ([J], [mirror]))) == 1
    tensors = kernel_basis(lambda t: torch.from_numpy(plane(t)), lambda t: torch.from_numpy(plane(t)), [0.7])
    assert tensors.dtype == torch.float64 and tensors.shape == (2, 2, 2)


def bad(h: np.ndarray) -> np.ndarray:
    return plane(angle(h) ** 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernel_basis(bad, bad, MatrixGroup.cyclic(3)), "no homomorphism"),
        (lambda: kernel_basis(irrep(1), lambda t: plane(t * t), [0.7]), "no homomorphism|is not 1"),
        (lambda: kernel_basis([np.diag([1.0, 2.0])], [np.eye(2)], [plane(0.7)]), "not orthogonal"),
        (lambda: kernel_basis([J + np.eye(2)], [J], SO2), "not antisymmetric"),
        (lambda: kernel_basis([0.5 * J], [J], SO2), "order 0.5"),
        (lambda: kernel_basis([0.5 * J], [0.5 * J], [J]), "order 0.5"),
        (lambda: kernel_basis(lambda h: plane(angle(h) / 2), "1x1", SO2), "order 0.5"),
        (lambda: kernel_basis(irrep(1), lambda t: plane(t / 2), [0.7]), "is not 1"),
        (lambda: MatrixGroup([], [translation(1)]), "not compact"),
        (lambda: MatrixGroup([translation(1) - np.eye(3)]), "not compact"),
        (lambda: MatrixGroup([], [rotation(1.0)]), "not closed"),
        (lambda: MatrixGroup([2 * SO2.algebra[0]]), "divide it by its frequency"),
        (lambda: MatrixGroup.cyclic(0), "no order"),
        (lambda: MatrixGroup.named("SU(2)"), "not known"),
        (lambda: kernel_basis("1x1", "1x1", "O(2)"), "no reflections"),
        (lambda: kernel_basis([J], [J, J], SO2), "2 matrices for 1 generators"),
        (lambda: kernel_basis([J], [J], []), "no generators"),
        (lambda: double_coset_basis("1x1", "1x1", np.zeros((3, 3)), SO2, SO2), "no inverse"),
        (lambda: quotient_representation(MatrixGroup.cyclic(4), MatrixGroup.cyclic(3)), "not in the group"),
        (lambda: regular_representation(SO2), "finite groups"),
        (lambda: kernel_basis([np.full((2, 2), np.nan)], [J], SO2), "not finite"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_null_space_without_a_gap_is_refused():
    """A generator that is nearly, not quite, the identity in one direction, at every scale in between."""
    steps = [10.0**-k for k in range(1, 16, 2)]
    near = [np.kron(np.eye(1), plane(s)) for s in steps]
    big = np.zeros((16, 16))
    for k, matrix in enumerate(near):
        big[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = matrix
    with pytest.raises(InputError, match="no gap of 1e"):
        kernel_basis([big], [np.eye(1)], [plane(0.7)])
