"""Calls of modules under test, and comparison of outputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; the module's mode is restored."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def precision(module: nn.Module) -> torch.dtype:
    """Of the module's parameters, or of their real parts; float32 if it has none."""
    return next((p.dtype.to_real() for p in module.parameters()), torch.float32)


def tolerance_for(module: nn.Module, dtype: torch.dtype | None) -> float:
    return 1e-10 if (dtype or precision(module)) == torch.float64 else 1e-5


def field_type(module: nn.Module, name: str, given: FieldType | str | None) -> FieldType:
    """``given``, or the module's attribute of that name."""
    value = getattr(module, name, None) if given is None else given
    if value is None:
        raise ValueError(f"{type(module).__name__} has no attribute {name}; give {name}=")
    return FieldType(value)


def takes_surface(module: nn.Module) -> bool:
    """What the module declares (``takes_surface``); else whether ``forward`` takes a second argument."""
    declared = getattr(module, "takes_surface", None)
    if declared is not None:
        return bool(declared)
    given = list(inspect.signature(module.forward).parameters.values())
    return len(given) > 1 or any(p.kind is p.VAR_POSITIONAL for p in given)


def call(module: nn.Module, x: Tensor, surface: Any, dtype: torch.dtype) -> Tensor:
    """``module(x, surface)`` or ``module(x)``, run in ``dtype``, as float64."""
    x = x.to(dtype)
    y = module(x, surface.to(dtype)) if takes_surface(module) else module(x)
    return y.double()


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected.

    Raises
    ------
    ValueError
        If an output is not finite, is all zero (nothing would be tested), or has another shape than expected.
    """
    if found.shape != expected.shape:
        raise ValueError(f"the module's output has shapes {tuple(found.shape)} and {tuple(expected.shape)}")
    if not (torch.isfinite(found).all() and torch.isfinite(expected).all()):
        raise ValueError("the module's output is not finite")
    size = torch.linalg.vector_norm(expected)
    if size == 0:
        raise ValueError("the module's output is zero everywhere: nothing to compare")
    return float(torch.linalg.vector_norm(found - expected) / size)


def below(module: nn.Module, what: str, error: float, tolerance: float) -> float:
    """The error, or an ``AssertionError`` that says what is wrong with it."""
    assert error <= tolerance, (
        f"{type(module).__name__} has a relative {what} error of {error:.2e}, above {tolerance:.0e}"
    )
    return error
