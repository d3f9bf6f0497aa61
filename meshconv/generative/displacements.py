"""Meshes as displacement fields of a template: the data module, and the way from meshes to fields and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.loader import Loader
from meshconv.datasets.meshes.files import check_fractions, meshes_below
from meshconv.datasets.meshes.layouts.segments import LabelledFile, split_files
from meshconv.datasets.meshes.module import MeshData
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.inference_mode import outside_inference_mode
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.save import save_mesh
from meshconv.train.predict.files import write_array
from meshconv.train.predict.meshes import MeshResult

# The displacement along the normal, and the tangential one.
DISPLACEMENT = "1x0 + 1x1"


class MeshDisplacements(MeshData):
    """Data module of meshes with the triangles of a template: each is a field of displacements on it.

    A displacement is a scalar along the template's normal and a tangent vector, so that it does not depend on where the
    template lies in space. Meshes are first moved, turned and scaled onto the template (least squares).

    Parameters
    ----------
    root
        Folder of meshes. Splits are as in :class:`~meshconv.datasets.meshes.segments.MeshSegments`.
    template
        Mesh file; by default the mean of the training meshes on the first of them.
    num_levels
        Levels of the hierarchy.
    test_fraction, val_fraction
        Shares for testing, and of the rest for validation, without splits in the folder.
    batch_size, seed
        As of :class:`~meshconv.datasets.meshes.module.MeshData`.

    Raises
    ------
    InputError
        A mesh with other triangles than the template.
    """

    target_kind: ClassVar[str] = "fields at the vertices"
    field_names: ClassVar[list[str]] = ["normal", "tangential"]
    in_type = FieldType("1x0")  # type: ignore[assignment]  # a property of other data
    out_type = FieldType(DISPLACEMENT)

    def __init__(
        self, root: str, template: str | None = None, *, num_levels: int = 3, test_fraction: float = 0.2,
        val_fraction: float = 0.0, batch_size: int = 16, seed: int = 0,
    ):  # fmt: skip
        super().__init__(batch_size=batch_size, num_levels=num_levels, seed=seed, cache=False)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        self.root = Path(root)
        if not self.root.is_dir() or not meshes_below(self.root):
            raise InputError(f"{root}: no folder with meshes; give one whose meshes have the same triangles")
        pairs = [LabelledFile(path, None) for path in meshes_below(self.root)]
        for split, part in split_files(self.root, pairs, test_fraction, val_fraction, seed).items():
            self.files[split] += [(p.mesh, -1) for p in part]
        if not self.files["train"]:
            raise InputError(f"{root}: no mesh is left for training; add some beside those for testing")
        self._given = template

    @cached_property
    def template(self) -> TriangleMesh:
        """The given one, or the mean of the training meshes."""
        if self._given is not None:
            return read_mesh(Path(self._given))
        meshes = [read_mesh(path) for path, _ in self.files["train"]]
        first = replace(meshes[0], vertex_data={}, face_data={})
        for (path, _), mesh in zip(self.files["train"], meshes, strict=True):
            _check_faces(mesh, first, str(path))
        return replace(first, vertices=np.mean([aligned(mesh.vertices, first.vertices) for mesh in meshes], axis=0))

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Levels of the template, finest first, float32."""
        with outside_inference_mode():
            return template_surface(self.spec["template"], self.num_levels)[1].to(torch.float32)

    @property
    def spec(self) -> dict[str, Any]:
        """How displacements are made, in plain values: with the template, so that a checkpoint can draw meshes."""
        template = {"vertices": self.template.vertices.tolist(), "faces": self.template.faces.tolist()}
        return {**super().spec, "out_type": DISPLACEMENT, "area_weights": True, "template": template}

    @cached_property
    def fields(self) -> dict[str, Tensor]:
        """Displacements of the meshes of each split, float32 ``[meshes, V, 3]``."""
        template, surface = template_surface(self.spec["template"], self.num_levels)
        found = {}
        for split, files in self.files.items():
            rows = [displacements(read_mesh(path), template, surface, str(path)) for path, _ in files]
            with outside_inference_mode():
                found[split] = torch.from_numpy(np.stack(rows)).float() if rows else torch.empty(0)
        return found

    @cached_property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and size of both fields, float64 ``[2]``."""
        lengths = self.out_type.norms(self.fields["train"].double()).flatten(0, 1)
        normal = self.fields["train"].double()[..., 0]
        size = torch.stack([normal.std(), lengths[:, 1].square().mean().sqrt()])
        return torch.stack([normal.mean(), normal.new_zeros(())]), torch.where(size > 0, size, 1.0)

    def train_dataloader(self) -> Loader:
        return self._displaced("train")

    def val_dataloader(self) -> Loader | list:
        return self._displaced("val") if self.files["val"] else []

    def test_dataloader(self) -> Loader:
        if not self.files["test"]:
            raise InputError(f"{self.root}: there are no test meshes; set test_fraction above 0")
        return self._displaced("test")

    def _displaced(self, split: str) -> Loader:
        fields, surface = self.fields[split], self.hierarchy
        names = [str(path) for path, _ in self.files[split]]

        def collate(chosen: list[int]) -> SurfaceBatch:
            target, ones = fields[chosen], fields.new_ones(len(chosen), fields.shape[1], 1)
            return SurfaceBatch(ones, surface, target, None, [names[k] for k in chosen])

        return Loader(range(len(fields)), self.batch_size, split == "train", collate_fn=collate)


def template_surface(given: Mapping[str, Any], num_levels: int) -> tuple[TriangleMesh, Hierarchy]:
    """The template of a specification, and its hierarchy in float64.

    Raises
    ------
    InputError
        It is no mesh.
    """
    try:
        vertices, faces = np.asarray(given["vertices"], dtype=np.float64), np.asarray(given["faces"], dtype=np.int64)
        template = TriangleMesh(vertices, faces, "template")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"template: no mesh ({error}); train the model again") from error
    return template, template.hierarchy(num_levels)


def displacements(mesh: TriangleMesh, template: TriangleMesh, surface: Hierarchy, name: str) -> NDArray[np.float64]:
    """Displacements ``[V, 3]`` of the vertices of a mesh from those of the template, after a similarity onto it.

    Raises
    ------
    InputError
        The mesh has other triangles.
    """
    _check_faces(mesh, template, name)
    off = aligned(mesh.vertices, template.vertices) - template.vertices
    frames = surface.finest.frames.double().numpy()
    e1, e2, n = (np.einsum("vi,vi->v", off, frames[:, k]) for k in range(3))
    return np.stack([n, e1, e2], axis=1)


def displaced(template: TriangleMesh, surface: Hierarchy, field: Tensor, name: str) -> TriangleMesh:
    """The template with each vertex moved by a field ``[V, 3]``."""
    frames, values = surface.finest.frames.double().numpy(), field.double().numpy()
    off = sum(values[:, k, None] * frames[:, axis] for k, axis in ((0, 2), (1, 0), (2, 1)))
    return TriangleMesh(template.vertices + off, template.faces, name)


def aligned(points: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points moved, turned and scaled to the least distance from others (Umeyama 1991)."""
    a, b = points - points.mean(0), onto - onto.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (s * signs).sum() / max((a**2).sum(), np.finfo(float).tiny)
    return scale * a @ (u * signs) @ vt + onto.mean(0)


