"""Predicted fields of meshes, at the vertices of their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.meshes.module import collate
from meshconv.datasets.meshes.preparation import MeshSample
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.save import save_mesh
from meshconv.nn.ambient import to_ambient
from meshconv.train.predict.files import output_places, prepare_files
from meshconv.train.tasks.base import Task


def predict_fields(
    task: Task, paths: list[Path], output: Path, strict: bool, cache: Cache | None, workers: int | None
) -> list[Path]:
    """Write for each mesh ``output_<name>_<field>.npy``, and ``output_<name>.ply`` with all fields at its vertices.

    Arrays are ``[V]`` for numbers and ``[V, 3]`` for vectors in space, in the order of the file; NaN where the repair
    left out a vertex.

    Parameters
    ----------
    task
        Trained on :class:`~meshconv.datasets.meshes.fields.MeshFields`.
    paths, output, strict, cache, workers
        As of :func:`~meshconv.train.predict.predictor.predict`.

    Raises
    ------
    InputError
        A mesh cannot be used (with ``strict``, or none of them), or the output cannot be written.
    """
    samples, _ = prepare_files(task, paths, strict, cache, workers)
    written = []
    for sample, place in zip(samples, output_places(output, [Path(s.name) for s in samples]), strict=True):
        fields = _fields(task, sample)
        for name, values in fields.items():
            target = place.with_name(f"{place.name}_{name}.npy")
            try:
                with atomic_write(target) as part, part.open("wb") as stream:
                    np.save(stream, values)
            except OSError as error:
                raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
            written.append(target)
        raw = read_mesh(sample.name)
        if raw.origin is not None:
            fields = {name: values[raw.origin.vertex_from] for name, values in fields.items()}
        picture = place.with_name(f"{place.name}.ply")
        save_mesh(replace(raw, vertex_data=fields, face_data={}), picture)
        written.append(picture)
    return written


def _fields(task: Task, sample: MeshSample) -> dict[str, NDArray[np.float32]]:
    """Fields by name, ``[V]`` or ``[V, 3]``, at the vertices of the file."""
    assert sample.origin is not None
    with torch.no_grad():
        x = task(collate([sample]))
    kind, names = FieldType(task.hparams["spec"]["out_type"]), task.hparams["field_names"]
    graph = sample.surface.finest
    columns = list(x[:, kind.slice(0)].unbind(1)) if 0 in kind.orders else []
    if 1 in kind.orders:
        columns += to_ambient(x[:, kind.slice(1)], graph, f"{kind.multiplicities[1]}x1").unbind(1)
    return {n: sample.origin.to_original_vertices(c.numpy()) for n, c in zip(names, columns, strict=True)}
