"""Arrays from users: float64 tensors, with errors that name the argument."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from meshconv.errors import InputError


def finite(value: Any, name: str) -> Tensor:
    """``value`` as a float64 tensor of finite numbers, detached, on the CPU.

    Raises
    ------
    InputError
        It is no array of numbers, or holds NaN or infinity.
    """
    try:
        tensor = torch.as_tensor(value).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is no array of numbers ({type(value).__name__}); give numbers or a tensor") from error
    wrong = int((~torch.isfinite(tensor)).sum())
    if wrong:
        raise InputError(f"{name} has {wrong} of {tensor.numel()} values that are NaN or infinite; leave them out")
    return tensor


def like(result: Tensor, given: Any) -> Any:
    """``result`` as ``given`` came: a tensor with its device and floating dtype, else a float64 numpy array."""
    if not isinstance(given, Tensor):
        return result.numpy()
    return result.to(given.device, given.dtype if given.is_floating_point() else result.dtype)


def covariance(value: Any, name: str) -> Tensor:
    """``value`` as a symmetric positive definite matrix [n, n].

    Raises
    ------
    InputError
        It is not square, not symmetric, or singular.
    """
    matrix = finite(value, name)
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.numel():
        raise InputError(f"{name} is {list(matrix.shape)}; a covariance is a square matrix, [n, n]")
    scale = float(matrix.abs().max())
    error = float((matrix - matrix.T).abs().max())
    if error > 1e-10 * scale:
        raise InputError(f"{name} is not symmetric, entries differ by {error:.3g}; give ({name} + {name}^T) / 2")
    eigenvalues = torch.linalg.eigvalsh(matrix)
    lowest = float(eigenvalues[0])
    if lowest <= 1e-14 * max(scale, 0.0) or scale == 0:
        raise InputError(f"{name} is not positive definite, its lowest eigenvalue is {lowest:.3g}; "
                         f"add a small multiple of the identity")  # fmt: skip
    return (matrix + matrix.T) / 2


def check_shape(tensor: Tensor, name: str, shape: Sequence[int], because: str) -> None:
    """Raise ``InputError`` unless ``tensor`` has this shape, which ``because`` explains."""
    if list(tensor.shape) != list(shape):
        raise InputError(f"{name} is {list(tensor.shape)}, expected {list(shape)}: {because}")


def check_memory(size: int, what: str) -> None:
    """Raise ``InputError`` if ``size`` bytes are more than the memory that is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else size
    if size > free:
        raise InputError(f"{what} need {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free; "
                         f"take a part of the graph, or fewer states")  # fmt: skip
