"""Potentials on triangles: sparse symmetric systems, factorised once and solved many times."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from meshconv.blas import single_threaded_blas

# Factors of a surface's system as long as the tensor of its gradients lives.
_FACTORS = WeakTensorKeyDictionary()


@torch.library.custom_op("meshconv::dirichlet_solve", mutates_args=())
def dirichlet_solve(values: Tensor, gradient: Tensor, areas: Tensor, function: Tensor, face: Tensor) -> Tensor:
    r"""Solve :math:`\sum_j \big(\sum_f A_f\, g_{fi}\cdot g_{fj}\big) u_j = b_i`.

    Functions that are linear on triangles, three on each inner one, with gradients g. Where no triangle of a component
    has fewer than three of them, constants are in the kernel: right-hand sides have to sum to zero there, and the
    solution is zero at one function of the component.

    Parameters
    ----------
    values : float64 Tensor [..., N, C]
        b, for N functions.
    gradient : Tensor [K, 2]
        g of each pair of a triangle and a function. Factors are cached with this tensor, which must not change.
    areas : Tensor [F]
    function, face : int64 Tensor [K]
        The pairs.

    Returns
    -------
    float64 Tensor [..., N, C]

    Notes
    -----
    scipy solves on the CPU. The system is symmetric, so that the derivative is the same solve: any order of
    derivatives, and one operator in compiled and exported graphs.
    """
    columns = values.detach().movedim(-2, 0)
    right = columns.flatten(1).cpu().numpy()
    if right.size:
        with single_threaded_blas():
            if gradient not in _FACTORS:
                system = (t.detach().cpu() for t in (gradient, areas, function, face))
                _FACTORS[gradient] = _factor(len(right), *system)
            right = _FACTORS[gradient].solve(np.ascontiguousarray(right))
    return torch.tensor(right, device=values.device).reshape(columns.shape).movedim(0, -2).contiguous()


def _factor(n: int, gradient: Tensor, areas: Tensor, function: Tensor, face: Tensor) -> SuperLU:
    column, row = function.numpy(), face.numpy()
    x, y = (coo_array((g, (row, column)), shape=(len(areas), n)).tocsr() for g in gradient.double().numpy().T)
    area = diags_array(areas.double().numpy())
    matrix = x.T @ area @ x + y.T @ area @ y
    touching = coo_array((np.ones(len(row)), (row, column)), shape=(len(areas), n)).tocsr()
    _, component = connected_components(touching.T @ touching, directed=False)
    labels, first = np.unique(component, return_index=True)
    held = np.zeros(n, dtype=bool)
    held[column[np.bincount(row, minlength=len(areas))[row] < 3]] = True
    free = first[np.bincount(component, weights=held, minlength=len(labels)) == 0]
    # A right-hand side in the image adds up to zero over a component: then adding to the diagonal at one member makes
    # the solution zero there and changes nothing else.
    diagonal, pin = matrix.diagonal(), np.zeros(n)
    pin[free] = np.where(diagonal[free] > 0, diagonal[free], 1.0)
    # Positive, so that no pivots are needed.
    return splu((matrix + diags_array(pin)).tocsc(), permc_spec="COLAMD", diag_pivot_thresh=0.0)


@dirichlet_solve.register_fake
def _(values: Tensor, gradient: Tensor, areas: Tensor, function: Tensor, face: Tensor) -> Tensor:
    return torch.empty_like(values, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return dirichlet_solve(grad, *ctx.saved_tensors), None, None, None, None


dirichlet_solve.register_autograd(_backward, setup_context=_keep)
