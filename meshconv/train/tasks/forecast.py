"""Forecasts: the state of maps some time ahead, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshconv.datasets.batch import SeriesBatch, SurfaceBatch
from meshconv.datasets.protocol import RolloutData, demand
from meshconv.errors import InputError
from meshconv.train.inference.forecast import ForecastInference
from meshconv.train.metrics.forecast_results import ForecastResults
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.report.case import Case
from meshconv.train.tasks.regression import RegressionTask


class ForecastTask(ForecastInference, RegressionTask):
    r"""Forecast of a state by a network that is applied to its own output.

    .. math:: s_{k+1} = s_k + \sigma \, N(s_k, s_{k-1}, \ldots, f_k)

    with forcings f known ahead and the root mean square :math:`\sigma` of a field's change over a step (of vectors:
    of its length). The loss is the mean over the steps of a rollout, of errors in units of :math:`\sigma`; gradients
    pass through all of them. Data have ``targets`` with a ``lead`` and ``steps``.

    Parameters
    ----------
    network, in_type, field_names, spec, options, area_weights, loss, relative, field_weights
        As in :class:`~meshconv.train.tasks.regression.RegressionTask`.
    rollout : int or dict
        Steps of a rollout in training; ``{0: 1, 10: 2, 20: 4}``: from these epochs on. At most the ``steps`` of the
        data.
    residual
        False: the network gives the next state itself.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.

    Raises
    ------
    InputError
        Targets that are no inputs, or rollouts that are longer than the samples.
    """

    def __init__(
        self,
        network: str,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        *,
        area_weights: bool = True,
        loss: str | None = None,
        rollout: int | dict[int, int] = 1,
        residual: bool = True,
        relative: bool = False,
        field_weights: dict[str, float] | None = None,
        **training: Any,
    ):
        super().__init__(
            network, in_type, field_names, spec, options, area_weights=area_weights, loss=loss,
            residual=residual, relative=relative, field_weights=field_weights, **training,
        )  # fmt: skip
        plan = {0: rollout} if isinstance(rollout, int) else {int(k): int(n) for k, n in rollout.items()}
        if 0 not in plan or min(plan) < 0 or min(plan.values()) < 1:
            raise InputError(f"rollout {rollout}: write a number of steps from 1, or {{0: 1, 10: 2}}, from epoch 0 on")
        self.plan = plan
        self.results: ForecastResults | None = None

    def rollout_steps(self, epoch: int) -> int:
        """Steps of a rollout in an epoch of the training."""
        return self.plan[max(first for first in self.plan if first <= epoch)]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        there = demand(self.data, RolloutData, "a forecast").target_steps
        if there < max(self.plan.values()):
            raise InputError(
                f"rollout: {max(self.plan.values())} steps, the data have {there}; give the data targets.steps"
            )

    def roll(self, batch: SeriesBatch, steps: int) -> Iterator[Tensor]:
        """States ``[S, V, out]`` after 1, 2, ... steps; forcings are those of the data."""
        frames = self.layout.split(batch.x)
        for k in range(steps):
            state = self.step(frames, batch)
            yield state
            if k + 1 < steps:
                assert batch.ahead is not None
                frames = torch.cat([frames[:, 1:], self.layout.with_state(batch.ahead[:, k], state)[:, None]], dim=1)

    def training_step(self, batch: SeriesBatch, index: int) -> Tensor:  # type: ignore[override]
        batch, weights = self._prepared(batch)
        steps = self.rollout_steps(self.current_epoch)
        losses = [self.error(s, batch.target[:, k], weights) for k, s in enumerate(self.roll(batch, steps))]
        loss = torch.stack(losses).mean()
        self.log_loss("train", loss, len(batch.target))
        return loss

    def evaluate(self, batch: SeriesBatch, split: str) -> None:  # type: ignore[override]
        batch, weights = self._prepared(batch)
        total = torch.zeros((), device=weights.device)
        errors = self.val_errors if split == "val" else self.test_errors
        steps = batch.target.shape[1]
        kept = self.results if split == "test" else None
        for k, state in enumerate(self.roll(batch, steps)):
            target = batch.target[:, k]
            total = total + self.error(state, target, weights) / steps
            errors.update(state.flatten(0, -2), target.flatten(0, -2), weights.flatten())
            if kept is not None:
                start = self.layout.state(self.layout.split(batch.x)[:, -1])
                kept.update(k, state, target, start, weights)
        self.log_loss(split, total, len(batch.target))

    def cases(self, batch: SurfaceBatch, output: Tensor) -> Iterator[Case]:
        """None: errors of forecasts grow with the lead, of which the results have tables and curves."""
        return iter(())

    def on_test_start(self) -> None:
        given = demand(self.data, RolloutData, "a forecast")
        data, mean = given.test_data, given.climatology
        if mean is not None and self.match.components is not None:
            mean = mean[:, self.match.components]
        self.results = ForecastResults(self.out_type, self.field_names, data, mean, self.spec["targets"])
        self.results.errors.to(self.device)

    def write_test(self, folder: Path) -> None:
        """``test_metrics.json``; tables, curves, spectra and an animated map of the forecasts."""
        super().write_test(folder)
        if self.results is not None:
            self.results.write(folder)

    def _prepared(self, batch: SeriesBatch) -> tuple[SeriesBatch, Tensor]:
        """The batch in the task's fields, and weights of its points ``[S, V]``."""
        if not isinstance(batch, SeriesBatch):
            raise InputError("a forecast needs samples of several steps; give the data targets.steps")
        matched: Any = self.match(batch)
        weights = point_weights(batch) if self.weigh else batch.x.new_ones(batch.x.shape[-2])
        weights = weights.expand(batch.x.shape[:-1])
        return matched, weights if batch.mask is None else weights * batch.mask
