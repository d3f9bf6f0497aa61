"""Products over all points against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradgradcheck

from meshconv.ops.products import sum_of_products


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 1000])
@pytest.mark.parametrize(("left", "right"), [(3, 5), (0, 4), (4, 0)])
def test_is_the_product_of_slices_too(rows: int, left: int, right: int) -> None:
    x, y = torch.randn(rows, left + 2, dtype=torch.float64), torch.randn(rows, right + 3, dtype=torch.float64)
    x, y = x[:, 1 : 1 + left], y[:, 2 : 2 + right]
    torch.testing.assert_close(sum_of_products(x, y), x.T @ y)


def test_derivatives_of_all_orders() -> None:
    x, y = (torch.randn(300, n, dtype=torch.float64, requires_grad=True) for n in (2, 3))
    assert gradgradcheck(sum_of_products, (x, y), fast_mode=True)


@pytest.mark.parametrize(("rows", "left", "right"), [(3072, 33, 128), (12288, 16, 16), (5000, 7, 1)])
def test_the_number_of_threads_changes_no_bit(rows: int, left: int, right: int) -> None:
    before, results = torch.get_num_threads(), []
    x, y = torch.randn(rows, left), torch.randn(rows, right)
    try:
        for threads in (1, 2, 3, 4, 7):
            torch.set_num_threads(threads)
            results.append(sum_of_products(x, y))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(other, results[0]) for other in results)
