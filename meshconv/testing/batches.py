"""Difference between outputs of a surface alone and in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.testing.calls import below, call, evaluating, field_type, precision, relative_difference, tolerance_for


def batch_error(
    module: nn.Module,
    graphs: Sequence[GaugeGraph],
    *,
    in_type: FieldType | str | None = None,
    dtype: torch.dtype | None = None,
    samples: int = 3,
    seed: int = 0,
) -> float:
    r"""Largest relative difference between the outputs for a surface alone and for the same surface in a batch.

    .. math:: \max_i \frac{\| M(x_1 \dots x_G; S_1 \sqcup \dots \sqcup S_G)_i - M(x_i; S_i) \|}{\| M(x_i; S_i) \|}

    Parameters
    ----------
    module
        Called ``module(x, graph)``, or ``module(x)`` if its ``forward`` takes one argument; in evaluation mode.
    graphs
        At least two surfaces, best of different sizes and scales: what a module does alike to equal surfaces is
        invisible.
    in_type
        Default: the module's attribute.
    dtype
        Precision the module runs in; default: its parameters', float32 if it has none.
    samples
        Number of random features tried.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        With fewer than two surfaces, for outputs that are not finite or zero everywhere, and for outputs that have
        neither a row per vertex nor a row per surface.

    Examples
    --------
    >>> import meshconv
    >>> graphs = [meshconv.HealpixSphere(n).gauge_graph() for n in (1, 2)]
    >>> batch_error(meshconv.nn.GaugeConv("2x0", "2x0 + 2x1"), graphs) < 1e-6
    True
    """
    graphs = [g.to(torch.float64) for g in graphs]
    if len(graphs) < 2:
        raise ValueError(f"a batch takes at least two surfaces, got {len(graphs)}")
    dim, dtype = field_type(module, "in_type", in_type).dim, dtype or precision(module)
    generator = torch.Generator().manual_seed(seed)
    together = GaugeGraph.batch(graphs)
    worst = 0.0
    with evaluating(module):
        for _ in range(samples):
            xs = [torch.randn(g.num_vertices, dim, generator=generator, dtype=torch.float64) for g in graphs]
            xs = [x.to(g.device) for x, g in zip(xs, graphs, strict=True)]
            alone = [call(module, x, g, dtype) for x, g in zip(xs, graphs, strict=True)]
            joined = call(module, torch.cat(xs), together, dtype)
            axis = -2 if joined.dim() > 1 else -1
            rows = joined.shape[axis]
            if rows not in (together.num_vertices, len(graphs)):
                raise ValueError(
                    f"output {tuple(joined.shape)} has neither a row for each of {together.num_vertices} vertices nor "
                    f"one for each of {len(graphs)} surfaces"
                )
            parts = joined.split([y.shape[axis] for y in alone], dim=axis)
            worst = max(worst, *(relative_difference(p, y) for p, y in zip(parts, alone, strict=True)))
    return worst


def assert_batch_consistent(
    module: nn.Module, graphs: Sequence[GaugeGraph], tolerance: float | None = None, **options: Any
) -> float:
    """Raise ``AssertionError`` if the batch error exceeds ``tolerance``; return the error otherwise.

    The default tolerance is 1e-10 in float64 and 1e-5 in float32; ``options`` go to :func:`batch_error`.
    """
    tolerance = tolerance_for(module, options.get("dtype")) if tolerance is None else tolerance
    return below(module, "batch", batch_error(module, graphs, **options), tolerance)
