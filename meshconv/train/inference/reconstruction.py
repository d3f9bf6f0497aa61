"""Prediction of a whole field from sparse, noisy observations, on meshes and on maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.layouts.arrays import read_array
from meshconv.datasets.meshes.sample import MeshSource
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.nearest import tree_of
from meshconv.hybrid.field import FieldModel
from meshconv.nn.ambient import from_ambient, to_ambient
from meshconv.train.inference.fields import FieldInference
from meshconv.train.inference.regression import MeshFieldValues
from meshconv.train.predict.meshes import Meshes

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps


class ReconstructionInference(FieldInference):
    """One scalar or tangent field everywhere, from observations.

    Attributes
    ----------
    mean, size : Tensor []
        What the network's field is measured from and in.
    prior : Tensor [3]
        Range, deviation and noise of the Matern model, the last two in ``size``.
    observed : float
        Share of the points that was observed in training.
    """

    mean: Tensor
    size: Tensor
    prior: Tensor

    need = "a reconstruction needs data with a field"

    def input_type(self, made: Any) -> FieldType:
        return FieldType("1x0") if "inputs" in self.spec else super().input_type(made)

    def complete(self) -> None:
        super().complete()
        if len(self.field_names) != 1:
            raise InputError(f"fields {self.field_names}: one is reconstructed; train a network for each")
        if self.spec.get("resolution") is not None:
            raise InputError(f"resolution {self.spec['resolution']}: observations lie at the mesh's own vertices; "
                             "leave the resolution out")  # fmt: skip
        self.observed, self.order = self.hparams["observed"], self.out_type.max_order
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("size", torch.ones(()))
        self.register_buffer("prior", torch.tensor([1.0, 1.0, 0.1]))
        self._last: tuple[GaugeGraph, FieldModel] | None = None

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
        distance, near = tree_of(points).query(maps.fields.grid.xyz[there])
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
