"""Gauge equivariance error of a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.testing.calls import below, call, evaluating, field_type, precision, relative_difference, tolerance_for


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
        Default: the module's attributes. An output with another number of rows than the graph (logits per
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
    in_type, out_type = field_type(module, "in_type", in_type), field_type(module, "out_type", out_type)
    dtype = dtype or precision(module)
    generator = torch.Generator().manual_seed(seed)
    surface = graph.to(torch.float64)
    device = surface.finest.device
    worst = 0.0
    with evaluating(module):
        for _ in range(samples):
            given = x
            if given is None:
                shape = (surface.num_vertices, in_type.dim)
                given = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
            turned, alpha, flip = _other_gauge(surface, in_type.group == "O(2)", generator)
            turned_x = in_type.change_gauge(given.double(), alpha, flip)
            y, y_turned = call(module, given, surface, dtype), call(module, turned_x, turned, dtype)
            out_type.check(y, "output")
            if y.dim() > 1 and y.shape[-2] == surface.num_vertices:
                y = out_type.change_gauge(y, alpha, flip)
            elif out_type.max_order > 0:
                raise ValueError(f"output {tuple(y.shape)} has no row per vertex, so it cannot be of type {out_type}")
            worst = max(worst, relative_difference(y_turned, y))
    return worst


def assert_gauge_equivariant(
    module: nn.Module, graph: GaugeGraph | Hierarchy, tolerance: float | None = None, **options: Any
) -> float:
    """Raise ``AssertionError`` if the gauge error exceeds ``tolerance``; return the error otherwise.

    The default tolerance is 1e-10 in float64 and 1e-5 in float32; ``options`` go to
    :func:`gauge_equivariance_error`.
    """
    tolerance = tolerance_for(module, options.get("dtype")) if tolerance is None else tolerance
    return below(module, "gauge", gauge_equivariance_error(module, graph, **options), tolerance)


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
