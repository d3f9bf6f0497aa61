"""Training in a fixed precision: that of features, with geometry of at least float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, Precision

from meshconv.datasets.batch import SurfaceBatch


def surface_precision(name: Any) -> Precision | None:
    """The plugin for Lightning's ``"64-true"``, ``"bf16-true"`` and ``"16-true"``; None for any other precision."""
    if str(name) in ("64-true", "64"):
        return SurfaceDouble()
    return SurfaceHalf(name) if str(name) in ("bf16-true", "16-true") else None


class SurfaceDouble(DoublePrecision):
    """All in float64."""

    def convert_input(self, data: Any) -> Any:
        return data.to(torch.float64) if isinstance(data, SurfaceBatch) else super().convert_input(data)


class SurfaceHalf(HalfPrecision):
    """Features and weights in 16 bits; angles, areas and intermediate tensors keep their precision."""

    def convert_input(self, data: Any) -> Any:
        if isinstance(data, SurfaceBatch):
            return replace(data, x=data.x.to(self._desired_input_dtype))
        return super().convert_input(data)

    def forward_context(self) -> Any:
        return Precision.forward_context(self)
