"""Block Lanczos steps against dense solutions, also where eigenvalues are multiple, few or many."""

from __future__ import annotations

import numpy as np
import pytest

from meshconv.geometry.features.lanczos import largest_eigenpairs


def operator(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric matrix with these eigenvalues, and their eigenvectors."""
    vectors = np.linalg.qr(np.random.default_rng(1).normal(size=(len(values), len(values))))[0]
    return (vectors * values) @ vectors.T, vectors


@pytest.mark.parametrize(
    "values",
    [
        1 / (1 + np.arange(900.0)),
        1 / (1 + np.repeat(np.arange(90.0), 10)),  # each ten times
        1 / (1 + np.arange(900.0) ** 1.5),
        np.r_[1, np.full(8, 0.5), 1e-3 * np.linspace(1, 2, 891)],  # a gap
        1 / (1 + np.arange(40.0)),  # the space is exhausted
    ],
    ids=["single", "tenfold", "sparse", "gap", "small"],
)
def test_all_eigenpairs_above_a_bound(values: np.ndarray) -> None:
    matrix, vectors = operator(values)
    bound = 0.03
    found, functions = largest_eigenpairs(lambda rows: rows @ matrix, vectors[:, 0], bound, 10**6, 30)
    rest = np.sort(values[1:])[::-1]
    np.testing.assert_allclose(found, rest[rest >= bound], rtol=1e-5)
    np.testing.assert_allclose(functions.T @ functions, np.eye(len(found)), atol=1e-10)
    assert np.abs(functions.T @ vectors[:, 0]).max() < 1e-10
    assert (np.linalg.norm(matrix @ functions - functions * found, axis=0) < 2e-3 * found).all()


@pytest.mark.parametrize("guess", [3, 30, 300])
def test_the_guess_changes_nothing_and_the_number_is_bounded(guess: int) -> None:
    values = 1 / (1 + np.arange(900.0))
    matrix, vectors = operator(values)
    found, functions = largest_eigenpairs(lambda rows: rows @ matrix, vectors[:, 0], 0.005, 50, guess)
    assert functions.shape == (900, 50)
    np.testing.assert_allclose(found, values[1:51], rtol=1e-5)


def test_few_different_eigenvalues_exhaust_the_start() -> None:
    """Images that depend on one another are replaced; up to a block of each eigenvalue is found."""
    matrix, vectors = operator(np.r_[1, np.repeat([0.5, 0.25, 0.125], 12), np.full(864, 0.01)])
    found, functions = largest_eigenpairs(lambda rows: rows @ matrix, vectors[:, 0], 0.1, 10**6, 30)
    np.testing.assert_allclose(found, np.repeat([0.5, 0.25, 0.125], 12), rtol=1e-8)
    np.testing.assert_allclose(functions.T @ functions, np.eye(36), atol=1e-10)


def test_many_eigenvalues_leave_the_space_orthogonal() -> None:
    """In long spaces rounding would make vectors that are there already, and the whole matrix would be asked for."""
    values = 1 / (1 + 12 * np.arange(1600.0))
    matrix, vectors = operator(values)
    asked = []

    def apply(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return rows @ matrix

    found, functions = largest_eigenpairs(apply, vectors[:, 0], values[300], 10**6, 150)
    assert sum(asked) < 1000
    np.testing.assert_allclose(found, values[1 : len(found) + 1], rtol=1e-5)
    np.testing.assert_allclose(functions.T @ functions, np.eye(len(found)), atol=1e-8)
