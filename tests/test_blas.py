"""The limit of BLAS to one thread: for whom it holds, and that it ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from meshes import icosphere
from threadpoolctl import threadpool_info, threadpool_limits

from meshconv.blas import single_threaded_blas
from meshconv.geometry.features import sparse
from meshconv.geometry.features.laplacian import TuftedLaplacian
from meshconv.geometry.features.sparse import in_threads


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    with threadpool_limits(3, "blas"):
        assert threads() == {3}
        yield


def test_the_limit_holds_inside_and_ends_also_after_errors() -> None:
    with single_threaded_blas():
        assert threads() == {1}
    assert threads() == {3}
    with pytest.raises(KeyError), single_threaded_blas(), single_threaded_blas():
        raise KeyError
    assert threads() == {3}


def test_threads_that_are_started_inside_have_it_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def inside(_: int) -> set[int]:
        with single_threaded_blas():
            return threads()

    assert list(in_threads(inside, range(4))) == [{1}] * 4
    assert threads() == {3}


def test_factorisations_have_it_and_give_the_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], sparse.splu
    monkeypatch.setattr(sparse, "splu", lambda *args, **options: seen.append(threads()) or real(*args, **options))
    whole = TuftedLaplacian.of(icosphere(2))
    ones = whole.flow(0.01).solve(whole.mass)
    np.testing.assert_allclose(ones, 1, atol=1e-9)
    assert seen == [{1}] and threads() == {3}
