"""Prediction of scalars and tangent fields at the vertices or faces of meshes, or at the points of maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.sample import MeshSample
from meshconv.datasets.meshes.transfer.element_frames import fields_at_elements
from meshconv.datasets.meshes.transfer.elements import ElementLabels, file_origin
from meshconv.datasets.meshes.transfer.file_fields import fields_in_space
from meshconv.errors import InputError
from meshconv.io.meshes.save import save_beside, save_mesh
from meshconv.train.inference.fields import FieldInference
from meshconv.train.predict.files import write_array
from meshconv.train.predict.meshes import Meshes, MeshResult

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.datasets.maps.frames import Frames
    from meshconv.train.predict.maps import Maps


@dataclass(frozen=True, eq=False)
class MeshFieldValues(MeshResult):
    """Fields at the vertices or faces of a mesh's file.

    Attributes
    ----------
    fields : dict of float32 [n] or [n, 3]
        Numbers, and vectors in space; NaN where the repair left out a vertex.
    element : "vertices" | "faces"
    """

    fields: dict[str, NDArray[np.float32]]
    element: Literal["vertices", "faces"] = "vertices"

    def row(self) -> dict[str, Any]:
        return {"file": self.name, **dict.fromkeys(self.fields)}

    def write(self, place: Path) -> dict[str, Path]:
        """``<place>_<field>.npy`` of each, and ``<place>.ply``, the mesh with all at its vertices or faces.

        Of a file of VTK also the file again with ``predicted_<field>`` beside its own arrays.
        """
        written = {}
        for name, values in self.fields.items():
            written[name] = place.with_name(f"{place.name}_{name}.npy")
            write_array(written[name], values)
        raw, on_faces = self.raw(), self.element == "faces"
        place_of = file_origin(raw).face_from if on_faces else file_origin(raw).vertex_from
        data = {name: values[place_of] for name, values in self.fields.items()}
        picture = place.with_name(f"{place.name}.ply")
        save_mesh(replace(raw, vertex_data={} if on_faces else data, face_data=data if on_faces else {}), picture)
        written["picture"] = picture
        if isinstance(self.source, Path):
            given = ({}, self.fields) if on_faces else (self.fields, {})
            again = save_beside(self.source, place, *given)
            written |= {} if again is None else {"file with predictions": again}
        return written


class RegressionInference(FieldInference):
    """Fields of any type, in units of the data.

    Attributes
    ----------
    mean, size : Tensor [out_type.dim]
        What the network's outputs are measured from and in.
    tangent : bool
        Whether vectors have no normal part.
    frames : Frames or None
        Of a residual, which is added to the latest of the maps that the network sees.
    """

    mean: Tensor
    size: Tensor

    def complete(self) -> None:
        super().complete()
        self.register_buffer("mean", torch.zeros(self.out_type.dim))
        self.register_buffer("size", torch.ones(self.out_type.dim))
        self.tangent: bool = self.spec.get("tangent", True) or 1 not in self.out_type.orders
        self.frames = _frames(self.spec) if self.hparams["residual"] else None

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Fields ``[..., V or n, out_type.dim]`` in units of the data, at the vertices or at the batch's elements."""
        if batch.elements is None or not (self.on_faces or batch.shares is not None):
            return self.at_points(batch) * self.size + (self.mean if self.frames is None else self.latest(batch.x))
        x, at = self.at_points(replace(batch, elements=None, shares=None)), (batch.elements, batch.shares)
        return fields_at_elements(x, batch.surface.finest, *at, self.out_type) * self.size + self.mean

    def at_points(self, batch: SurfaceBatch) -> Tensor:
        """What the network says: fields ``[..., V, out_type.dim]`` from ``mean`` in ``size``."""
        return super().forward(batch)

    def latest(self, x: Tensor) -> Tensor:
        """The latest state ``[..., V, out_type.dim]`` in network inputs, in units of the data."""
        assert self.frames is not None  # of a residual
        return self.frames.state(self.frames.split(x)[..., -1, :, :])

    @property
    def on_faces(self) -> bool:
        """Whether the fields are at faces."""
        return self.spec.get("element") == "faces"

    def describe_output(self) -> dict[str, Any]:
        if "targets" in self.spec:
            from meshconv.train.predict.maps import Maps

            names, units = Maps.names_of(self.spec["targets"])
            return {"name": "fields", "kind": "fields", "rows": "points", "columns": names, "units": units}
        rows = "faces" if self.on_faces else "vertices"
        names = list(self.field_names)
        return {"name": "fields", "kind": "fields", "rows": rows, "columns": names, "units": [None] * len(names),
                "tangent": self.tangent}  # fmt: skip

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        kind: Literal["vertices", "faces"] = "faces" if self.on_faces else "vertices"
        for sample, output in meshes.outputs(self, meshes.prepare(ElementLabels(kind)), lambda s: len(s.target)):
            yield MeshFieldValues(sample.name, sample.source, self.fields_in_space(sample, output), kind)

    def fields_in_space(self, sample: MeshSample, output: Tensor) -> dict[str, NDArray[np.float32]]:
        """Fields ``[n, out_type.dim]`` of a mesh at the vertices or faces of its file, vectors in space."""
        return fields_in_space(output, self.out_type, self.field_names, self.tangent, self.on_faces, sample)

    def predict_maps(self, maps: Maps) -> xr.Dataset:
        """Variables of the targets' names on the file's grid, of vectors one for each component, at their own times."""
        targets = self.spec["targets"]
        if targets["history"] > 1:
            raise InputError(f"{maps.fields.path}: the network sees {targets['history']} maps at once; give --steps 1")
        times = maps.times_after(targets["seconds"] or targets["lead"] or 0)
        return maps.dataset(maps.fields_of(self, targets), times, "fields predicted by meshconv")


def _frames(spec: Mapping[str, Any]) -> Frames:
    if "targets" not in spec or spec["targets"]["state"] is None:
        raise InputError("a residual is the difference from an input: name all targets among the inputs too")
    from meshconv.datasets.maps.frames import Frames

    return Frames.from_spec(spec)
