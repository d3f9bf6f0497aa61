"""The tensor-product nonlinearity: the Clebsch-Gordan rule, and that it reaches every quadratic equivariant map."""

from __future__ import annotations

import math

import pytest
import torch

from meshconv import FieldType
from meshconv.nn import TensorProductNonlinearity
from meshconv.nn.tensor_product import field_products, multiply


@pytest.mark.parametrize(("m", "n"), [(0, 2), (1, 1), (1, 2), (2, 3)])
def test_products_are_those_of_complex_numbers(m, n):
    a, b = torch.randn(2, 2, 7, dtype=torch.float64)
    z, w = torch.complex(*a), torch.complex(*b)
    expected = {m + n: z * w, n - m: z.conj() * w}
    for kind, rule in field_products(str(m), str(n), mirrors=False):
        found = multiply((a[0],) if m == 0 else tuple(a), tuple(b), rule)
        if m == 0:
            torch.testing.assert_close(torch.complex(*found), a[0] * w)
            continue
        product = expected[int(kind)] / math.sqrt(2)
        if m == n and kind == "0":
            torch.testing.assert_close(found[0], product.real if rule == "inner" else product.imag)
        else:
            torch.testing.assert_close(torch.complex(*found), product)


def rank_of_quadratic_maps(in_type: FieldType, out_type: FieldType) -> int:
    """Dimension of the equivariant maps from symmetric products to ``out_type``, by null space of the constraint."""
    d, e = in_type.dim, out_type.dim
    elements = [(torch.tensor(a, dtype=torch.float64), False) for a in (0.7, 1.9)]
    if in_type.group == "O(2)":
        elements.append((torch.tensor(0.4, dtype=torch.float64), True))
    # As numbers T[out, in, in]: S T (R x R)^T = T for every element of the group, and T is symmetric.
    same = torch.eye(d * d, dtype=torch.float64)
    rows = []
    for angle, reflected in elements:
        r, s = (t.representation(angle, reflected).contiguous() for t in (in_type, out_type))
        rows.append(torch.kron(s, torch.kron(r, r)) - torch.eye(e * d * d, dtype=torch.float64))
    swap = same.view(d, d, d, d).transpose(0, 1).reshape(d * d, d * d)
    rows.append(torch.kron(torch.eye(e, dtype=torch.float64), same - swap))
    values = torch.linalg.svdvals(torch.cat(rows))
    return int((values < 1e-9).sum())


@pytest.mark.parametrize(
    ("in_type", "out_type"),
    [
        ("1x0 + 1x1", "1x0 + 1x1 + 1x2"),
        ("2x1", "1x0 + 1x2"),
        ("1x1 + 1x2", "1x0 + 1x1 + 1x3"),
        ("O(2): 1x0 + 1x0- + 1x1", "1x0 + 1x0- + 1x1 + 1x2"),
        ("O(2): 2x1", "O(2): 1x0 + 1x0- + 1x2"),
    ],
)
def test_it_spans_the_quadratic_equivariant_maps(in_type, out_type):
    """Polarised outputs of many random layers, with enough channels, have the dimension of the null space."""
    in_type, out_type = FieldType(in_type), FieldType(out_type)
    basis = torch.eye(in_type.dim, dtype=torch.float64)
    pairs = (basis[:, None] + basis[None]).flatten(0, 1)
    found = []
    for _ in range(40):
        layer = TensorProductNonlinearity(in_type, out_type, channels=4).double()
        layer.linear.requires_grad_(False)
        for p in layer.linear.parameters():
            p.zero_()
        with torch.no_grad():
            single = layer(basis)
            found.append((layer(pairs) - (single[:, None] + single[None]).flatten(0, 1)).flatten())
    values = torch.linalg.svdvals(torch.stack(found))
    assert int((values > 1e-9 * values[0]).sum()) == rank_of_quadratic_maps(in_type, out_type)


@pytest.mark.parametrize("kind", ["16x0 + 16x1 + 16x2", "O(2): 16x0 + 16x0- + 16x1"])
def test_variance_at_initialisation(kind):
    act = TensorProductNonlinearity(kind)
    y = torch.stack([TensorProductNonlinearity(kind)(torch.randn(500, act.in_type.dim)) for _ in range(5)]).detach()
    for m in act.out_type.orders:
        assert 0.5 < y[..., act.out_type.slice(m)].square().mean() < 2


def test_types_without_a_product_are_refused():
    with pytest.raises(ValueError, match="no product of two fields of 3x1 is of 3x1"):
        TensorProductNonlinearity("3x1")
    with pytest.raises(ValueError, match="channels 0"):
        TensorProductNonlinearity("3x0", channels=0)
    with pytest.raises(ValueError, match="different groups"):
        TensorProductNonlinearity("3x0", "O(2): 3x0")
