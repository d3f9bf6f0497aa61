"""Signals and pairs of signals as float64 tensors, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError

Array: TypeAlias = Tensor | np.ndarray
Pairs: TypeAlias = Array | Sequence[Array]


def as_signals(x: Any, name: str, dim: int | None = None) -> Tensor:
    """Float64 ``[n, dim]``, from one array; a signal alone, ``[dim]``, becomes ``[1, dim]``.

    Raises
    ------
    InputError
        For numbers that are not real and finite, other shapes, and lengths other than ``dim``.
    """
    try:
        # Views with negative strides have no tensor.
        signals = torch.as_tensor(np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name}: {type(x).__name__} is not an array of numbers; give [n, dim]") from error
    if signals.is_complex():
        raise InputError(f"{name}: complex numbers; give real and imaginary parts as components")
    signals = signals.to(torch.float64)
    signals = signals[None] if signals.dim() == 1 else signals
    if signals.dim() != 2 or 0 in signals.shape:
        raise InputError(f"{name}: shape {tuple(signals.shape)}; give [n, dim] with n and dim above 0")
    if dim is not None and signals.shape[1] != dim:
        raise InputError(f"{name}: {signals.shape[1]} numbers in a row; {dim} are needed")
    wrong = ~torch.isfinite(signals).all(dim=1)
    if wrong.any():
        raise InputError(
            f"{name}: NaN or infinity in {int(wrong.sum())} of {len(signals)} signals, first in number "
            f"{int(wrong.nonzero()[0])}; leave them out"
        )
    return signals


def as_pairs(pairs: Any, dim: int | None = None) -> tuple[Tensor, Tensor]:
    """``(x, y)``, float64 ``[n, dim]`` each, from an array ``[n, 2, dim]`` or a tuple ``(x, y)`` of ``[n, dim]``.

    Raises
    ------
    InputError
        As :func:`as_signals`, and for x and y of different sizes.
    """
    if isinstance(pairs, tuple | list) and len(pairs) == 2:
        x, y = (as_signals(p, f"pairs, {name}", dim) for p, name in zip(pairs, "xy", strict=True))
    else:
        try:
            both = torch.as_tensor(np.ascontiguousarray(pairs) if isinstance(pairs, np.ndarray) else pairs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"pairs: {type(pairs).__name__}; give an array [n, 2, dim] or (x, y)") from error
        if both.dim() != 3 or both.shape[1] != 2:
            raise InputError(f"pairs: shape {tuple(both.shape)}; give an array [n, 2, dim] or a tuple (x, y)")
        x, y = (as_signals(p, f"pairs, {name}", dim) for p, name in zip(both.unbind(1), "xy", strict=True))
    if x.shape != y.shape:
        raise InputError(f"pairs: x {tuple(x.shape)} and y {tuple(y.shape)} differ in size; give each x its y")
    return x, y


def check_variety(x: Tensor, y: Tensor) -> None:
    """Raise ``InputError`` for pairs that no plane can be learned from."""
    if len(x) < 2:
        raise InputError("pairs: one pair; planes are learned from many")
    both = torch.cat([x, y])
    size = both.abs().max()
    if size == 0:
        raise InputError("pairs: all signals are zero; no plane can be learned from them")
    for name, part in (("x", x), ("y", y)):
        if not part.any():
            raise InputError(f"pairs: all of {name} is zero; no plane can be learned from them")
    if not 1e-100 < size < 1e100:
        raise InputError(f"pairs: the largest number is {float(size):g}; scale the signals to about 1")
    if (both - both[:, :1]).abs().max() <= 1e-12 * size:
        raise InputError("pairs: every signal is constant; no plane can be learned from them")
    if (both - both[:1]).abs().max() <= 1e-12 * size:
        raise InputError("pairs: all signals are the same; no plane can be learned from them")
