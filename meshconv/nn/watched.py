"""Layers that are computed within others, unless something listens to their calls."""

from __future__ import annotations

from torch import nn

# Torch has no public name for them.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_watched(*modules: nn.Module) -> bool:
    """Whether hooks listen to calls of modules, which then have to be called one by one."""
    return any(getattr(module, name) for module in modules for name in _HOOKS)
