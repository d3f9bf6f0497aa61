"""Calibration of a predictor on data that it was not trained on, and how well it holds on others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.train.checkpoints.matching import combine
from meshconv.train.tasks.base import Task
from meshconv.uncertainty.conformal import conformal_threshold, prediction_sets
from meshconv.uncertainty.dropout import MonteCarloDropout
from meshconv.uncertainty.last_layer import Batch, laplace
from meshconv.uncertainty.measures import (
    brier_score,
    calibration_error,
    entropy,
    log_loss,
    normalised,
    rejection_curve,
)
from meshconv.uncertainty.outputs import Outputs, batches_of, collect, kind_of, network_arguments
from meshconv.uncertainty.sampled import Ensemble, Sampled, components, mean_log_probability
from meshconv.uncertainty.temperature import fit_noise, fit_temperature

Method = Literal["ensemble", "dropout", "laplace"]
Unit = Literal["surface", "point"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Calibration:
    """What calibration data say of a predictor, in plain values.

    Attributes
    ----------
    level : float
        Probability with which sets and intervals hold the truth.
    thresholds : list of float
        Of classes one, of ``1 - p``; of fields one for each, of errors in standard deviations.
    noise : list of float
        Variance of a component of each field, in units of the network, besides that between samples.
    unit : str
        What is exchangeable: ``"surface"`` or ``"point"``.
    share : float or None
        Share of a surface that its sets cover with probability ``level``; None: sets are for single points.
    count : int
        Number of calibration units.
    """

    level: float
    thresholds: list[float]
    noise: list[float]
    unit: Unit
    share: float | None
    count: int

    def deviations(self, variance: Tensor) -> Tensor:
        """Standard deviations of fields from their variances between samples, ``[..., num_fields]``."""
        return (variance + variance.new_tensor(self.noise)).sqrt()

    def radii(self, deviations: Tensor) -> Tensor:
        """Half widths of intervals of scalars, radii of discs of vectors, that hold the truth."""
        return deviations * deviations.new_tensor(self.thresholds)


def uncertain(
    tasks: Sequence[Task], method: Method = "ensemble", data: Any = None, samples: int | None = None,
    dropout: float | None = None,
) -> Task:  # fmt: skip
    """The first task, with a network that is several in place of its own.

    Parameters
    ----------
    tasks : sequence of Task
        Of one training configuration; several for an ensemble alone.
    method
        ``"ensemble"`` of the tasks' networks, which may be one; ``"dropout"``; ``"laplace"``.
    data
        Data module of the training, for ``"laplace"``.
    samples
        By default 16 of dropout, 32 of the Laplace approximation.
    dropout
        Probability, for ``"dropout"``.
    """
    task, kind = tasks[0], kind_of(tasks[0])
    if len(tasks) > 1 and method != "ensemble":
        raise InputError(f"method {method} is of one checkpoint, {len(tasks)} are given; leave --method out")
    for name, value, of in (("samples", samples, ("dropout", "laplace")), ("dropout", dropout, ("dropout",))):
        if value is not None and method not in of:
            raise InputError(f"{name} {value}: not for the method {method}; leave it out")
    for other in tasks[1:]:
        _check_same(task, other)
    if method == "ensemble":
        task.network = Ensemble([t.network for t in tasks], kind)
    elif method == "dropout":
        task.network = MonteCarloDropout(task.network, dropout, samples or 16, kind=kind)
    else:
        if data is None:
            raise InputError("laplace needs the training data; give --config")
        task.network = laplace(task.network, _training(task, data), kind, samples or 32)
    return task.eval()


def calibrate(
    task: Task, data: Any, split: str = "val", level: float = 0.9, unit: Unit = "surface", share: float | None = None
) -> Calibration:
    """Fit temperature or noise, and the threshold of sets or intervals; the task keeps the temperature.

    Parameters
    ----------
    task : Task
        Of :func:`uncertain`.
    data
        Data module.
    split
        ``"val"`` or ``"test"``: data that the network was not trained on.
    level, share
        As of :func:`~meshconv.uncertainty.conformal_threshold`.
    unit
        What is exchangeable with what will be predicted: surfaces, or points, where data are a single map.

    Raises
    ------
    InputError
        Fewer units than the level needs, with both numbers.
    """
    if split not in SPLITS or unit not in ("surface", "point"):
        raise InputError(f"split {split!r}, unit {unit!r}: give train, val or test, and surface or point")
    if share is not None and unit == "point":
        raise InputError(f"share {share} is of surfaces; leave --unit out")
    network = sampled(task)
    outputs = collect(task, data, split, network)
    surface = None if unit == "point" else outputs.surface.numpy()
    count = len(outputs.target) if surface is None else len(np.unique(surface))

    def threshold(scores: Tensor, known: Tensor) -> float:
        of = None if surface is None else surface[known.numpy()]
        try:
            return conformal_threshold(scores[known].double().numpy(), level, of, outputs.weights[known].numpy(), share)
        except InputError as error:
            remedy = "" if surface is None or len(known) < 100 else ", or --unit point"
            raise InputError(f"split {split}: {error}{remedy}") from error

    if network.kind == "classes":
        network.temperature.fill_(fit_temperature(outputs.samples, outputs.target, outputs.weights))
        p = mean_log_probability(outputs.samples, network.temperature).exp()
        scores = 1 - p.gather(-1, outputs.target[:, None])[:, 0]
        return Calibration(level, [threshold(scores, scores >= 0)], [], unit, share, count)
    noise: list[float] = []
    thresholds: list[float] = []
    errors, variances = _errors(network, outputs)
    for error, variance in zip(errors.T, variances.T, strict=True):
        known = torch.isfinite(error)
        size = 2 if len(noise) >= network.out_type.multiplicities[0] else 1
        noise.append(fit_noise(error[known] ** 2 / size, variance[known], outputs.weights[known]))
        if noise[-1] + float(variance[known].max()) == 0:
            raise InputError(f"split {split}: a field has no error at all, there is nothing to calibrate")
        thresholds.append(threshold(error / (variance + noise[-1]).sqrt(), known))
    return Calibration(level, thresholds, noise, unit, share, count)


def evaluate(task: Task, data: Any, split: str, calibration: Calibration) -> dict[str, dict[str, float]]:
    """Measures on a split: of classes in two columns, of the first network alone and of the calibrated predictor.

    Weighted by area where the task is. ``rejection`` is the mean over rejected shares of the error of what is left.
    """
    network = sampled(task)
    outputs = collect(task, data, split, network)
    w = outputs.weights.numpy()
    if network.kind == "classes":
        alone = collect(task, data, split, Ensemble([network.alone]))
        columns = {"network": mean_log_probability(alone.samples),
                   "calibrated": mean_log_probability(outputs.samples, network.temperature)}  # fmt: skip
        found = {}
        for name, logp in columns.items():
            p, target = logp.exp().double().numpy(), outputs.target.numpy()
            wrong = (p.argmax(1) != target).astype(float)
            shares, left = rejection_curve(entropy(p), wrong, w)
            found[name] = {
                "accuracy": 1 - float(normalised(w, len(w)) @ wrong), "log_loss": log_loss(p, target, w),
                "calibration_error": calibration_error(p, target, w), "brier_score": brier_score(p, target, w),
                "rejection": float(np.sum(left * np.diff(shares, append=1.0))),
            }  # fmt: skip
        sets = prediction_sets(p, calibration.thresholds[0])
        held = sets[np.arange(len(target)), target].astype(float)
        found["calibrated"] |= _coverage(held, w, outputs.surface.numpy(), calibration)
        found["calibrated"]["set_size"] = float(normalised(w, len(w)) @ sets.sum(1))
        return found
    found = {}
    errors, variances = _errors(network, outputs)
    deviations = calibration.deviations(variances)
    radii = calibration.radii(deviations)
    sizes: Tensor = task.size  # type: ignore[assignment]
    for k, name in enumerate(task.hparams["field_names"]):
        known = torch.isfinite(errors[:, k]).numpy()
        a, error = w[known], errors[known, k].double().numpy()
        held = (error <= radii[known, k].double().numpy()).astype(float)
        share, left = rejection_curve(deviations[known, k].numpy(), error**2, a)
        unit = float(sizes[_first_component(network, k)])
        found[name] = {
            "rmse": unit * float(np.sqrt(normalised(a, len(a)) @ error**2)),
            "deviation": unit * float(np.sqrt(normalised(a, len(a)) @ deviations[known, k].double().numpy() ** 2)),
            "radius": unit * float(normalised(a, len(a)) @ radii[known, k].double().numpy()),
            "rejection": unit * float(np.sqrt(np.sum(left * np.diff(share, append=1.0)))),
        }  # fmt: skip
        found[name] |= _coverage(held, a, outputs.surface.numpy()[known], calibration)
    return found


def _coverage(held: np.ndarray, w: np.ndarray, surface: np.ndarray, calibration: Calibration) -> dict[str, float]:
    """Share of points that are held; and, where sets are for surfaces, of surfaces of which enough is."""
    found = {"coverage": float(normalised(w, len(w)) @ held)}
    if calibration.share is not None:
        area, inside = np.bincount(surface, w), np.bincount(surface, w * held)
        there = area > 0
        enough = inside[there] >= calibration.share * area[there] * (1 - 1e-12)
        found["covered_surfaces"] = float(enough.mean())
    return found


def _errors(network: Sampled, outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Length of the error of each field and variance of a component between samples, float64 ``[N, num_fields]``."""
    kind, samples = network.out_type, outputs.samples.double()
    mean = samples.mean(0)
    square = kind.norms(samples - mean).square().sum(0) / max(len(samples) - 1, 1)
    return kind.norms(mean - outputs.target.double()), square / components(kind)


