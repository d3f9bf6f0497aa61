"""ducc0, the optional library of spherical harmonic transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconv.extras import require

if TYPE_CHECKING:
    from types import ModuleType


def ducc() -> ModuleType:
    """ducc0 (GPL, version 2 or later), or an error that says how to install it."""
    require("the spherical harmonic transform", "homogeneous")
    import ducc0

    return ducc0
