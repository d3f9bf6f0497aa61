"""Data module of regression: scalars and vectors at the vertices of meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.meshes.module import MeshData, check_fractions, meshes_below, warn_of_duplicates
from meshconv.datasets.meshes.preparation import PreparedMesh
from meshconv.datasets.meshes.segment_layouts import LabelledFile, split_files
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.io.meshes.load import read_mesh
from meshconv.nn.ambient import from_ambient


class MeshFields(MeshData):
    """Data module of meshes below a folder with named fields at the vertices of their files.

    A field is an array ``[V]`` of numbers, or ``[V, 3]`` of vectors in space, whose tangential part is the target; NaN
    where missing. The field ``wss`` of ``tubes/7.ply`` is looked for in ``tubes/7_wss.npy``, ``tubes/7.wss.npy``,
    ``tubes/wss/7.npy``, below the root in ``wss/tubes/7.npy``, and among the vertex attributes of the mesh file:
    ``wss``, or for vectors ``wss_x``, ``wss_y`` and ``wss_z``.

    Parameters
    ----------
    root
        The folder. Splits are as in :class:`~meshconv.datasets.meshes.segments.MeshSegments`.
    fields : list of str
        Their names.
    test_fraction, val_fraction
        Shares for testing, and of the rest for validation, without splits in the folder.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`. Vectors in space do not turn
        with the mesh: ``augment`` must not rotate, which invariant inputs do not need.

    Attributes
    ----------
    field_names : list of str
        Names of the fields: numbers first, then vectors, as in ``out_type``.
    out_type : FieldType

    Raises
    ------
    InputError
        No meshes, or fields that are not there, have another length than the mesh has vertices, or another shape.
    """

    target_kind: ClassVar[str] = "fields at the vertices"
    takes_resolution = False

    def __init__(
        self, root: str, fields: Sequence[str], test_fraction: float = 0.2, val_fraction: float = 0.0, **options: Any
    ):
        super().__init__(**options)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        if (options.get("augment") or {}).get("rotation"):
            raise InputError("augment: rotation would leave the vectors behind; invariant inputs do not need it")
        if not fields or len(set(fields)) < len(fields):
            raise InputError(f"fields: {list(fields)}; name at least one, each once")
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: not a folder; give one with meshes and their fields")
        meshes = meshes_below(self.root)
        if not meshes:
            raise InputError(f"{root}: no mesh files in it or below it")
        vectors = [name for name, ndim in zip(fields, self._dimensions(meshes, fields), strict=True) if ndim == 2]
        scalars = [name for name in fields if name not in vectors]
        self.field_names = [*scalars, *vectors]
        self.out_type = FieldType.from_multiplicities([len(scalars), len(vectors)])
        pairs = [LabelledFile(mesh, None) for mesh in meshes]
        for split, part in split_files(self.root, pairs, test_fraction, val_fraction, self.seed).items():
            files = [(p.mesh, _FieldsOf(p.mesh, self.root, tuple(scalars), tuple(vectors))) for p in part]
            self.files[split] += files
        warn_of_duplicates(*([path for path, _ in self.files[part]] for part in ("train", "test")))

    def _dimensions(self, meshes: Sequence[Path], fields: Sequence[str]) -> list[int]:
        """Of each field's array, by the first mesh that has all of them."""
        first: InputError | None = None
        for mesh in meshes:
            try:
                return [read_field(mesh, name, self.root).ndim for name in fields]
            except InputError as error:
                if self.strict:
                    raise
                first = first or error
        assert first is not None  # there are meshes
        raise first

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of inputs and targets, in plain values."""
        return {**super().spec, "out_type": str(self.out_type)}

    @cached_property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and size of each field over the training vertices, float64 ``[fields]``.

        For scalars mean and standard deviation; for vectors 0 and the root mean square of the norm, which are
        gauge-invariant.
        """
        target = torch.cat([sample.target for sample in self.samples("train")]).to(torch.float64)
        lengths = self.out_type.norms(target)
        count, scalars = self.out_type.multiplicities[0], target[:, self.out_type.slice(0)]
        mean = torch.zeros(lengths.shape[1], dtype=torch.float64)
        mean[:count] = scalars.nanmean(0)
        off = torch.cat([scalars - mean[:count], lengths[:, count:]], dim=1)
        size = off.square().nanmean(0).sqrt()
        if size.isnan().any():
            unknown = self.field_names[int(size.isnan().nonzero()[0])]
            raise InputError(f"{self.root}: field {unknown!r} is unknown at every training vertex")
        return mean, torch.where(size > 0, size, 1.0)


@dataclass(frozen=True)
class _FieldsOf:
    """Reads the fields of a file's vertices and puts them on the mesh that is made of it."""

    path: Path
    root: Path
    scalars: tuple[str, ...]
    vectors: tuple[str, ...]

    def __call__(self, mesh: PreparedMesh) -> tuple[torch.Tensor, None]:
        graph = mesh.surface.finest
        count = len(mesh.origin.vertex_to)
        place = mesh.origin.vertex_from
        parts = [torch.from_numpy(self._read(name, count, 1)[place])[:, None] for name in self.scalars]
        if self.vectors:
            stacked = np.stack([self._read(name, count, 2) for name in self.vectors], axis=1)
            inside = torch.from_numpy(stacked[place])
            parts.append(from_ambient(inside, graph, f"{len(self.vectors)}x1"))
        return torch.cat(parts, dim=1).to(torch.float32), None

    def _read(self, name: str, count: int, ndim: int) -> NDArray[np.float64]:
        values = read_field(self.path, name, self.root)
        if len(values) != count:
            raise InputError(
                f"{self.path}: field {name!r} has {len(values)} values, the mesh {count} vertices; give one for each"
            )
        if values.ndim != ndim:
            kinds = {1: "numbers", 2: "vectors"}
            raise InputError(f"{self.path}: field {name!r} has {kinds[values.ndim]}, elsewhere {kinds[ndim]}")
        return values


def read_field(mesh: Path, name: str, root: Path) -> NDArray[np.float64]:
    """Field of a mesh file, float64 ``[V]`` or ``[V, 3]``, NaN where it is not finite; see :class:`MeshFields`.

    Raises
    ------
    InputError
        It is nowhere, cannot be read, or is of another shape.
    """
    folder = mesh.parent
    places = [*(folder / f"{mesh.stem}{mark}{name}.npy" for mark in "_.-"), folder / name / f"{mesh.stem}.npy"]
    places.append(root / name / mesh.relative_to(root).with_suffix(".npy"))
    place = next((p for p in places if p.is_file()), mesh)
    if place == mesh:
        raw = read_mesh(mesh)
        found = _attribute(raw.vertex_data, name)
        if found is None:
            raise InputError(f"{mesh}: no field {name!r}: no vertices' attribute, no {places[0]}, no {places[-1]}")
        values = raw.to_original_vertices(found.astype(np.float64) if found.dtype.kind in "biu" else found)
    else:
        try:
            values = np.load(place, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{place}: no array of numpy ({error}); write it with numpy.save") from error
    if values.dtype.kind not in "fiu" or values.shape[1:] not in ((), (1,), (3,)):
        shape = list(values.shape)
        raise InputError(f"{place}: field {name!r} is {values.dtype} {shape}; it takes numbers [V] or [V, 3]")
    values = values.astype(np.float64)
    values = values[:, 0] if values.shape[1:] == (1,) else values
    return np.where(np.isfinite(values), values, np.nan)


def _attribute(data: dict[str, NDArray], name: str) -> NDArray | None:
    """Values of this name; of vectors also in three columns."""
    for endings in (("",), ("_x", "_y", "_z"), ("x", "y", "z"), (".x", ".y", ".z"), ("_0", "_1", "_2")):
        columns = [data[name + end] for end in endings if name + end in data]
        if len(columns) == len(endings):
            return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    return None
