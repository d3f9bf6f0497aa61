"""Predicted labels of a mesh's vertices, faces or edges, in the order of its file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from meshconv.datasets.meshes.elements import ElementKind, ElementLabels, edges_of, file_origin, to_file
from meshconv.datasets.meshes.module import collate
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.save import save_mesh
from meshconv.train.predict.files import output_places, prepare_files, write_tables
from meshconv.train.tasks.base import Task
from meshconv.viz import zone_colors


def predict_segments(
    task: Task, paths: list[Path], output: Path, strict: bool, cache: Cache | None, workers: int | None
) -> list[Path]:
    """Label every vertex, face or edge of meshes, as their files number them.

    For each mesh ``output_<name>.txt``, one label a line in the values of the training's files, and
    ``output_<name>.ply``, the mesh with the labels as attribute and colours. For all of them ``output.csv`` and
    ``output.json``: how many elements have each class, and how sure the network was on average.

    Parameters
    ----------
    task
        Trained on :class:`~meshconv.datasets.meshes.segments.MeshSegments`.
    paths, output, strict, cache, workers
        As of :func:`~meshconv.train.predict.predictor.predict`.

    Raises
    ------
    InputError
        No mesh can be used, or the output cannot be written.
    """
    spec = task.hparams["spec"]
    kind: ElementKind = spec["element"]
    samples, problems = prepare_files(task, paths, strict, cache, workers, ElementLabels(kind))
    values, names = list(spec["class_values"]), task.hparams["class_names"]
    unknown = _unknown(values)
    rows: list[dict[str, Any]] = []
    written = []
    places = output_places(output, [Path(s.name) for s in samples])
    for sample, place in zip(samples, places, strict=True):
        with torch.no_grad():
            best = task(collate([sample])).softmax(-1).max(-1)
        raw = read_mesh(sample.name)
        classes = to_file(best.indices.numpy(), kind, sample, raw)
        labels = [unknown if c < 0 else values[c] for c in classes.tolist()]
        text, picture = place.with_name(place.name + ".txt"), place.with_name(place.name + ".ply")
        try:
            with atomic_write(text) as part:
                part.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{text}: cannot be written ({error.strerror}); choose another place") from error
        save_mesh(_painted(raw, classes, labels, kind, names), picture)
        written += [text, picture]
        counts = Counter(labels)
        rows.append({
            "file": sample.name, "labels": str(text), "element": kind, "count": len(labels),
            "unknown": int((classes < 0).sum()), "probability": float(best.values.mean()),
            "classes": {name: counts[value] for name, value in zip(names, values, strict=True) if counts[value]},
        })  # fmt: skip
    columns = [key for key in rows[0] if key != "classes"]
    return [*written, *write_tables(output, rows, columns, problems)]


def _unknown(values: list[int | str]) -> int:
    """A label for places that have none: -1, or the next number below that is no class."""
    return next(k for k in range(-1, -len(values) - 2, -1) if k not in values)


def _painted(
    raw: TriangleMesh, classes: NDArray[np.int64], labels: list[Any], kind: ElementKind, names: list[str]
) -> TriangleMesh:
    """The mesh of the file with labels and colours on vertices or faces; a vertex has that of most of its edges."""
    palette = np.array([to_rgb(color) for color in [*zone_colors(names), "#bbbbbb"]])
    origin = file_origin(raw)
    words = any(isinstance(label, str) for label in labels)
    shown = classes if words else np.array(labels, dtype=np.int64)
    if kind == "edges":
        votes = np.zeros((raw.num_vertices, len(names) + 1), dtype=np.int64)
        for end in edges_of(raw.faces).T:
            np.add.at(votes, (end, classes), 1)
        classes = votes.argmax(axis=1)
        return replace(raw, vertex_data=_data(classes, palette, classes), face_data={})
    place = origin.face_from if kind == "faces" else origin.vertex_from
    data = _data(shown[place], palette, classes[place])
    on_faces = kind == "faces"
    return replace(raw, vertex_data={} if on_faces else data, face_data=data if on_faces else {})


def _data(labels: NDArray, palette: NDArray, classes: NDArray[np.int64]) -> dict[str, NDArray]:
    return {"label": labels.astype(np.int32), "color": np.round(255 * palette[classes]).astype(np.uint8)}
