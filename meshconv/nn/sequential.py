"""Sequences of layers, called with the surface."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn


class Sequential(nn.Sequential):
    """:class:`torch.nn.Sequential` with the call ``module(x, surface)``: layers that take a surface get it.

    Those are the layers whose attribute ``takes_surface`` is true, such as modules derived from
    :class:`~meshconv.nn.SurfaceModule`.

    Layers of torch may be included if they act on scalars alone.
    Indexing, slices, ``append`` and the names in the state dict are those of :class:`torch.nn.Sequential`.

    Parameters
    ----------
    *modules : torch.nn.Module
        Called in this order, or one ordered dict of them.

    Raises
    ------
    ValueError
        If a layer's output type is not the next layer's input type; the message names both.

    Examples
    --------
    >>> import torch, meshconv
    >>> layers = meshconv.nn
    >>> act = layers.NormNonlinearity("8x0 + 8x1")
    >>> model = Sequential(layers.GaugeConv("3x0", "8x0 + 8x1"), act, layers.Linear("8x0 + 8x1", "1x1"))
    >>> model.in_type, model.out_type
    (FieldType('3x0'), FieldType('1x1'))
    >>> graph = meshconv.HealpixSphere(2).gauge_graph().to(torch.float32)
    >>> model(torch.randn(48, 3), graph).shape
    torch.Size([48, 2])
    """

    takes_surface: ClassVar[bool] = True

    def __init__(self, *modules: Any):
        super().__init__(*modules)
        self._check_types()

    def _check_types(self) -> None:
        known: tuple[str, Any] | None = None
        for name, module in self.named_children():
            taken = getattr(module, "in_type", None)
            if known is not None and taken is not None and taken != known[1]:
                raise ValueError(f"layer {known[0]} returns {known[1]}, layer {name} takes {taken}")
            given = getattr(module, "out_type", None)
            known = known if given is None else (name, given)

    def append(self, module: nn.Module) -> Sequential:
        super().append(module)
        self._check_types()
        return self

    @property
    def in_type(self) -> Any:
        """Input type of the first layer that has one; None without any."""
        return next((m.in_type for m in self if getattr(m, "in_type", None) is not None), None)

    @property
    def out_type(self) -> Any:
        """Output type of the last layer that has one; None without any."""
        return next((m.out_type for m in reversed(list(self)) if getattr(m, "out_type", None) is not None), None)

    def forward(self, x: Tensor, surface: Any) -> Tensor:  # type: ignore[override]
        """``[..., V, in_type.dim]`` to ``[..., V, out_type.dim]``."""
        for module in self:
            x = module(x, surface) if getattr(module, "takes_surface", False) else module(x)
        return x
