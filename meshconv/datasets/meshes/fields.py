"""Data module of regression: scalars and vectors at the vertices or faces of meshes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.meshes.files import Split, check_fractions, meshes_below, warn_of_duplicates
from meshconv.datasets.meshes.layouts.arrays import Place, check_count, read_array
from meshconv.datasets.meshes.layouts.segments import LabelledFile, split_files
from meshconv.datasets.meshes.module import MeshData
from meshconv.datasets.meshes.sample import PreparedMesh
from meshconv.datasets.meshes.transfer.element_frames import frames_of
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.ambient import from_ambient

log = logging.getLogger(__name__)

# The share of a vector's square along the normal from which on it is said that it is left out.
_LARGE = 0.05


class MeshFields(MeshData):
    """Data module of meshes below a folder with named fields at the vertices or faces of their files.

    A field is an array ``[n]`` of numbers, or ``[n, 3]`` of vectors in space; NaN where missing. The field ``wss`` of
    ``tubes/7.ply`` is looked for in ``tubes/7_wss.npy``, ``tubes/7.wss.npy``, ``tubes/wss/7.npy``, below the root in
    ``wss/tubes/7.npy``, in ``tubes/wss.npy``, and among the attributes of the mesh file (the point and cell arrays of
    VTK): ``wss``, or for vectors ``wss_x``, ``wss_y`` and ``wss_z``. Of brain surfaces it may be an overlay
    (:func:`~meshconv.io.meshes.overlays.find_overlay`).

    Parameters
    ----------
    root
        The folder. Splits are as in :class:`~meshconv.datasets.meshes.segments.MeshSegments`.
    fields : list of str
        Their names.
    element : "vertices" | "faces"
        What the fields have values for; faces are the polygons of the file. A triangle has the value of its polygon.
    tangent
        True: of a vector the tangential part is the target. False: its component along the normal too, as a scalar
        (traction, displacement): the type is ``Nx0 + Nx1``, and predictions are whole vectors.
    test_fraction, val_fraction
        Shares for testing (1: all are), and of the rest for validation, without splits in the folder.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`. Vectors in space do not turn
        with the mesh: ``augment`` must not rotate, which invariant inputs do not need.

    Attributes
    ----------
    field_names : list of str
        Names of the fields: numbers first, then vectors, as in ``out_type``. Of vectors with a normal part first all
        ``<name>_normal``, then all ``<name>_tangent``.
    out_type : FieldType

    Raises
    ------
    InputError
        No meshes, or fields that are not there, belong to other elements, have another length than the mesh has of
        them, or another shape.
    """

    target_kind: ClassVar[str] = "fields at the vertices"
    takes_patches = True

    def __init__(
        self,
        root: str,
        fields: Sequence[str],
        element: Place = "vertices",
        tangent: bool = True,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        **options: Any,
    ):
        super().__init__(**options)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        if (options.get("augment") or {}).get("rotation"):
            raise InputError("augment: rotation would leave the vectors behind; invariant inputs do not need it")
        if not fields or len(set(fields)) < len(fields):
            raise InputError(f"fields: {list(fields)}; name at least one, each once")
        if element not in get_args(Place):
            raise InputError(f"element {element!r} is not known; use one of {', '.join(get_args(Place))}")
        self.element, self.tangent = element, tangent
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: not a folder; give one with meshes and their fields")
        meshes = meshes_below(self.root, self.pattern)
        if not meshes:
            raise InputError(f"{root}: no mesh files in it or below it")
        vectors = [name for name, ndim in zip(fields, self._dimensions(meshes, fields), strict=True) if ndim == 2]
        scalars = [name for name in fields if name not in vectors]
        self.field_names = [*scalars, *vectors]
        if not tangent:
            parts = [f"{name}_{part}" for part in ("normal", "tangent") for name in vectors]
            self.field_names = [*scalars, *parts]
        normal = 0 if tangent else len(vectors)
        self.out_type = FieldType.from_multiplicities([len(scalars) + normal, len(vectors)])
        # Of each mesh the squares of its vectors, and of their parts along the normal.
        self._squares: dict[Path, NDArray[np.float64]] = {}
        pairs = [LabelledFile(mesh, None) for mesh in meshes]
        for split, part in self.split(pairs, test_fraction, val_fraction).items():
            of = (self.root, tuple(scalars), tuple(vectors), element, tangent, self._squares)
            files = [(p.mesh, _FieldsOf(p.mesh, *of)) for p in part]
            self.files[split] += files
        warn_of_duplicates(*([path for path, _ in self.files[part]] for part in ("train", "test")))

    def split(
        self, pairs: Sequence[LabelledFile], test_fraction: float, val_fraction: float
    ) -> dict[Split, list[LabelledFile]]:
        """Meshes of each split; data sets with a layout of their own say it here."""
        return split_files(self.root, pairs, test_fraction, val_fraction, self.seed)

    def _dimensions(self, meshes: Sequence[Path], fields: Sequence[str]) -> list[int]:
        """Of each field's array, by the first mesh that has all of them."""
        first: InputError | None = None
        for mesh in meshes:
            try:
                return [read_array(mesh, name, self.root, self.element).ndim for name in fields]
            except InputError as error:
                if self.strict:
                    raise
                first = first or error
        assert first is not None  # there are meshes
        raise first

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of inputs and targets, in plain values."""
        more: dict[str, Any] = {} if self.element == "vertices" else {"element": self.element}
        more |= {} if self.tangent else {"tangent": False}
        return {**super().spec, "out_type": str(self.out_type), **more}

    @cached_property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and size of each field over the training vertices, float64 ``[fields]``.

        For scalars mean and standard deviation; for vectors 0 and the root mean square of the norm, which are
        gauge-invariant.
        """
        target = torch.cat([sample.target for sample in self.samples("train")]).to(torch.float64)
        self._say_what_is_left_out()
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

    def _say_what_is_left_out(self) -> None:
        trained = [self._squares[path] for path, _ in self.files["train"] if path in self._squares]
        if not self.tangent or not trained:
            return
        whole, along = np.sum(trained, axis=0)
        for name, share in zip(self.field_names[-len(whole) :], along / np.where(whole > 0, whole, 1), strict=True):
            if share > _LARGE:
                log.warning("%s: %.0f %% of the square of %s is along the normal and left out; tangent: false predicts "
                            "whole vectors", self.root, 100 * share, name)  # fmt: skip


@dataclass(frozen=True)
class _FieldsOf:
    """Reads the fields of a file's elements and puts them on the mesh that is made of it."""

    path: Path
    root: Path
    scalars: tuple[str, ...]
    vectors: tuple[str, ...]
    element: Place
    tangent: bool
    squares: dict[Path, NDArray[np.float64]] = field(repr=False)

    def __call__(self, mesh: PreparedMesh) -> tuple[torch.Tensor, torch.Tensor | None]:
        graph, origin = mesh.surface.finest, mesh.origin
        if self.element == "vertices":
            count, place, elements = len(origin.vertex_to), origin.vertex_from, None
        else:
            count, place, elements = len(origin.face_to), origin.face_from, mesh.faces.to(torch.int64)
        parts = [torch.from_numpy(self._read(name, count, 1)[place])[:, None] for name in self.scalars]
        if self.vectors:
            stacked = np.stack([self._read(name, count, 2) for name in self.vectors], axis=1)
            inside, number = torch.from_numpy(stacked[place]), len(self.vectors)
            both = from_ambient(inside, frames_of(graph, elements, mesh.places), f"{number}x0 + {number}x1")
            along = both[:, :number].square().nansum(0)
            self.squares[self.path] = torch.stack([inside.square().sum(-1).nansum(0), along]).numpy()
            parts.append(both[:, number:] if self.tangent else both)
        target = torch.cat(parts, dim=1).to(torch.float32)
        if elements is None:  # what no face uses is nowhere on the surface
            areas = graph.areas if mesh.places is None else graph.areas[mesh.places.corners[:, 0].to(torch.int64)]
            target[areas <= 0] = torch.nan
        return target, elements

    def _read(self, name: str, count: int, ndim: int) -> NDArray[np.float64]:
        values = read_array(self.path, name, self.root, self.element)
        check_count(str(self.path), name, values, count, self.element)
        if values.ndim != ndim:
            kinds = {1: "numbers", 2: "vectors"}
            raise InputError(f"{self.path}: field {name!r} has {kinds[values.ndim]}, elsewhere {kinds[ndim]}")
        return values
