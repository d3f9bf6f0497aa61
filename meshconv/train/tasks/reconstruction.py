"""Reconstruction of a field from sparse, noisy observations, on meshes and on maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.protocol import FieldData, demand
from meshconv.errors import InputError
from meshconv.hybrid.kriging import Kriging
from meshconv.train.inference.reconstruction import ReconstructionInference
from meshconv.train.tasks.base import Task

_FEWEST = 300  # points that the range is estimated from, where there are as many


class ReconstructionTask(ReconstructionInference, Task):
    """One scalar or tangent field, from observations at few of the points with noise.

    Training data have the whole field. At each step points are drawn and noise is added: the network sees those, and
    the loss is the mean square error of the field everywhere it is known. Before training, range and deviation of the
    Matern model are estimated from the first batch by marginal likelihood. For prediction, files hold the field where
    it is observed and NaN elsewhere; results hold it everywhere, and the standard deviation of the model's posterior.

    Parameters
    ----------
    in_type, spec, field_names, network, options
        As in :class:`~meshconv.train.RegressionTask`, with one field; the network is called as
        :class:`~meshconv.hybrid.HybridField` is.
    observed
        Share of the points that are drawn in training and tests, in (0, 1].
    noise
        Standard deviation of an observation, in the unit of the field.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    def __init__(
        self,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        network: str = "meshconv.hybrid.HybridField",
        options: dict[str, Any] | None = None,
        observed: float = 0.02,
        noise: float = 0.1,
        **training: Any,
    ):
        if not 0 < observed <= 1 or not 0 < noise < np.inf:
            raise InputError(f"observed {observed} has to be in (0, 1], and noise {noise} positive")
        super().__init__(network, in_type, spec, self.type_in(spec), options, **training)
        self.noise = noise

    def on_fit_start(self) -> None:
        if self.data is None or self.trainer.ckpt_path is not None:  # the model goes with its training
            return
        mean, size = demand(self.data, FieldData, "reconstruction").target_statistics
        self.mean.copy_(mean[0])
        self.size.copy_(size[0])
        batch = next(iter(self.data.train_dataloader()))
        target = batch.target.reshape(-1, *batch.target.shape[-2:])[0]
        known = torch.isfinite(target).all(-1).nonzero()[:, 0]
        if not len(known):
            raise InputError(f"{batch.names[0]}: {self.field_names[0]} is missing everywhere; give other training data")
        generator = torch.Generator().manual_seed(0)
        count = max(int(self.observed * len(known)), min(_FEWEST, len(known)))
        points = known[torch.randperm(len(known), generator=generator)[:count]]
        noise = self.noise * torch.randn(count, target.shape[-1], generator=generator)
        values = (target[points] - self.mean + noise) / self.size
        values = values if self.order else values[:, 0]
        found = Kriging.fit(batch.surface.finest, points, values, self.order)
        self.prior.copy_(torch.tensor([found.range, found.deviation, max(found.noise, 1e-2 * found.deviation)]))

    def seen(self, batch: SurfaceBatch, generator: torch.Generator | None = None) -> SurfaceBatch:
        """The batch with observations for its target: some of the points, drawn, with noise."""
        target = batch.target
        drawn = torch.rand(target.shape[:-1], generator=generator).to(target.device) < self.observed
        noise = torch.randn(target.shape, generator=generator).to(target)
        known = torch.isfinite(target).all(-1)
        for some, all_ in zip(drawn.reshape(-1, drawn.shape[-1]), known.reshape(-1, drawn.shape[-1]), strict=True):
            if not (some & all_).any():  # at least one
                some |= all_ & (all_.cumsum(0) == 1)
        return replace(batch, target=torch.where(drawn[..., None], target + self.noise * noise, torch.nan))

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        batch = self.match(batch)
        loss = self._mean_square(self(self.seen(batch)), batch) / self.size**2
        self.log_loss("train", loss, len(batch.names))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        batch = self.match(batch)
        observed = self.seen(batch, torch.Generator().manual_seed(0))
        mask = torch.isfinite(observed.target).all(-1)
        values = torch.where(mask[..., None], (observed.target - self.mean) / self.size, 0.0)
        kriging = self.model(batch.surface.finest).posterior(values, mask) * self.size + self.mean
        loss = self._mean_square(self(observed), batch)
        self.log_loss(split, loss / self.size**2, len(batch.names))
        for name, square in (("rmse", loss), ("rmse_of_kriging", self._mean_square(kriging, batch))):
            self.log(f"{split}/{name}", square.sqrt(), name == "rmse", on_epoch=True, on_step=False,
                     batch_size=len(batch.names), sync_dist=True)  # fmt: skip

    def _mean_square(self, field: Tensor, batch: SurfaceBatch) -> Tensor:
        known = torch.isfinite(batch.target)
        weight = batch.surface.finest.areas.to(field)[:, None] * known
        off = torch.where(known, field - batch.target, 0.0)
        return (weight * off**2).sum() / weight.sum().clamp_min(torch.finfo(field.dtype).tiny)
