"""Regression: scalars and tangent fields at the vertices of surfaces, or at the points of maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.transfer.element_frames import frames_at
from meshconv.datasets.meshes.transfer.file_fields import whole_names
from meshconv.datasets.protocol import FieldData, SeriesData, demand
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.ranks import mean_over_ranks
from meshconv.train.inference.regression import RegressionInference
from meshconv.train.metrics.field_errors import FieldErrors
from meshconv.train.metrics.losses import OwnLoss
from meshconv.train.metrics.mesh_errors import MeshErrors
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.metrics.spectral_loss import SpectralLoss
from meshconv.train.report.case import Case, each_surface
from meshconv.train.tasks.base import Task


class RegressionTask(RegressionInference, Task):
    """Regression of fields of any type per vertex or point of a map, with the mean square error of normalised fields.

    Numbers are measured from their training mean in standard deviations, fields of order >= 1 in their root mean square
    length: nothing that has a direction. Both stand in the checkpoint. Vertices count by their area, and those whose
    target is NaN not at all.

    Parameters
    ----------
    network, in_type, spec, options
        As in :class:`~meshconv.train.tasks.base.Task`; the network takes the type of the outputs as its second argument
        (:class:`~meshconv.models.FieldUNet`).
    field_names : list of str
        Names of the fields, in the order of ``out_type``.
    area_weights
        False: all vertices count the same.
    loss : str, optional
        ``spectral``, of maps: :class:`~meshconv.train.metrics.spectral_loss.SpectralLoss`, which does not reward
        blurring. Or the path of another class (:class:`~meshconv.train.metrics.losses.OwnLoss`). It is called with
        known components, prediction and target ``[n]``, in the units above.
    loss_options : dict, optional
        Arguments of that class.
    residual
        Maps whose targets are among the inputs: the network gives the difference from the latest input, in units of its
        root mean square over the training, in which the loss is measured too. The test has the errors of that input,
        such as interpolation from a coarser grid, as ``test/unchanged``.
    relative
        The error of each map and field is divided by the mean square of its target's deviation from the training mean.
    field_weights : dict, optional
        Weights of fields in the loss by their names; 1 for the others.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    kept = ("residual",)
    target_kind = "fields at the vertices"

    weight: Tensor

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
        loss_options: dict[str, Any] | None = None,
        residual: bool = False,
        relative: bool = False,
        field_weights: Mapping[str, float] | None = None,
        **training: Any,
    ):
        super().__init__(network, in_type, spec, self.type_in(spec), options, **training)
        spectral = loss == "spectral"
        if loss is not None and not spectral and "." not in loss:
            raise InputError(f"loss {loss!r} is not known; use spectral, of maps, or a class path")
        self.spectral = SpectralLoss(self.out_type, spec) if spectral else None
        self.loss = None if loss is None or spectral else OwnLoss(loss, loss_options)
        self.residual, self.relative, self.weigh = residual, relative, area_weights
        if relative and loss is not None:
            raise InputError("relative is for the mean square error; leave loss out")
        self.register_buffer("weight", _weights(field_weights or {}, self.out_type, self.field_names), persistent=False)
        kind = self.measured[0]
        self.val_errors, self.test_errors, self.test_meshes = FieldErrors(kind), FieldErrors(kind), MeshErrors(kind)
        self.test_unchanged = FieldErrors(kind)  # of the latest input, which a residual corrects

    @property
    def measured(self) -> tuple[FieldType, list[str]]:
        """Type and names of the fields whose errors are measured."""
        return self.out_type, self.field_names

    def of_measured(self, x: Tensor) -> Tensor:
        """Those components of outputs or targets ``[..., out_type.dim]``."""
        return x

    def measure_others(self, batch: SurfaceBatch, predicted: Tensor, target: Tensor, split: str) -> None:
        """Add outputs to the metrics of what else a task learns; this one learns fields alone."""

    def on_fit_start(self) -> None:
        if self.data is not None and self.trainer.ckpt_path is None:  # weights go with those of their training
            mean, size = demand(self.data, FieldData, "regression").target_statistics
            if self.residual:
                size = demand(self.data, SeriesData, "residual prediction").change_sizes
            self.normalise(mean, size)

    def normalise(self, mean: Tensor, size: Tensor) -> None:
        """Set what the loss is measured from and in, ``[fields]``; the mean is 0 for fields of order >= 1."""
        if mean[self.out_type.multiplicities[0] :].any():
            raise ValueError(f"fields with a direction have no mean that is the same in every gauge, got {mean}")
        self.mean.copy_(self.out_type.per_component(mean))
        self.size.copy_(self.out_type.per_component(size))

    def compared(self, batch: SurfaceBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prediction, target, weights, and the loss."""
        batch = self.match(batch)
        predicted = self(batch)
        self.check_rows(predicted, batch.target)
        weights = point_weights(batch) if self.weigh else batch.x.new_ones(batch.target.shape[-2])
        if batch.mask is not None:
            weights = weights * batch.mask
        return predicted, batch.target, weights, self.error(predicted, batch.target, weights)

    def error(self, predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Loss of fields ``[..., V, out_type.dim]`` with weights of points ``[..., V]``."""
        known = ~target.isnan()
        a = weights.to(predicted.dtype)[..., None] * known * self.weight
        if self.loss is not None:
            units = [((field - self.mean) / self.size)[known] for field in (predicted, target)]
            return self.loss(*units, a[known] if self.weigh else None)
        tiny = torch.finfo(a.dtype).tiny
        error = torch.where(known, (predicted - target) / self.size, 0.0)
        square = a * error**2
        if not self.relative:
            found, total = square.sum(), mean_over_ranks(a.sum()) if self.training else a.sum()
            if self.spectral is not None:
                shares = self.weight.sqrt()
                beyond = self.spectral(shares * error, shares * (target - self.mean) / self.size)
                found = found + (beyond * weights.expand(error.shape[:-1]).sum(-1)).sum().to(found.dtype)
            return found / total.clamp(min=tiny)
        size = a * torch.where(known, (target - self.mean) / self.size, 0.0) ** 2
        return (_of_fields(self.out_type, square) / _of_fields(self.out_type, size).clamp(min=tiny)).mean()

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        loss = self.compared(batch)[-1]
        self.log_loss("train", loss, len(batch.target))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        predicted, target, weights, loss = self.compared(batch)
        self.measure_others(batch, predicted, target, split)
        predicted, target = self.of_measured(predicted), self.of_measured(target)
        weights = weights.expand(predicted.shape[:-1])
        flat = (predicted.flatten(0, -2), target.flatten(0, -2), weights.flatten())
        (self.val_errors if split == "val" else self.test_errors).update(*flat)
        if split == "test" and target.ndim == 2:
            self.test_meshes.update(predicted, target, batch.member)
        if split == "test" and self.frames is not None:
            self.test_unchanged.update(self.latest(self.match(batch).x).flatten(0, -2), *flat[1:])
        self.log_loss(split, loss, len(target))

    def cases(self, batch: SurfaceBatch, output: Tensor) -> Iterator[Case]:
        """By the root mean square error in the fields' sizes."""
        predicted, target = (self.of_measured(x).cpu() for x in (output.detach(), batch.target))
        size = self.of_measured(self.size).cpu()
        at = "points" if "targets" in self.spec else "faces" if self.on_faces else "vertices"
        units = [entry.get("units") or "" for entry in self.spec["targets"]["statistics"]] if at == "points" else []
        graph, frames = batch.surface.finest, None
        if at != "faces":
            frames = frames_at(graph, batch.elements, batch.shares).frames.cpu()
        for name, place in each_surface(batch):
            truth, said = target[place], predicted[place]
            if batch.mask is not None:
                truth = torch.where(batch.mask.cpu()[place][..., None], truth, torch.nan)
            square = ((said - truth) / size) ** 2
            if square.isnan().all():
                continue
            error = float(square.nanmean().sqrt())
            whose = slice(None) if isinstance(place, int) else place
            true, shown = (self._shown(x, None if frames is None else frames[whose]) for x in (truth, said))
            yield Case(name, error, f"RMSE {error:.3g}", "in sizes of the fields", true, shown, at,
                       units=dict(zip(self.measured[1], units, strict=False)))  # fmt: skip

    def _shown(self, fields: Tensor, frames: Tensor | None) -> dict[str, NDArray]:
        """Numbers ``[n]`` and vectors in space ``[n, 3]`` by name; without frames, and of higher orders, lengths."""
        found: list[NDArray] = []
        for order, block in self.measured[0].split(fields).items():
            if order == 0:
                found += list(block.T.numpy())
            else:
                parts = block.unflatten(-1, (2, -1))
                if order == 1 and frames is not None:
                    found += list(torch.einsum("nkc,nki->cni", parts, frames[:, :2].to(parts)).numpy())
                else:
                    found += list(parts.norm(dim=1).T.numpy())
        return dict(zip(self.measured[1], found, strict=True))

    def on_validation_epoch_end(self) -> None:
        self._log_errors(self.val_errors, "val")

    def on_test_epoch_end(self) -> None:
        self._log_errors(self.test_errors, "test")
        if self.test_unchanged.update_called:
            self._log_errors(self.test_unchanged, "test/unchanged")
        if "inputs" in self.spec:  # of maps
            return
        of_meshes = self.test_meshes.relative_l2
        self.test_meshes.reset()
        for name, value in zip(self.measured[1], of_meshes.tolist(), strict=True):
            if value == value:  # there were targets
                self.log(f"test/relative_l2_of_meshes/{name}", value, sync_dist=True)

    def _log_errors(self, measured: FieldErrors, split: str) -> None:
        found = measured.errors
        if not self.tangent:
            self._log_whole_vectors(measured, split)
        measured.reset()
        self.log_errors(found, self.measured[1], split, "relative_l2")

    def log_errors(self, found: Mapping[str, Tensor], names: Sequence[str], split: str, bar: str) -> None:
        """Log errors by their kind, each of the last of some names; those of one kind in the progress bar."""
        for kind, values in found.items():
            last = names[len(names) - len(values) :]
            shown = {f"{split}/{kind}/{name}": value for name, value in zip(last, values, strict=True)}
            self.log_dict(shown, prog_bar=kind == bar, sync_dist=True)

    def _log_whole_vectors(self, measured: FieldErrors, split: str) -> None:
        """Errors of vectors with their normal parts."""
        (kind, fields), vectors = self.measured, self.out_type.multiplicities[1]
        both = measured.compute()[:, -2 * vectors :].unflatten(-1, (2, vectors)).sum(1)
        weight, error, truth = both[0] / 2, both[1], both[2]
        for name, values in (("rmse", (error / weight).sqrt()), ("relative_l2", (error / truth).sqrt())):
            names = whole_names(kind, fields, self.tangent)[-vectors:]
            self.log_dict({f"{split}/{name}/{n}": v for n, v in zip(names, values, strict=True)}, sync_dist=True)


def _weights(given: Mapping[str, float], out_type: FieldType, names: list[str]) -> Tensor:
    """Weight of each component."""
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InputError(f"field_weights: no field {unknown[0]}; there is {', '.join(names)}")
    weights = torch.tensor([float(given.get(name, 1.0)) for name in names])
    if not (weights.isfinite().all() and (weights >= 0).all() and weights.any()):
        raise InputError(f"field_weights {dict(given)} have to be finite, not below 0, and one of them above")
    return out_type.per_component(weights)


def _of_fields(out_type: FieldType, squares: Tensor) -> Tensor:
    """Sums over the points and the components of each field, ``[..., V, dim]`` to ``[..., fields]``."""
    sums = [part.unflatten(-1, (1 if m == 0 else 2, -1)).sum(-2) for m, part in out_type.split(squares.sum(-2)).items()]
    return torch.cat(sums, dim=-1)
