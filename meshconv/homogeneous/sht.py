"""Spin-weighted spherical harmonic transforms of ducc0 as opaque operators, each other's derivative.

Coefficients are real and orthonormal, ``[..., lmax + 1, 2 lmax + 2, dim]``: at degree l and column 2m (2m + 1) the
real (imaginary) part of ducc0's :math:`a_{lm}`, times :math:`\\sqrt 2` for m > 0. So the transpose of synthesis is its
adjoint, and a rotation of the sphere is an orthogonal matrix. Columns beyond 2l + 1 and the imaginary part of m = 0 are
zero, and so are degrees below the order of a field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.homogeneous.ducc import ducc
from meshconv.homogeneous.legendre import dense

Array = NDArray[Any]


def geometry(rings: Array, lmax: int, order: int) -> dict[str, Any]:
    """Arguments of ducc0 for rows (colatitude, number of points, longitude of the first, its place) of rings."""
    return {
        "theta": np.ascontiguousarray(rings[:, 0]),
        "nphi": rings[:, 1].astype(np.uint64),
        "phi0": np.ascontiguousarray(rings[:, 2]),
        "ringstart": rings[:, 3].astype(np.uint64),
        "lmax": lmax,
        "spin": order,
        "mstart": np.arange(lmax + 1, dtype=np.uint64),
        "lstride": lmax + 1,
        "nthreads": torch.get_num_threads(),
    }


def inside(lmax: int, order: int) -> Array:
    """Where coefficients of a field of an order may differ from zero, bool ``[lmax + 1, 2 lmax + 2]``."""
    degree, column = np.arange(lmax + 1)[:, None], np.arange(2 * lmax + 2)
    return (degree >= order) & (column <= 2 * degree + 1) & (column != 1)


def _weights(lmax: int, dtype: Any) -> Array:
    """Factors from orthonormal coefficients to those of ducc0, by m."""
    weights = np.full(lmax + 1, 0.5**0.5, dtype)
    weights[0] = 1
    return weights


def to_complex(coefficients: Array, order: int) -> Array:
    """Real ``[N, L+1, 2L+2, dim]`` to ducc0's complex ``[N * channels, components, (L+1)^2]``, l outer."""
    n, rows, _, dim = coefficients.shape
    components = 2 if order else 1
    parts = coefficients.reshape(n, rows, rows, 2, components, dim // components).transpose(0, 5, 4, 1, 2, 3)
    scaled = np.ascontiguousarray(parts * _weights(rows - 1, parts.dtype)[:, None])
    kind = np.complex128 if parts.dtype == np.float64 else np.complex64
    return scaled.view(kind).reshape(-1, components, rows * rows)


def from_complex(alm: Array, n: int, lmax: int, transposed: bool = False) -> Array:
    """The inverse of :func:`to_complex`, or its transpose."""
    rows, components = lmax + 1, alm.shape[1]
    weights = _weights(lmax, alm.real.dtype)
    # A map sees coefficients of m > 0 twice, those of -m being conjugate.
    factors = np.where(np.arange(rows) > 0, 2, 1).astype(weights.dtype) * weights if transposed else 1 / weights
    parts = alm.view(alm.real.dtype).reshape(n, -1, components, rows, rows, 2) * factors[:, None]
    parts[..., 0, 1] = 0
    return np.ascontiguousarray(parts.transpose(0, 3, 4, 5, 2, 1)).reshape(n, rows, 2 * rows, -1)


def _synthesis(alm: Array, arguments: dict[str, Any]) -> Array:
    return ducc().sht.synthesis(alm=alm, **arguments)


def _adjoint(maps: Array, arguments: dict[str, Any]) -> Array:
    rows = arguments["lmax"] + 1
    kind = np.complex128 if maps.dtype == np.float64 else np.complex64
    alm = np.zeros((*maps.shape[:2], rows * rows), kind)  # what ducc0 leaves out is zero
    return ducc().sht.adjoint_synthesis(map=maps, alm=alm, **arguments)


def _maps(x: Array, order: int) -> Array:
    """``[N, V, dim]`` to ducc0's ``[N * channels, components, V]``."""
    n, points, dim = x.shape
    components = 2 if order else 1
    parts = x.reshape(n, points, components, dim // components).transpose(0, 3, 2, 1)
    return np.ascontiguousarray(parts).reshape(-1, components, points)


def _fields(maps: Array, n: int) -> Array:
    """The inverse of :func:`_maps`."""
    components, points = maps.shape[1:]
    return np.ascontiguousarray(maps.reshape(n, -1, components, points).transpose(0, 3, 2, 1)).reshape(n, points, -1)


def _run_synthesis(coefficients: Tensor, rings: Tensor, points: int, order: int) -> Tensor:
    """Fields ``[N, points, dim]`` of one order on rings, from ``[N, L+1, 2L+2, dim]``."""
    n, rows, _, dim = coefficients.shape
    if not coefficients.numel():
        return coefficients.new_zeros(n, points, dim)
    if (matrices := dense(rings, rows - 1, order, coefficients)) is not None:
        return matrices.synthesis(coefficients)
    arguments = geometry(rings.cpu().numpy(), rows - 1, order)
    maps = _synthesis(to_complex(coefficients.detach().cpu().numpy(), order), arguments)
    return torch.from_numpy(_fields(maps, n)).to(coefficients.device)


def _run_adjoint(x: Tensor, rings: Tensor, lmax: int, order: int) -> Tensor:
    """Transpose of ``synthesis``: ``[N, points, dim]`` to ``[N, L+1, 2L+2, dim]``."""
    n, _, dim = x.shape
    if not x.numel():
        return x.new_zeros(n, lmax + 1, 2 * lmax + 2, dim)
    if (matrices := dense(rings, lmax, order, x)) is not None:
        return matrices.adjoint(x)
    alm = _adjoint(_maps(x.detach().cpu().numpy(), order), geometry(rings.cpu().numpy(), lmax, order))
    return torch.from_numpy(from_complex(alm, n, lmax, transposed=True)).to(x.device)


def _run_solve(coefficients: Tensor, rings: Tensor, points: int, order: int) -> Tensor:
    """Solution z of ``adjoint(synthesis(z)) = coefficients`` by conjugate gradients, which needs few steps."""
    given = coefficients.detach().cpu().numpy()
    if not given.size:
        return coefficients.clone()
    n, rows, _, _ = given.shape
    given = given * inside(rows - 1, order)[..., None]
    arguments = geometry(rings.cpu().numpy(), rows - 1, order)

    def normal(z: Array) -> Array:
        maps = _synthesis(to_complex(z.reshape(given.shape), order), arguments)
        return from_complex(_adjoint(maps, arguments), n, rows - 1, transposed=True).reshape(z.shape)

    fields = given.reshape(n, -1, given.shape[-1] // (2 if order else 1))  # E and B of a field are one vector
    return torch.from_numpy(conjugate_gradients(normal, fields).reshape(given.shape)).to(coefficients.device)


def conjugate_gradients(normal: Any, right: Array, most: int = 40) -> Array:
    """Solve for each sample and channel ``[N, unknowns, channels]`` until residuals are of rounding."""
    epsilon = np.finfo(right.dtype).eps

    def dot(a: Array, b: Array) -> Array:
        return (a.astype(np.float64) * b).sum(axis=1, keepdims=True)

    solution, residual, direction = np.zeros_like(right), right.copy(), right.copy()
    size = start = dot(residual, residual)
    for _ in range(most):
        if (size <= (8 * epsilon) ** 2 * start).all():
            break
        image = normal(direction)
        curvature = dot(direction, image)
        step = np.where(curvature > 0, size / np.where(curvature > 0, curvature, 1), 0).astype(right.dtype)
        solution, residual = solution + step * direction, residual - step * image
        new = dot(residual, residual)
        share = np.where(size > 0, new / np.where(size > 0, size, 1), 0).astype(right.dtype)
        direction, size = residual + share * direction, new
    return solution


def _fake_synthesis(coefficients: Tensor, rings: Tensor, points: int, order: int) -> Tensor:
    return coefficients.new_empty(coefficients.shape[0], points, coefficients.shape[-1])


def _fake_adjoint(x: Tensor, rings: Tensor, lmax: int, order: int) -> Tensor:
    return x.new_empty(x.shape[0], lmax + 1, 2 * lmax + 2, x.shape[-1])


def _fake_solve(coefficients: Tensor, rings: Tensor, points: int, order: int) -> Tensor:
    return coefficients.new_empty(coefficients.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    first, rings, ctx.number, ctx.order = inputs
    ctx.shape = first.shape
    ctx.save_for_backward(rings)


def _synthesis_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return adjoint(g, *ctx.saved_tensors, ctx.shape[1] - 1, ctx.order), None, None, None


def _adjoint_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return synthesis(g, *ctx.saved_tensors, ctx.shape[1], ctx.order), None, None, None


def _solve_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return solve(g, *ctx.saved_tensors, ctx.number, ctx.order), None, None, None


# Not by torch.library.custom_op, whose first call imports the compiler.
for _name, _arguments, _run, _fake, _backward in (
    ("synthesis", "Tensor coefficients, Tensor rings, int points, int order", _run_synthesis, _fake_synthesis,
     _synthesis_backward),
    ("adjoint", "Tensor x, Tensor rings, int lmax, int order", _run_adjoint, _fake_adjoint, _adjoint_backward),
    ("solve", "Tensor coefficients, Tensor rings, int points, int order", _run_solve, _fake_solve, _solve_backward),
):  # fmt: skip
    _full = f"meshconv_homogeneous::{_name}"
    torch.library.define(_full, f"({_arguments}) -> Tensor")
    torch.library.impl(_full, "default", _run)
    torch.library.register_fake(_full, _fake)
    torch.library.register_autograd(_full, _backward, setup_context=_setup)

synthesis = torch.ops.meshconv_homogeneous.synthesis
adjoint = torch.ops.meshconv_homogeneous.adjoint
solve = torch.ops.meshconv_homogeneous.solve
