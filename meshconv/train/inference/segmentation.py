"""Prediction of one class per point, face or edge, of meshes and of maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meshconv.datasets.meshes.transfer.elements import (
    ElementKind,
    ElementLabels,
    check_kind,
    edges_of,
    elements_of_file,
    file_origin,
)
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.save import save_beside, save_mesh
from meshconv.palettes import rgb_of, zone_colors
from meshconv.train.inference.classes import ClassInference
from meshconv.train.predict.files import write_text
from meshconv.train.predict.meshes import Meshes, MeshResult

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps


@dataclass(frozen=True, eq=False)
class MeshLabels(MeshResult):
    """Labels of a mesh's vertices, faces or edges, in the order of its file.

    Attributes
    ----------
    element : "vertices" | "faces" | "edges"
    labels : int64 or object [n]
        Values of the training's files; where the file has no place for them a number that is none.
    probabilities : float32 [n, classes]
        NaN there.
    classes : int64 [n]
        Their place among ``class_names``, -1 there.
    class_names : list of str
    """

    element: ElementKind
    labels: NDArray
    probabilities: NDArray[np.float32]
    classes: NDArray[np.int64]
    class_names: list[str]

    columns: ClassVar[tuple[str, ...]] = ("file", "labels", "element", "count", "unknown", "probability")

    @property
    def probability(self) -> NDArray[np.float32]:
        """Of each label, ``[n]``."""
        return self.probabilities.max(axis=1)

    def row(self) -> dict[str, Any]:
        known = self.classes >= 0
        counts = Counter(self.classes[known].tolist())
        return {
            "file": self.name, "labels": None, "element": self.element, "count": len(known),
            "unknown": int((~known).sum()),
            "probability": float(self.probability[known].mean(dtype=np.float64)) if known.any() else None,
            "classes": {name: counts[k] for k, name in enumerate(self.class_names) if counts[k]},
        }  # fmt: skip

    def write(self, place: Path) -> dict[str, Path]:
        """``<place>.txt``, a label a line, and ``<place>.ply``, the mesh with labels as attribute and colours.

        Of a file of VTK also the file again with ``predicted_label`` beside its own arrays.
        """
        text, picture = place.with_name(place.name + ".txt"), place.with_name(place.name + ".ply")
        write_text(text, "".join(f"{label}\n" for label in self.labels.tolist()))
        save_mesh(self.painted(), picture)
        written = {"labels": text, "picture": picture}
        if isinstance(self.source, Path) and self.element != "edges":
            shown = {"label": (self.classes if self.labels.dtype == object else self.labels).astype(np.int32)}
            on_faces = self.element == "faces"
            again = save_beside(self.source, place, {} if on_faces else shown, shown if on_faces else {})
            written |= {} if again is None else {"file with predictions": again}
        return written

    def painted(self) -> TriangleMesh:
        """The mesh of the file with labels and colours on vertices or faces; a vertex has that of most of its edges."""
        raw, classes, names = self.raw(), self.classes, self.class_names
        palette = rgb_of([*zone_colors(names), "#bbbbbb"])
        origin = file_origin(raw)
        shown = classes if self.labels.dtype == object else self.labels
        if self.element == "edges":
            votes = np.zeros((raw.num_vertices, len(names) + 1), dtype=np.int64)
            for end in edges_of(raw.faces).T:
                np.add.at(votes, (end, classes), 1)
            classes = votes.argmax(axis=1)
            return replace(raw, vertex_data=_data(classes, palette, classes), face_data={})
        on_faces = self.element == "faces"
        place = origin.face_from if on_faces else origin.vertex_from
        data = _data(shown[place], palette, classes[place])
        return replace(raw, vertex_data={} if on_faces else data, face_data=data if on_faces else {})


def _unknown(values: list[int | str]) -> int:
    """A label for places that have none: -1, or the next number below that is no class."""
    return next(k for k in range(-1, -len(values) - 2, -1) if k not in values)


def _data(labels: NDArray, palette: NDArray, classes: NDArray[np.int64]) -> dict[str, NDArray]:
    return {"label": labels.astype(np.int32), "color": palette[classes]}


def _label(probability: NDArray, labels: NDArray, missing: np.signedinteger) -> NDArray:
    """Value of the most probable class, ``[steps, classes, ...]`` to ``[steps, ...]``."""
    known = np.isfinite(probability).all(axis=1)
    return np.where(known, labels[np.nan_to_num(probability).argmax(axis=1)], missing)


class SegmentationInference(ClassInference):
    """One class per point, face or edge."""

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        super().check_spec(spec)
        values = spec.get("class_values")
        if "inputs" not in spec:
            check_kind(spec.get("element"))
        if not isinstance(values, list) or not all(type(value) in (int, str) for value in values):
            raise InputError(f"class_values {values!r} are not whole numbers or words")

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshLabels]:
        kind: ElementKind = self.spec["element"]
        values = np.asarray(self.spec["class_values"], dtype=object)
        samples = meshes.prepare(ElementLabels(kind))
        for sample, logits in meshes.outputs(self, samples, lambda sample: len(sample.target)):
            place = elements_of_file(kind, sample, sample.raw())
            known = (place >= 0)[:, None]
            probabilities = np.where(known, logits.softmax(-1).numpy()[place], np.float32(np.nan))
            classes = np.where(known[:, 0], logits.argmax(-1).numpy()[place], -1)
            labels = np.append(values, _unknown(values.tolist()))[classes]
            labels = labels if any(isinstance(v, str) for v in values) else labels.astype(np.int64)
            yield MeshLabels(sample.name, sample.source, kind, labels, probabilities, classes, self.class_names)

    def predict_maps(self, maps: Maps) -> xr.Dataset:
        """Variables ``label``, as the training's files have them, and ``probability`` of each ``class``."""
        names = ["_".join(name.split()) for name in self.class_names]
        labels = np.asarray(self.spec["class_values"])
        labels = labels.astype(np.result_type(np.int16, *map(np.min_scalar_type, labels)))
        missing = np.setdiff1d(np.arange(-1, -len(labels) - 2, -1, dtype=labels.dtype), labels)[-1]
        probability = maps.values(lambda batch: self(batch).softmax(-1), len(names))
        label = probability.map_blocks(_label, labels, missing, drop_axis=1, dtype=labels.dtype)  # type: ignore[arg-type]
        flags = {"flag_values": labels, "flag_meanings": " ".join(names)}
        variables = {
            "label": maps.variable(label, missing, (), long_name="most probable class", **flags),
            "probability": maps.variable(
                probability, np.float32(np.nan), ("class",), long_name="probability of the class", units="1"
            ),
        }
        return maps.dataset(
            variables, {"class": ("class", np.asarray(names, dtype=object))}, "classes predicted by meshconv"
        )
