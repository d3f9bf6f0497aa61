"""Correspondence: an embedding of points that is the same on all poses of a shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.preparation import MeshSample, Preparation
from meshconv.geometry.features.functional_map import nearest_rows, refine_map
from meshconv.geometry.features.spectral import Spectrum, laplacian_spectrum
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.load import load_mesh
from meshconv.train.metrics.map_errors import Matching, Shape, map_errors, write_errors
from meshconv.train.metrics.point_contrast import PointContrast
from meshconv.train.tasks.base import Task

# Common points of each mesh that are looked at after every epoch, where a test takes more.
_GLANCE = 200
_FAR = 10.0


class CorrespondenceTask(Task):
    """Points are matched to the nearest ones of another surface in an embedding that a network learns.

    Parameters
    ----------
    network, in_type, options, learning_rate, weight_decay
        As in :class:`~meshconv.train.tasks.base.Task`; a network that gives each point numbers. The convolutions see
        the
        orientation of the surface: with ``max_order`` of at least 1 they tell the left from the right of a symmetric
        shape, as no signature of the spectrum and no isotropic network can.
    class_names : list of str
        Categories, which the network does not see.
    spec : dict
        How the data module made the inputs.
    embedding
        Numbers per point.
    temperature, softness, points
        Of :class:`~meshconv.train.metrics.point_contrast.PointContrast`.
    refine
        Refine maps by :func:`~meshconv.geometry.features.functional_map.refine_map`, in tests and predictions.
    test_points
        Common points of each mesh that tests measure errors at, drawn at random.
    """

    def __init__(
        self,
        network: str,
        in_type: str,
        class_names: list[str],
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        embedding: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        temperature: float = 0.05,
        softness: float = 0.02,
        points: int = 1024,
        refine: bool = True,
        test_points: int = 1000,
    ):
        super().__init__(network, in_type, embedding, options, learning_rate, weight_decay)
        self.save_hyperparameters()
        self.refine, self.test_points = refine, test_points
        self.loss = PointContrast(temperature, softness, points)
        self._embeddings: list[Tensor] = []
        self._errors: dict[str, list[np.ndarray]] = {}
        self._pairs: list[tuple[str, str]] = []

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Unit vectors ``[V, embedding]``."""
        return normalize(super().forward(batch), dim=-1)

    @torch.no_grad()
    def embed(self, batch: SurfaceBatch) -> Tensor:
        """Embedding to match points by, on the CPU: vertices without neighbours are far from all others."""
        graph = batch.surface.finest
        return self(batch).masked_fill((graph.dst_ptr.diff() == 0)[:, None], _FAR).cpu()

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        loss = self.loss(self(batch), batch.target, unit_positions(batch.surface))
        self.log_loss("train", loss, 1)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._embeddings = []

    on_test_epoch_start = on_validation_epoch_start

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        self._embeddings.append(self.embed(batch))

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self._measure("val", False, min(_GLANCE, self.test_points))

    def on_test_epoch_end(self) -> None:
        self._measure("test", self.refine, self.test_points)

    def _measure(self, split: str, refine: bool, points: int) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        samples, pairs = data.samples(split), data.pairs(split)
        maps = Maps(self._embeddings, [mesh_of(s, data.how) for s in samples])
        matchings: dict[str, Matching] = {"error": maps.match}
        if refine:
            matchings["refined_error"] = maps.refined
        shapes = [Shape(m, s.target.numpy()) for m, s in zip(maps.meshes, samples, strict=True)]
        self._errors = map_errors(matchings, shapes, pairs, points)
        self._pairs = [(Path(samples[a].name).stem, Path(samples[b].name).stem) for a, b in pairs]
        for name, errors in self._errors.items():
            mean = float(np.mean([e.mean() for e in errors if len(e)])) if pairs else float("nan")
            self.log(f"{split}/{name}_x100", 100 * mean, prog_bar=True)

    def test_details(self) -> dict[str, Any]:
        return {"pairs": len(self._pairs), "points_per_mesh": self.test_points}

    def write_test(self, folder: Path) -> None:
        """As any task, and the errors of each pair and their curve as CSV and picture."""
        super().write_test(folder)
        if self._pairs:
            write_errors(folder, self._errors, self._pairs)


class Maps:
    """Maps between meshes by their embeddings.

    Parameters
    ----------
    embeddings : list of Tensor [V, D]
    meshes : list of callable
        Make the meshes whose vertices these are of; only refinement needs them.
    """

    def __init__(self, embeddings: list[Tensor], meshes: list[Callable[[], TriangleMesh]]):
        self.embeddings, self.meshes = embeddings, meshes
        self._spectrum = lru_cache(None)(lambda k: laplacian_spectrum(meshes[k]()))

    def match(self, source: int, target: int) -> Tensor:
        """Vertex of the target nearest to each vertex of the source, int64 ``[V_source]``."""
        return nearest_rows(self.embeddings[source], self.embeddings[target])

    def refined(self, source: int, target: int) -> Tensor:
        """The same, refined."""
        spectra: list[Spectrum] = [self._spectrum(k) for k in (source, target)]
        return refine_map(self.match(source, target), *spectra)


def mesh_of(sample: MeshSample, how: Preparation) -> Callable[[], TriangleMesh]:
    """Makes the mesh whose vertices a sample's are, anew from its file: samples keep no faces."""
    return lambda: how.vary(load_mesh(sample.name, how.on_defect), Path(sample.name))


def unit_positions(surface: GaugeGraph | Hierarchy) -> Tensor:
    """Positions of the finest level's points in square roots of their surface's area, ``[V, 3]``."""
    graph = surface.finest
    areas = graph.areas.new_zeros(graph.num_graphs).index_add_(0, graph.batch_index, graph.areas)
    return graph.positions / areas.sqrt()[graph.batch_index, None]
