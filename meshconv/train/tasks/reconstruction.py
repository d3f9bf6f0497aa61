"""Reconstruction of a field from sparse, noisy observations, on meshes and on maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.layouts.arrays import read_array
from meshconv.datasets.meshes.sample import MeshSource
from meshconv.datasets.protocol import FieldData, demand
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.hybrid.field import FieldModel
from meshconv.hybrid.kriging import Kriging
from meshconv.nn.ambient import from_ambient, to_ambient
from meshconv.train.predict.meshes import Meshes
from meshconv.train.tasks.base import Task
from meshconv.train.tasks.regression import MeshFieldValues

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps

_FEWEST = 300  # points that the range is estimated from, where there are as many


class ReconstructionTask(Task):
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

    mean: Tensor
    size: Tensor
    prior: Tensor

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
        if "out_type" not in spec:
            raise InputError(f"a reconstruction needs data with a field, these have none: {spec.get('data')}")
        if not 0 < observed <= 1 or not 0 < noise < np.inf:
            raise InputError(f"observed {observed} has to be in (0, 1], and noise {noise} positive")
        if len(field_names) != 1:
            raise InputError(f"fields {field_names}: one is reconstructed; train a network for each")
        super().__init__(network, in_type, spec, spec["out_type"], options, **training)
        self.out_type, self.field_names = FieldType(spec["out_type"]), list(field_names)
        self.observed, self.noise, self.order = observed, noise, self.out_type.max_order
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("size", torch.ones(()))
        self.register_buffer("prior", torch.tensor([1.0, 1.0, 0.1]))  # range, deviation, noise, the last two in size
        self._last: tuple[GaugeGraph, FieldModel] | None = None

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

    def model(self, graph: GaugeGraph) -> FieldModel:
        """The Matern model on a surface; that of the last one is kept."""
        if self._last is None or self._last[0] is not graph:
            spacing, deviation, noise = self.prior.tolist()
            self._last = graph, FieldModel(graph, spacing, deviation, noise, self.observed, self.order)
        return self._last[1]

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """The field ``[..., V, 1 or 2]``, from a batch whose target is NaN where nothing is observed."""
        mask = torch.isfinite(batch.target).all(-1)
        values = torch.where(mask[..., None], (batch.target - self.mean) / self.size, 0.0)
        model = self.model(batch.surface.finest)
        return self.network(batch.x, batch.surface, values, mask, model) * self.size + self.mean

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

    def describe_output(self) -> dict[str, Any]:
        raise InputError(
            "a reconstruction solves a linear system for the observations of every file, which no exported program "
            "does; predict from the checkpoint"
        )

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshFieldValues]:
        name = self.field_names[0]
        for source in meshes.sources:
            samples = meshes.prepare(partial(_observed, name, self.order, source), [source])
            for sample, field in meshes.outputs(self, samples, lambda sample: len(sample.x)):
                assert sample.origin is not None  # prepared from files or meshes
                graph = sample.surface.finest
                found = to_ambient(field, graph, "1x1")[:, 0] if self.order else field[:, 0]
                mask = torch.isfinite(sample.target).all(-1)
                deviation = self.model(graph).deviations(mask) * self.size.cpu()
                columns = {name: found, f"{name}_deviation": deviation.float()}
                values = {key: sample.origin.to_original_vertices(v.numpy()) for key, v in columns.items()}
                yield MeshFieldValues(sample.name, sample.source, values)

    def predict_maps(self, maps: Maps) -> xr.Dataset:
        """The field under its own name, and ``<name>_deviation``, at every point of the grid."""
        x = torch.ones(maps.hierarchy.finest.num_vertices, 1, device=maps.device)
        found = []
        for step in maps.steps:
            target = torch.from_numpy(self._on_map(maps, step)).to(x)
            batch = SurfaceBatch(x, maps.hierarchy, target, None, [str(maps.fields.path)])
            with torch.no_grad():
                field = self(batch).cpu().numpy()
            mask = torch.isfinite(target).all(-1)
            deviation = (self.model(maps.hierarchy.finest).deviations(mask) * self.size.cpu()).numpy()
            everywhere = np.ones(maps.fields.grid.num_points, dtype=bool)
            values = np.concatenate([field.T, deviation[None]]).astype(np.float32)
            found.append(maps.surface.to_file(values, everywhere))
            maps.progress.update(1)
        grids = np.stack(found)
        names = maps.inputs.variables
        south_east = {names[0]: grids[:, 1], names[-1]: -grids[:, 0]} if self.order else {names[0]: grids[:, 0]}
        fields = {**south_east, f"{self.field_names[0]}_deviation": grids[:, -1]}
        units = (maps.inputs.statistics or [{}])[0].get("units")
        attributes = {} if units is None else {"units": units}
        variables = {name: maps.variable(v, np.float32(np.nan), (), **attributes)
                     for name, v in fields.items()}  # fmt: skip
        return maps.dataset(variables, {}, "field reconstructed by meshconv")

    def _on_map(self, maps: Maps, step: dict[str, int]) -> NDArray[np.float32]:
        """Observations of one step at their nearest points, averaged, ``[V, dim]``, NaN where there is none."""
        raw, _ = maps.inputs.raw(maps.fields, None, step)
        there = np.isfinite(raw).all(axis=1)
        if not there.any():
            raise InputError(f"{maps.fields.path}: no observations at {step or 'the map'}; leave the step out")
        points = maps.surface.points
        cell = float(np.sqrt(maps.surface.grid.areas.mean()))
        distance, near = cKDTree(points).query(maps.fields.grid.xyz[there])
        close = distance <= 2 * cell
        if not close.any():
            raise InputError(f"{maps.fields.path}: all observations are off the domain; change it")
        count = np.bincount(near[close], minlength=len(points))[:, None]
        total = np.zeros((len(points), raw.shape[1]))
        np.add.at(total, near[close], raw[there][close])
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _observed(name: str, order: int, source: MeshSource, mesh: Any) -> tuple[Tensor, None]:
    """Observations of a mesh's file or data on the mesh made of it, NaN where there is none."""
    if isinstance(source, Path):
        values = read_array(source, name, source.parent)
    elif name in source.vertex_data:
        values = source.to_original_vertices(np.asarray(source.vertex_data[name], dtype=np.float64))
    else:
        raise InputError(f"{source.name}: no vertex data {name!r} with the observations, NaN where there is none")
    if values.ndim != 1 + order or len(values) != len(mesh.origin.vertex_to):
        raise InputError(f"{getattr(source, 'name', source)}: {name} is {list(values.shape)}, expected "
                         f"{[len(mesh.origin.vertex_to), *[3] * order]}")  # fmt: skip
    inside = torch.from_numpy(values[mesh.origin.vertex_from])
    if not torch.isfinite(inside).any():
        raise InputError(f"{getattr(source, 'name', source)}: {name} has no observations, all are NaN")
    graph = mesh.surface.finest
    return (from_ambient(inside[:, None], graph, "1x1") if order else inside[:, None]).float(), None
