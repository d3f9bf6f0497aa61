"""Prediction of meshes: preparation as in training, batches, and results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.collation import collate
from meshconv.datasets.meshes.collection import prepare_meshes
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import (
    Labelling,
    MeshSample,
    MeshSource,
    read_source,
)
from meshconv.datasets.vertex_budget import VertexBudget
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.cache import Cache

# Most vertices of a batch; larger meshes are batches of their own.
_BUDGET = 16384


@dataclass(frozen=True, eq=False)
class MeshResult(ABC):
    """Prediction for one mesh, for the vertices, faces or edges of its file.

    Attributes
    ----------
    name : str
        Path of the file, or name of the mesh.
    source : Path or TriangleMesh
        The input.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    """Of :meth:`row`, those that the table has; none: no table."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Endings of what :meth:`write_shared` writes."""

    name: str
    source: MeshSource = field(repr=False)

    @abstractmethod
    def row(self) -> dict[str, Any]:
        """Plain values for tables and JSON."""

    def write(self, place: Path) -> dict[str, Path]:
        """Write files whose names begin with ``place``: each by its key in the row."""
        return {}

    def write_shared(self, output: Path) -> list[Path]:
        """Write what all results of a prediction share."""
        return []

    def raw(self) -> TriangleMesh:
        """The mesh as given, or as in its file."""
        return read_source(self.source)


class Meshes:
    """Prepared meshes of a prediction.

    Parameters
    ----------
    sources : sequence of Path or TriangleMesh
    how : Preparation
        Of the training.
    device
        Of the network.
    strict
        Raise the error of the first mesh that cannot be used; so does a single one.
    cache, workers
        As of :func:`~meshconv.datasets.meshes.collection.prepare_meshes`.
    template : Path or TriangleMesh, optional
        What the others are compared with, for tasks that compare.
    together
        False: the network takes one mesh at a time.

    Attributes
    ----------
    skipped : list of str
        What is wrong with each mesh that was left out.
    """

    def __init__(
        self,
        sources: Sequence[MeshSource],
        how: Preparation,
        device: torch.device,
        strict: bool = False,
        cache: Cache | None = None,
        workers: int | None = None,
        template: MeshSource | None = None,
        together: bool = True,
    ):
        self.sources, self.how, self.device, self.template = list(sources), how, device, template
        self.strict, self._cache, self._workers = strict or len(self.sources) == 1, cache, workers
        self._together = together
        self.skipped: list[str] = []

    def prepare(self, labelling: int | Labelling = -1, sources: Sequence[MeshSource] | None = None) -> list[MeshSample]:
        """Samples of the meshes that can be used, in their order.

        Raises
        ------
        InputError
            There is none.
        """
        given = self.sources if sources is None else sources
        samples, problems = prepare_meshes(
            [(source, labelling) for source in given], self.how, strict=self.strict, cache=self._cache,
            workers=self._workers,
        )  # fmt: skip
        self.skipped += problems
        if not samples:
            raise InputError(f"none of {len(problems)} meshes can be used, the first: {problems[0]}")
        return samples

    def outputs(
        self,
        network: Callable[[SurfaceBatch], Tensor],
        samples: Sequence[MeshSample],
        rows: Callable[[MeshSample], int],
    ) -> Iterator[tuple[MeshSample, Tensor]]:
        """Each sample with its part of the network's output, on the CPU; in the order of the batches.

        Parameters
        ----------
        network : callable
            On batches of several meshes.
        samples
        rows : callable
            How many rows of the output belong to a sample: 1, or one for each vertex or element.

        Raises
        ------
        InputError
            The output has other rows: the network is not one for what its task predicts.
        """
        sizes = [len(sample.x) for sample in samples]
        together = VertexBudget(sizes, max(_BUDGET, *sizes)) if sizes and self._together else None
        for batch in together or [[k] for k in range(len(sizes))]:
            chosen = [samples[i] for i in batch]
            with torch.no_grad():
                output = network(collate(chosen).to(self.device)).cpu()
            counts = [rows(sample) for sample in chosen]
            if len(output) != sum(counts):
                raise InputError(
                    f"{chosen[0].name}: the network has {len(output)} rows of outputs where its task predicts "
                    f"{sum(counts)}; use a checkpoint that meshconv fit wrote"
                )
            yield from zip(chosen, output.split(counts), strict=True)