def _first_component(network: Sampled, field: int) -> int:
    """A component of a field."""
    kind = network.out_type
    return int((kind.per_component(torch.arange(kind.num_fields)) == field).nonzero()[0, 0])


def sampled(task: Task) -> Sampled:
    """The network of a task of :func:`uncertain`."""
    if not isinstance(task.network, Sampled):
        raise InputError(f"{type(task).__name__}: its network is a single one; make it several with uncertain()")
    return task.network


def _check_same(task: Task, other: Task) -> None:
    """Raise an :class:`InputError` unless two tasks see the same inputs, and predict the same in the same units."""
    combine(task.hparams, other.hparams)
    for key in ("class_names", "field_names", "residual"):
        was, now = task.hparams.get(key), other.hparams.get(key)
        if was != now:
            raise InputError(f"checkpoints of an ensemble have one {key}, here {was} and {now}; leave one out")
    units = [(t.spec.get("inputs"), getattr(t, "mean", None), getattr(t, "size", None)) for t in (task, other)]
    for was, now in zip(*units, strict=True):
        if not (torch.equal(was, now) if isinstance(was, Tensor) and isinstance(now, Tensor) else was == now):
            raise InputError("checkpoints of an ensemble differ in the normalisation of their data; train all on the "
                             "same")  # fmt: skip


def _training(task: Task, data: Any) -> Iterator[Batch]:
    for batch, counts, target, weights in batches_of(task, data, "train"):
        yield network_arguments(batch), counts, target, weights
