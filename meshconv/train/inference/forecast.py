"""Prediction of the state of maps some time ahead."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.maps.frames import Frames
from meshconv.errors import InputError
from meshconv.train.inference.regression import RegressionInference


class ForecastInference(RegressionInference):
    """The next state of maps.

    Attributes
    ----------
    layout : Frames
        Of the maps that the network sees.
    """

    def complete(self) -> None:
        super().complete()
        targets = self.spec.get("targets")
        if targets is None or targets["state"] is None or targets["lead"] is None:
            raise InputError("a forecast needs targets with a lead, all of which are inputs too: targets: {lead: 6h}")
        self.layout = Frames.from_spec(self.spec)

    def step(self, frames: Tensor, batch: SurfaceBatch) -> Tensor:
        """The next state ``[..., V, out]`` in units of the data, after frames ``[..., history, V, dim]``."""
        return self(replace(batch, x=self.layout.join(frames)))
