"""The precision that operators compute in, and what their derivatives keep of features in half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

_hooks = torch._C._autograd._top_saved_tensors_default_hooks
Kept = tuple[Tensor, torch.Size, torch.dtype]


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for itself, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def under_autocast(x: Tensor) -> Tensor:
    """``x`` in autocast's dtype where autocast is on, as torch's own convolutions take it; float64 stays.

    Example
    -------
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     under_autocast(torch.ones(2)).dtype
    torch.bfloat16
    """
    on = torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
    return x.to(torch.get_autocast_dtype(x.device.type)) if on else x


def kept_as_given(*pairs: tuple[Tensor, Tensor]) -> AbstractContextManager:
    """A context in which derivatives keep features as they were given, not their copies in float32.

    Parameters
    ----------
    pairs
        Features and their copy in the working dtype, which is exact, so that the copy is made again in the backward
        pass. Features of one dtype with their copy are kept as always; so they are in programs of ``torch.compile``,
        and where hooks of others decide what is kept, as in activation checkpointing: the innermost ones alone count.

    Example
    -------
    >>> x = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    >>> wide = x.float()
    >>> with kept_as_given((x, wide)):
    ...     y = wide.square()
    >>> torch.autograd.grad(y.sum(), x)
    (tensor([2., 2., 2.], dtype=torch.bfloat16),)
    """
    narrow = {wide.data_ptr(): (given.detach(), wide.shape, wide.dtype) for given, wide in _converted(pairs)}
    if not narrow:
        return nullcontext()

    def pack(saved: Tensor) -> Tensor | Kept:
        found = narrow.get(saved.data_ptr())
        return found if found is not None and saved.shape == found[1] else saved

    def unpack(kept: Tensor | Kept) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept[0].reshape(kept[1]).to(kept[2])

    return saved_tensors_hooks(pack, unpack)


def _converted(pairs: tuple[tuple[Tensor, Tensor], ...]) -> list[tuple[Tensor, Tensor]]:
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or _hooks(False) is not None:
        return []
    return [(given, wide) for given, wide in pairs if given.dtype != wide.dtype and wide.is_contiguous()]
