"""Measure whether a module is equivariant under changes of gauge: for any module, ours or yours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.gauge_graph import GaugeGraph
from meshconv.geometry.hierarchy import Hierarchy

__all__ = ["assert_gauge_equivariant", "gauge_equivariance_error"]


def gauge_equivariance_error(
    module: nn.Module,
    graph: GaugeGraph | Hierarchy,
    *,
    x: Tensor | None = None,
    in_type: FieldType | str | None = None,
    out_type: FieldType | str | None = None,
    dtype: torch.dtype | None = None,
    samples: int = 3,
    seed: int = 0,
) -> float:
    r"""Largest relative gauge error of a module over random inputs and gauges.

    .. math:: \frac{\| M(\rho_{in}(-\alpha) x; \alpha \cdot S) - \rho_{out}(-\alpha) M(x; S) \|}{\| M(x; S) \|}

    The group acts in float64 and the module runs on the graph cast from the one given, so give a float64 graph.
    The module runs in evaluation mode, and its mode and gradients are left as they were. If the input is of a type of
    O(2), half of the frames are reflected as well.

    Parameters
    ----------
    module
        Called ``module(x, graph)``, or ``module(x)`` if its ``forward`` takes one argument.
    graph
        The surface S; its device has to be the module's.
    x : Tensor [..., V, in_type.dim], optional
        Input features; standard normal by default.
    in_type, out_type
        Default: the module's attributes. An output with another number of rows than the graph (a class score per
        surface, say) has to be of order 0.
    dtype
        Precision the module runs in; default: its parameters', float32 if it has none.
    samples
        Number of gauges tried.

    Returns
    -------
    float
        0 for an equivariant module in exact arithmetic; NaN never: non-finite output is an error.

    Raises
    ------
    ValueError
        If types are missing or an output is not finite, or is all zero (nothing would be tested).

    Examples
    --------
    >>> import meshconv
    >>> graph = meshconv.HealpixSphere(2).gauge_graph()
    >>> gauge_equivariance_error(meshconv.nn.GaugeConv("2x0 + 2x1", "2x0 + 2x1"), graph) < 1e-6
    True
    """
    in_type, out_type = _field_type(module, "in_type", in_type), _field_type(module, "out_type", out_type)
    dtype = dtype or _precision(module)
    generator = torch.Generator().manual_seed(seed)
    surface = graph.to(torch.float64)
    device = (surface.levels[0] if isinstance(surface, Hierarchy) else surface).device
    was_training = module.training
    module.eval()
    worst = 0.0
    try:
        for _ in range(samples):
            given = x
            if given is None:
                shape = (surface.num_vertices, in_type.dim)
                given = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
            turned, alpha, flip = _other_gauge(surface, in_type.group == "O(2)", generator)
            turned_x = in_type.change_gauge(given.double(), alpha, flip)
            with torch.no_grad():
                y = _call(module, given.to(dtype), surface.to(dtype)).double()
                y_turned = _call(module, turned_x.to(dtype), turned.to(dtype)).double()
            out_type.check(y, "output")
            if y.dim() > 1 and y.shape[-2] == surface.num_vertices:
                y = out_type.change_gauge(y, alpha, flip)
            elif out_type.max_order > 0:
                raise ValueError(f"output {tuple(y.shape)} has no row per vertex, so it cannot be of type {out_type}")
            if not (torch.isfinite(y).all() and torch.isfinite(y_turned).all()):
                raise ValueError("the module's output is not finite")
            size = torch.linalg.vector_norm(y)
            if size == 0:
                raise ValueError("the module's output is zero everywhere: nothing to compare")
            worst = max(worst, float(torch.linalg.vector_norm(y_turned - y) / size))
    finally:
        module.train(was_training)
    return worst


def assert_gauge_equivariant(
    module: nn.Module, graph: GaugeGraph | Hierarchy, tolerance: float | None = None, **options: Any
) -> float:
    """Raise ``AssertionError`` if the gauge error exceeds ``tolerance``; return the error otherwise.

    The default tolerance is 1e-10 in float64 and 1e-5 in float32; ``options`` go to
    :func:`gauge_equivariance_error`.
    """
    if tolerance is None:
        dtype = options.get("dtype") or _precision(module)
        tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    error = gauge_equivariance_error(module, graph, **options)
    assert error <= tolerance, (
        f"{type(module).__name__} has a relative gauge error of {error:.2e}, above {tolerance:.0e}"
    )
    return error


def _other_gauge(
    surface: GaugeGraph | Hierarchy, reflect: bool, generator: torch.Generator
) -> tuple[GaugeGraph | Hierarchy, Tensor, Tensor | None]:
    """The surface in a random gauge, and what happened to the frames of its finest level."""
    levels = surface.levels if isinstance(surface, Hierarchy) else [surface]
    alphas = [g.random_gauge(generator) for g in levels]
    coins = (torch.rand(g.num_vertices, generator=generator) < 0.5 for g in levels)
    flips = [c.to(g.device) for c, g in zip(coins, levels, strict=True)] if reflect else None
    flip = None if flips is None else flips[0]
    if isinstance(surface, Hierarchy):
        return surface.change_gauge(alphas, flips), alphas[0], flip
    return surface.change_gauge(alphas[0], flip), alphas[0], flip


def _precision(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters()), torch.float32)


def _field_type(module: nn.Module, name: str, given: FieldType | str | None) -> FieldType:
    value = getattr(module, name, None) if given is None else given
    if value is None:
        raise ValueError(f"{type(module).__name__} has no attribute {name}; give {name}=")
    return FieldType(value)


def _call(module: nn.Module, x: Tensor, surface: GaugeGraph | Hierarchy) -> Tensor:
    code = getattr(type(module).forward, "__code__", None)
    takes_surface = code is None or code.co_argcount > 2 or bool(code.co_flags & 0x04)
    return module(x, surface) if takes_surface else module(x)
