"""Field types: text, layout, representation."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

from meshconv import FieldType
from meshconv.fields import concatenate_fields

TYPES = ["1x0", "3x0", "2x1", "16x0 + 8x1", "2x0 + 1x1 + 3x2", "1x3", "2x0 + 3x4", "1x0 + 1x8"]


def matrix(field_type: FieldType, angle: float) -> Tensor:
    """rho(angle) written out component by component."""
    rho = torch.zeros(field_type.dim, field_type.dim, dtype=torch.float64)
    start = 0
    for m, count in enumerate(field_type.multiplicities):
        for c in range(count):
            if m == 0:
                rho[start + c, start + c] = 1
                continue
            i, j = start + c, start + count + c
            a = torch.tensor(m * angle, dtype=torch.float64)
            rho[i, i], rho[i, j], rho[j, i], rho[j, j] = a.cos(), -a.sin(), a.sin(), a.cos()
        start += count if m == 0 else 2 * count
    return rho


@pytest.mark.parametrize(
    ("text", "multiplicities", "canonical"),
    [
        ("16x0 + 16x1 + 8x2", (16, 16, 8), "16x0 + 16x1 + 8x2"),
        ("16x0+16x1", (16, 16), "16x0 + 16x1"),
        ("  2x3 ", (0, 0, 0, 2), "2x3"),
        ("0x0 + 1x1", (0, 1), "1x1"),
        ("4x0 + 0x5", (4,), "4x0"),
        ("8x1 + 16x0", (16, 8), "16x0 + 8x1"),
        ("1x3 + 2x1 + 1x3 + 2x0", (2, 2, 0, 2), "2x0 + 2x1 + 2x3"),
    ],
)
def test_text(text, multiplicities, canonical):
    t = FieldType(text)
    assert t.multiplicities == multiplicities
    assert str(t) == canonical
    assert repr(t) == f"FieldType('{canonical}')"
    assert FieldType(str(t)) == t == FieldType(t) == FieldType.from_multiplicities(multiplicities)


@pytest.mark.parametrize(
    "text",
    ["", " ", "+", "16", "x1", "16x", "-1x0", "1x-1", "1.5x0", "1x0 +", "1x0 + + 1x1", "1x0, 1x1", "1X0", "16x1-",
     "SO(2): 1x0 + 1x0-", "U(1): 1x0", "O(2):", "1x65", "0x0", "0x3", "scalar", "1 x 0", "1x0\n2x1"],
)  # fmt: skip
def test_bad_text_is_shown(text):
    with pytest.raises(ValueError, match="field type") as error:
        FieldType(text)
    assert repr(text) in str(error.value)


def test_negative_or_no_multiplicities_are_errors():
    with pytest.raises(ValueError, match=r"\[2, -1\]"):
        FieldType.from_multiplicities([2, -1])
    with pytest.raises(ValueError, match="no fields"):
        FieldType.from_multiplicities([])


def test_numbers_of_a_type():
    t = FieldType("5x0 + 3x2")
    assert (t.dim, t.num_fields, t.max_order, t.orders) == (11, 8, 2, (0, 2))
    assert FieldType.uniform(4, 2) == FieldType("4x0 + 4x1 + 4x2")


@pytest.mark.parametrize("text", TYPES)
def test_slices_tile_the_last_axis(text):
    t = FieldType(text)
    x = torch.arange(t.dim)
    parts = [x[t.slice(m)] for m in range(t.max_order + 3)]
    assert torch.equal(torch.cat(parts), x)
    for m, part in enumerate(parts):
        count = t.multiplicities[m] if m <= t.max_order else 0
        assert len(part) == count * (1 if m == 0 else 2)


def test_immutable_and_hashable():
    t = FieldType("1x0 + 1x1")
    with pytest.raises(AttributeError, match="immutable"):
        t.multiplicities = (1,)
    assert {t: 1}[FieldType("1x0+1x1")] == 1
    assert t != FieldType("1x0")


def test_types_are_compared_with_text():
    t = FieldType("8x1 + 16x0")
    assert t == FieldType("16x0 + 8x1") == "16x0 + 8x1" and t == "8x1 + 16x0" and "16x0+8x1" == t  # noqa: SIM300
    assert t != "16x0" and t != "O(2): 16x0 + 8x1" and t != "no type" and t != (16, 8) and t != 16
    assert hash(t) == hash(FieldType("16x0 + 8x1")) == hash("16x0 + 8x1")
    assert {t: 1}["16x0 + 8x1"] == 1
    odd = FieldType("3x1 + 2x0- + 1x0")
    assert odd == "1x0 + 2x0- + 3x1" and hash(odd) == hash(FieldType("O(2): 1x0 + 2x0- + 3x1")) == hash(str(odd))


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("8x1 + 16x0", [(16, 0), (8, 1)]),
        ("2x4", [(2, 4)]),
        ("1x2 + 2x0- + 4x0", [(4, 0), (2, "0-"), (1, 2)]),
        ("O(2): 3x0-", [(3, "0-")]),
    ],
)
def test_iteration_gives_the_terms_of_the_text(text, terms):
    t = FieldType(text)
    assert list(t) == terms
    assert str(t).endswith(" + ".join(f"{c}x{m}" for c, m in t)) and sum(c for c, _ in t) == t.num_fields


PRODUCTS = [
    ("2x0", "3x0", "6x0"),
    ("2x0 + 1x1", "1x2", "1x1 + 2x2 + 1x3"),
    ("2x1", "1x1 + 1x2", "4x0 + 2x1 + 2x2 + 2x3"),
    ("1x0 + 2x0- + 1x1", "1x0- + 1x1 + 1x2", None),
    ("O(2): 1x1", "O(2): 1x1", "O(2): 1x0 + 1x0- + 1x2"),
]


@pytest.mark.parametrize(("a", "b", "product"), PRODUCTS)
def test_products_have_the_product_of_the_characters(a, b, product):
    a, b = FieldType(a), FieldType(b)
    both = a * b
    assert both.dim == a.dim * b.dim and both == b * a and (product is None or both == product)
    angles = torch.tensor([0.0, 0.3, 1.1, 2.9, -1.7], dtype=torch.float64)
    for reflected in [False, True] if a.group == "O(2)" else [False]:
        trace = [t.representation(angles, reflected).diagonal(dim1=-2, dim2=-1).sum(-1) for t in (both, a, b)]
        torch.testing.assert_close(trace[0], trace[1] * trace[2])


def test_multiples_of_a_type_and_groups_of_a_product():
    t = FieldType("2x0 + 1x0- + 1x2")
    assert 3 * t == t * 3 == t + t + t == "6x0 + 3x0- + 3x2"
    assert t * "O(2): 1x0" == t and "O(2): 1x1" * t == t * FieldType("O(2): 1x1")
    with pytest.raises(ValueError, match="different groups"):
        t * FieldType("1x0")
    with pytest.raises(ValueError, match="no fields"):
        0 * t
    with pytest.raises(ValueError, match="order 80 is out of range"):
        FieldType("1x40") * FieldType("1x40")
    with pytest.raises(TypeError):
        t * 1.5


def test_random_fields():
    t, seeds = FieldType("2x1 + 3x0"), [torch.Generator().manual_seed(1) for _ in range(2)]
    x = t.randn(4, 5000, generator=seeds[0], dtype=torch.float64)
    assert x.shape == (4, 5000, 7) and x.dtype == torch.float64 and t.randn().shape == (7,)
    assert torch.equal(x, t.randn(4, 5000, -1, generator=seeds[1], dtype=torch.float64))
    torch.testing.assert_close(x.flatten(0, 1).T.cov(), torch.eye(7, dtype=torch.float64), rtol=0, atol=0.06)
    assert t.randn(2, requires_grad=True).requires_grad
    with pytest.raises(ValueError, match=r"\[-1, 2\]"):
        t.randn(-1, 2)


@pytest.mark.parametrize("text", TYPES)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_are_equal(text, duplicate):
    t = FieldType(text)
    assert duplicate(t) == t and hash(duplicate(t)) == hash(t)


@pytest.mark.parametrize("text", TYPES)
def test_rotate_is_the_representation(text):
    t = FieldType(text)
    x = torch.randn(7, t.dim, dtype=torch.float64)
    a, b = torch.randn(2, 7, dtype=torch.float64)
    for row, angle, turned in zip(x, a, t.rotate(x, a), strict=True):
        torch.testing.assert_close(turned, matrix(t, float(angle)) @ row)
    torch.testing.assert_close(t.rotate(t.rotate(x, a), b), t.rotate(x, a + b))
    torch.testing.assert_close(t.rotate(t.rotate(x, a), -a), x)
    torch.testing.assert_close(t.rotate(x, a).norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(t.norms(t.rotate(x, a)), t.norms(x))


def test_order_one_turns_counter_clockwise():
    quarter = torch.tensor(torch.pi / 2)
    turned = FieldType("1x1").rotate(torch.tensor([1.0, 0.0]), quarter)
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0]))


def test_rotate_broadcasts():
    t = FieldType("2x0 + 1x1")
    x, a = torch.randn(3, 5, 4), torch.randn(5)
    assert torch.equal(t.rotate(x, a)[1], t.rotate(x[1], a))
    assert t.rotate(x[0], torch.randn(6, 5)).shape == (6, 5, 4)


def test_norms():
    x = torch.tensor([-2.0, 3.0, 5.0, 4.0, 12.0])
    assert torch.equal(FieldType("1x0 + 2x1").norms(x), torch.tensor([2.0, 5.0, 13.0]))


def test_norm_of_zero_has_a_finite_gradient():
    t = FieldType("1x0 + 2x1 + 1x2")
    x = torch.zeros(3, t.dim, requires_grad=True)
    t.norms(x).sum().backward()
    assert not x.grad.any()
    y = torch.tensor([0.0, 3.0, 0.0, 4.0, 0.0], requires_grad=True)
    FieldType("1x0 + 2x1").norms(y).sum().backward()
    torch.testing.assert_close(y.grad, torch.tensor([0.0, 0.6, 0.0, 0.8, 0.0]))


def test_factors_per_field():
    t = FieldType("2x0 + 2x1")
    factor = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert t.scale_fields(torch.ones(6), factor).tolist() == [1, 2, 3, 4, 3, 4]


@pytest.mark.parametrize("shape", [(), (4,), (3, 6)])
def test_features_of_another_length_are_an_error(shape):
    with pytest.raises(ValueError, match="2x0 \\+ 1x2") as error:
        FieldType("2x0 + 1x2").rotate(torch.zeros(shape).reshape(shape)[..., :3] if shape else torch.zeros(()),
                                      torch.zeros(()))  # fmt: skip
    assert "4" in str(error.value)


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [("1x0", "2x0", "3x0"), ("1x0", "2x1", "1x0 + 2x1"), ("1x1 + 1x3", "2x0 + 1x1", "2x0 + 2x1 + 1x3")],
)
def test_direct_sum(a, b, total):
    a, b = FieldType(a), FieldType(b)
    assert a + b == FieldType(total)
    assert (a + b).dim == a.dim + b.dim
    x, y = torch.randn(4, a.dim, dtype=torch.float64), torch.randn(4, b.dim, dtype=torch.float64)
    both, angle = concatenate_fields([a, b], [x, y]), torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(
        (a + b).rotate(both, angle), concatenate_fields([a, b], [a.rotate(x, angle), b.rotate(y, angle)])
    )
    # Norms of both come out side by side, order by order.
    for m in (a + b).orders:
        parts = [FieldType(f"{t.multiplicities[m]}x{m}").norms(f[..., t.slice(m)])
                 for t, f in ((a, x), (b, y)) if m in t.orders]  # fmt: skip
        here = FieldType(f"{(a + b).multiplicities[m]}x{m}").norms(both[..., (a + b).slice(m)])
        torch.testing.assert_close(here, torch.cat(parts, dim=-1))


O2_TYPES = ["O(2): 2x0", "2x0-", "3x0 + 2x0- + 2x1 + 1x3", "O(2): 2x1", "1x0- + 1x2"]


@pytest.mark.parametrize("text", O2_TYPES)
def test_representation_of_o2(text):
    """Rotations and reflections compose as the group does."""
    t = FieldType(text)
    assert t.group == "O(2)" and FieldType(str(t)) == t == pickle.loads(pickle.dumps(t))
    a, b = torch.tensor([0.7, -2.1], dtype=torch.float64)
    for first in (False, True):
        for second in (False, True):
            # R(a) F^s R(b) F^t = R(a +- b) F^(s + t)
            left = t.representation(a, first) @ t.representation(b, second)
            right = t.representation(a - b if first else a + b, first != second)
            torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    flip = t.representation(torch.zeros((), dtype=torch.float64), True)
    x = torch.randn(5, t.dim, dtype=torch.float64)
    torch.testing.assert_close(x @ flip.T, t.reflect(x))
    mask = torch.tensor([True, False, True, False, False])
    torch.testing.assert_close(t.reflect(x, mask), torch.where(mask[:, None], t.reflect(x), x))
    torch.testing.assert_close(t.invariants(t.reflect(x)), t.invariants(x))
    if t.num_fields > t.scalars:
        assert not torch.equal(t.reflect(x), x)


def test_o2_and_so2_are_different_types():
    assert FieldType("2x0 + 1x1") != FieldType("O(2): 2x0 + 1x1")
    assert FieldType("2x0- + 1x1") != FieldType("O(2): 2x0 + 1x1")
    assert FieldType("SO(2): 2x0") == FieldType("2x0")
    with pytest.raises(ValueError, match=r"different groups: 2x0 \(SO\(2\)\) and O\(2\): 1x0- "):
        FieldType("2x0") + FieldType("O(2): 1x0-")
    with pytest.raises(ValueError, match="type of O"):
        FieldType("1x1").change_gauge(torch.zeros(3, 2), torch.zeros(3), torch.ones(3, dtype=torch.bool))


def test_sum_and_concatenation_keep_odd_scalars_apart():
    a, b = FieldType("2x0 + 1x0- + 1x1"), FieldType("1x0 + 2x0- + 1x2")
    both = a + b
    assert str(both) == "O(2): 3x0 + 3x0- + 1x1 + 1x2" and both.scalars == both.odd_scalars == 3
    x, y = torch.randn(4, a.dim), torch.randn(4, b.dim)
    joined = concatenate_fields([a, b], [x, y])
    torch.testing.assert_close(both.reflect(joined), concatenate_fields([a, b], [a.reflect(x), b.reflect(y)]))
    assert joined.shape == (4, both.dim)