@dataclass(frozen=True, eq=False)
class DeformedMesh(MeshResult):
    """Reconstruction of a mesh by a model of displacements.

    Attributes
    ----------
    mesh : TriangleMesh
        In the position and size of the template.
    anomaly : float32 [V]
        Score of each vertex, about 1 where the mesh is as in the training.
    """

    mesh: TriangleMesh = field(repr=False)
    anomaly: NDArray[np.float32] = field(repr=False)

    columns = ("file", "anomaly")

    def row(self) -> dict[str, Any]:
        return {"file": self.name, "anomaly": float(self.anomaly.mean()), "mesh": None, "scores": None}

    def write(self, place: Path) -> dict[str, Path]:
        """``<place>.ply``, the mesh with the scores at its vertices, and ``<place>_anomaly.npy``."""
        written = {"mesh": place.with_name(f"{place.name}.ply"), "scores": place.with_name(f"{place.name}_anomaly.npy")}
        save_mesh(replace(self.mesh, vertex_data={"anomaly": self.anomaly}), written["mesh"])
        write_array(written["scores"], self.anomaly)
        return written


def _check_faces(mesh: TriangleMesh, template: TriangleMesh, name: str) -> None:
    if mesh.faces.shape != template.faces.shape or not np.array_equal(mesh.faces, template.faces):
        raise InputError(
            f"{name}: {mesh.num_faces} triangles, not those of the template with {template.num_faces}; give meshes "
            "that are registered to it"
        )
