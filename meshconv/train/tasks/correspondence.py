"""Correspondence: an embedding of points that is the same on all poses of a shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.protocol import PairData, demand
from meshconv.ranks import gathered
from meshconv.train.inference.correspondence import CorrespondenceInference, PointMaps, mesh_of
from meshconv.train.metrics.losses import construct_loss
from meshconv.train.metrics.map_errors import Matching, Shape, map_errors, write_errors
from meshconv.train.metrics.point_contrast import PointContrast
from meshconv.train.tasks.base import Task

# Common points of each mesh that are looked at after every epoch, where a test takes more.
_GLANCE = 200


class CorrespondenceTask(CorrespondenceInference, Task):
    """Points are matched to the nearest ones of another surface in an embedding that a network learns.

    Parameters
    ----------
    network, in_type, spec, options
        As in :class:`~meshconv.train.tasks.base.Task`; a network that gives each point numbers. The convolutions see
        the
        orientation of the surface: with ``max_order`` of at least 1 they tell the left from the right of a symmetric
        shape, as no signature of the spectrum and no isotropic network can.
    embedding
        Numbers per point.
    temperature, softness, points
        Of :class:`~meshconv.train.metrics.point_contrast.PointContrast`.
    refine
        Refine maps by :func:`~meshconv.geometry.features.functional_map.refine_map`, in tests and predictions.
    test_points
        Common points of each mesh that tests measure errors at, drawn at random.
    loss : str, optional
        Path of another class, called with embeddings ``[V, embedding]``, common points ``[G, K]`` and positions
        ``[V, 3]``, as :class:`~meshconv.train.metrics.point_contrast.PointContrast` is.
    loss_options : dict, optional
        Arguments of that class.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    target_kind = "common points of meshes"

    kept = ("embedding",)

    def __init__(
        self,
        network: str,
        in_type: str,
        spec: dict[str, Any],
        options: dict[str, Any] | None = None,
        *,
        embedding: int = 64,
        temperature: float = 0.05,
        softness: float = 0.02,
        points: int = 1024,
        refine: bool = True,
        test_points: int = 1000,
        loss: str | None = None,
        loss_options: dict[str, Any] | None = None,
        **training: Any,
    ):
        super().__init__(network, in_type, spec, embedding, options, **training)
        self.test_points = test_points
        self.loss = PointContrast(temperature, softness, points) if loss is None else construct_loss(loss, loss_options)
        self._embeddings: list[Tensor] = []
        self._errors: dict[str, list[np.ndarray]] = {}
        self._pairs: list[tuple[str, str]] = []

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        embedding, positions = self(batch), unit_positions(batch)
        self.check_rows(embedding, positions[:, 0])
        loss = self.loss(embedding, batch.target, positions)
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
        data = demand(self.data, PairData, "the error of correspondence")
        samples, pairs = data.samples(split), data.pairs(split)
        embeddings = self._embeddings if len(self._embeddings) == len(samples) else gathered(self._embeddings)
        maps = PointMaps(embeddings, [mesh_of(s, data.how) for s in samples])
        matchings: dict[str, Matching] = {"error": maps.match}
        if refine:
            matchings["refined_error"] = maps.refined
        shapes = [Shape(m, s.target.numpy()) for m, s in zip(maps.meshes, samples, strict=True)]
        self._errors = map_errors(matchings, shapes, pairs, points)
        self._pairs = [(Path(samples[a].name).stem, Path(samples[b].name).stem) for a, b in pairs]
        for name, errors in self._errors.items():
            mean = float(np.mean([e.mean() for e in errors if len(e)])) if pairs else float("nan")
            self.log(f"{split}/{name}_x100", 100 * mean, prog_bar=True, rank_zero_only=False, sync_dist=True)

    def test_details(self) -> dict[str, Any]:
        return {"pairs": len(self._pairs), "points_per_mesh": self.test_points}

    def write_test(self, folder: Path) -> None:
        """As any task, and the errors of each pair and their curve as CSV and picture."""
        super().write_test(folder)
        if self._pairs:
            write_errors(folder, self._errors, self._pairs)


def unit_positions(batch: SurfaceBatch) -> Tensor:
    """Positions of the vertices, normalised by the square root of the surface area, ``[V, 3]``."""
    graph = batch.surface.finest
    areas = graph.areas.new_zeros(graph.num_graphs).index_add_(0, graph.batch_index, graph.areas)
    positions = graph.positions / areas.sqrt()[graph.batch_index, None]
    if batch.elements is None or batch.shares is None:
        return positions
    return (batch.shares[..., None] * positions[batch.elements]).sum(1)
