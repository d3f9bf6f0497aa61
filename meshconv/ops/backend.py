"""Backend: the compiled extension, or the references with the reason."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Backend:
    """Implementation of the operators.

    Attributes
    ----------
    devices
        Device types with compiled kernels; on any other the plain-torch references run.
    reason
        Explanation in one sentence.
    """

    devices: frozenset[str]
    reason: str


def _build_note() -> str:
    """Reason why the installation did not build all of the extension, if any (written by ``setup.py``)."""
    note = Path(__file__).parents[1] / "_build_note.txt"
    return note.read_text().strip() if note.is_file() else ""


def _load() -> Backend:
    try:
        extension: ModuleType = importlib.import_module("meshconv._C")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "meshconv._C"
        cause = (_build_note() or "it was not built") if missing else f"it does not load: {error}"
        reason = f"plain-torch references, because the extension is absent ({cause})"
        warnings.warn(
            f"meshconv runs on {reason}; results are the same, slower. "
            "Install with a C++ compiler to get it.",
            stacklevel=2,
        )
        return Backend(frozenset(), reason)
    build = extension.build()
    devices = {"cpu"} | ({"cuda"} if build["cuda"] else set())
    note = _build_note()
    with_cuda = "built in" if build["cuda"] else "not built in" + (f" ({note})" if note else "")
    return Backend(
        frozenset(devices),
        f"compiled extension, {build['instruction_set']} instructions on the CPU, CUDA {with_cuda}",
    )


BACKEND = _load()


def has_block_operators() -> bool:
    """Whether the extension has the operators that take several layers in one pass; one of older sources has not."""
    return bool(BACKEND.devices) and has_kernel("norm_gate", "cpu")


def has_kernel(operator: str, device: Literal["cpu", "cuda"]) -> bool:
    """Whether torch's dispatcher has a compiled kernel of ``torch.ops.meshconv.<operator>`` for tensors of a device."""
    name = f"meshconv::{operator}"
    registered = set(torch._C._dispatch_get_all_op_names())  # the question below is an error for other names
    return name in registered and torch._C._dispatch_has_kernel_for_dispatch_key(name, device.upper())


def is_compiled(device: torch.device) -> bool:
    """Whether tensors on ``device`` are handled by the compiled operators."""
    return device.type in BACKEND.devices


def register(
    operator: str, shapes: Callable[..., Any], backward: Callable[..., Any] | None = None,
    setup: Callable[..., None] | None = None,
) -> None:  # fmt: skip
    """Give ``torch.ops.meshconv.<operator>`` its shapes, and a derivative where it has one.

    All registrations come from this file: torch looks for the module of each file that registers among all that are
    imported, which takes longer than everything else in an import of the operators.

    Parameters
    ----------
    operator
    shapes
        The operator on tensors without data.
    backward, setup
        As ``torch.library.register_autograd`` takes them.
    """
    torch.library.register_fake(f"meshconv::{operator}", shapes)
    if backward is not None:
        torch.library.register_autograd(f"meshconv::{operator}", backward, setup_context=setup)
