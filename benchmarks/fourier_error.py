"""Gauge error of the Fourier nonlinearity by order, activation and number of samples, as a table in markdown.

    python benchmarks/fourier_error.py

Gaussian features, 64 channels, float64; the error is |act(rho f) - rho act(f)| / |act(f)| over random angles, root mean
square. ``tests/test_fourier.py`` holds the table in docs/layers.md against new measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from meshconv import FieldType
from meshconv.nn import FourierNonlinearity

FACTORS = (2, 4, 8, 16, 32)


def gauge_error(order: int, samples: int, activation: str | Callable, points: int = 1000) -> float:
    kind = FieldType.uniform(64, order)
    act = FourierNonlinearity(kind, samples, activation)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(points, kind.dim, dtype=torch.float64, generator=generator)
    angle = 2 * math.pi * torch.rand(points, dtype=torch.float64, generator=generator)
    expected = kind.rotate(act(x), angle)
    return float((act(kind.rotate(x, angle)) - expected).norm() / expected.norm())


def table() -> str:
    lines = ["| activation, order M | " + " | ".join(f"{f}M + 1" for f in FACTORS) + " |", "| --- " * 6 + "|"]
    for activation in ("relu", "silu"):
        for order in (1, 2, 3, 4, 6, 8):
            errors = (gauge_error(order, f * order + 1, activation) for f in FACTORS)
            lines.append(f"| {activation}, {order} | " + " | ".join(f"{e:.1e}" for e in errors) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
