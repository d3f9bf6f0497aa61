"""Prediction of correspondence: points are matched in an embedding that is the same on all poses of a shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import MeshSample, MeshSource, name_of, read_source
from meshconv.datasets.meshes.transfer.elements import ElementLabels, file_origin
from meshconv.errors import InputError
from meshconv.geometry.features.functional_map import nearest_rows, refine_map
from meshconv.geometry.features.spectral import Spectrum, laplacian_spectrum
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.save import save_mesh
from meshconv.train.inference.base import Inference
from meshconv.train.predict.files import write_text
from meshconv.train.predict.meshes import Meshes, MeshResult

_FAR = 10.0
# Of vertices without a match.
_GREY = 160


class CorrespondenceInference(Inference):
    """Vertices of a template that those of other meshes are matched to.

    Attributes
    ----------
    refine : bool
        Whether maps are refined by :func:`~meshconv.geometry.features.functional_map.refine_map`.
    """

    takes_template: ClassVar[bool] = True

    @property
    def out(self) -> int:
        return self.hparams["embedding"]

    def complete(self) -> None:
        self.refine: bool = self.hparams["refine"]

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Unit vectors ``[V, embedding]``."""
        return normalize(super().forward(batch), dim=-1)

    @torch.no_grad()
    def embed(self, batch: SurfaceBatch) -> Tensor:
        """Embedding to match vertices by, on the CPU: those without neighbours are far from all others."""
        alone = batch.surface.finest.dst_ptr.diff() == 0
        if batch.elements is not None:
            alone = alone[batch.elements[:, 0]]
        return self(batch).masked_fill(alone[:, None], _FAR).cpu()

    def describe_output(self) -> dict[str, Any]:
        return {"name": "embedding", "kind": "embedding", "rows": "vertices", "columns": [], "units": []}

    def predict_meshes(self, meshes: Meshes) -> Iterator[Matches]:
        """Each mesh but the template, by default the first, matched to it; refined where tests are."""
        template, *others = meshes.sources if meshes.template is None else [meshes.template, *meshes.sources]
        others = [source for source in others if source != template]
        if not others:
            raise InputError(f"{name_of(template)}: nothing to match to it; give at least two meshes, or --template")
        samples = meshes.prepare(ElementLabels("vertices"), [template, *others])
        if samples[0].source is not template or len(samples) == 1:
            raise InputError(f"{[*meshes.skipped, name_of(template)][0]}; nothing can be matched")
        embedded = {id(s): e for s, e in meshes.outputs(self.embed, samples, lambda sample: sample.num_vertices)}
        embeddings = [embedded[id(sample)] for sample in samples]
        maps = PointMaps(embeddings, [mesh_of(sample, meshes.how) for sample in samples])
        match = maps.refined if self.refine else maps.match
        first = samples[0].origin
        for k, sample in enumerate(samples[1:], 1):
            assert first is not None and sample.origin is not None  # prepared from files or meshes
            matches = sample.origin.to_original_vertices(first.vertex_from[match(k, 0).numpy()])
            raw = sample.raw()  # of formats that split vertices it has fewer than the file
            matches[~_in_faces(raw)[file_origin(raw).vertex_to]] = -1
            yield Matches(sample.name, sample.source, matches, template)


class PointMaps:
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
    return lambda: how.mesh(sample.source)


@dataclass(frozen=True, eq=False)
class Matches(MeshResult):
    """For each vertex of a mesh's file the vertex of the template's file that it is matched to.

    Attributes
    ----------
    matches : int64 [V]
        -1: in no face.
    template : Path or TriangleMesh
    """

    matches: NDArray[np.int64]
    template: MeshSource = field(repr=False)

    shared = ("template",)

    def row(self) -> dict[str, Any]:
        return {"file": self.name, "template": name_of(self.template), "matches": None}

    def write(self, place: Path) -> dict[str, Path]:
        """``<place>.txt``, a number a line, from 0, and ``<place>.ply``, the mesh in the template's colours."""
        table, picture = (place.with_name(place.name + suffix) for suffix in (".txt", ".ply"))
        write_text(table, "".join(f"{match}\n" for match in self.matches.tolist()))
        template, raw = read_source(self.template), self.raw()
        colours = _position_colours(template)[file_origin(template).vertex_to]
        found = np.where(self.matches[:, None] >= 0, colours[self.matches], np.uint8(_GREY))
        save_mesh(_coloured(raw, found[file_origin(raw).vertex_from]), picture)
        return {"matches": table, "picture": picture}

    def write_shared(self, output: Path) -> list[Path]:
        """``<output>_template.ply``, the template in its colours."""
        template, target = read_source(self.template), output.with_name(f"{output.name}_template.ply")
        save_mesh(_coloured(template, _position_colours(template)), target)
        return [target]


def _position_colours(mesh: TriangleMesh) -> NDArray[np.uint8]:
    """Red, green and blue along x, y and z, uint8 ``[V, 3]``."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    share = (mesh.vertices - low) / np.where(high > low, high - low, 1.0)
    return np.round(30 + 225 * share).astype(np.uint8)


def _in_faces(mesh: TriangleMesh) -> NDArray[np.bool_]:
    """Vertices that some face has, bool ``[V]``."""
    found = np.zeros(mesh.num_vertices, dtype=bool)
    found[mesh.faces] = True
    return found


def _coloured(mesh: TriangleMesh, colours: NDArray[np.uint8]) -> TriangleMesh:
    return TriangleMesh(mesh.vertices, mesh.faces, mesh.name, {"color": colours})
