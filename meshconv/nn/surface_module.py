"""Base class of layers that are called with the surface."""

from __future__ import annotations

from typing import ClassVar

from torch import nn


class SurfaceModule(nn.Module):
    """A module that is called ``module(x, surface)``; others are called ``module(x)``.

    :class:`~meshconv.nn.Sequential` passes the surface to every module whose attribute ``takes_surface`` is true, of
    this class or not.

    Examples
    --------
    >>> from meshconv.nn import Sequential
    >>> class Area(SurfaceModule):
    ...     def forward(self, x, surface):
    ...         return x * surface.areas[:, None]
    >>> Sequential(nn.Linear(3, 2), Area())[1].takes_surface
    True
    """

    takes_surface: ClassVar[bool] = True
