"""Predictions of a trained task on a user's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from meshconv.datasets.meshes.module import MESH_SUFFIXES, collate, meshes_below
from meshconv.errors import InputError
from meshconv.io.cache.cache import Cache
from meshconv.io.maps.remote import remote_address
from meshconv.train.checkpoint import load_task
from meshconv.train.predict.correspondence import predict_correspondence
from meshconv.train.predict.fields import predict_fields
from meshconv.train.predict.files import prepare_files, write_tables
from meshconv.train.predict.maps import predict_maps
from meshconv.train.predict.segments import predict_segments
from meshconv.train.tasks.base import Task
from meshconv.viz.predicted_maps import write_maps


def predict(
    checkpoint: str | Path,
    files: str | Path | Sequence[str | Path],
    output: str | Path,
    strict: bool = False,
    pixel_order: str | None = None,
    cache: Cache | None = None,
    workers: int | None = None,
    template: str | Path | None = None,
    maps: bool = False,
    steps: list[int] | None = None,
    probability: str | None = None,
    join: bool = False,
    select: Mapping[str, Any] | None = None,
    dimension: Sequence[str] | None = None,
) -> list[Path]:
    """Predict files with a checkpoint's own kind of task; returns the files written.

    Meshes: ``output.csv`` and ``output.json`` with class and probability of each mesh, prepared as those of the
    training were, in ``workers`` processes, with ``cache``
    (:func:`~meshconv.datasets.meshes.preparation.prepare_meshes`).
    Segments of meshes: labels of each, see :func:`~meshconv.train.predict.segments.predict_segments`. Fields of meshes:
    arrays of each, see :func:`~meshconv.train.predict.fields.predict_fields`.
    Correspondence: matches of each mesh to ``template`` or the first file, see
    :func:`~meshconv.train.predict.correspondence.predict_correspondence`.
    Maps of the sphere: labels and class probabilities for each input, ``output.nc`` (``output_<input>.nc`` if there
    are several; ``join`` takes the files for one input), at values to ``select`` and along ``dimension``
    (:func:`~meshconv.train.predict.maps.predict_maps`), and with ``maps`` pictures beside it of ``steps`` (the first
    and the last), with the ``probability`` of a class too (:func:`~meshconv.viz.predicted_maps.write_maps`).

    Raises
    ------
    InputError
        On a bad checkpoint or file, or files of another kind than the checkpoint was trained on.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    files = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    template = None if template is None else Path(template)
    task = load_task(checkpoint)
    kind = task.hparams["spec"]["kind"]
    predict_kinds: dict[str, Callable[..., list[Path]]] = {
        "meshes": _predict_meshes,
        "segments": predict_segments,
        "regression": predict_fields,
        "correspondence": partial(predict_correspondence, template=template),
    }
    if template is not None and kind != "correspondence":
        raise InputError(f"template {template}: {checkpoint} was trained on {kind}, which take none")
    for path in [*files, *([] if template is None else [template])]:
        if not path.exists() and remote_address(path) is None:
            raise InputError(f"{path}: no such file or folder")
        is_map, is_mesh = path.suffix.lower() in (".nc", ".nc4", ".zarr"), path.suffix.lower() in MESH_SUFFIXES
        if is_map if kind in predict_kinds else is_mesh:
            raise InputError(f"{path}: {checkpoint} was trained on {kind}, which this file is not; use another")
    if (select or dimension) and kind != "maps":
        raise InputError(f"select and dimension are for maps; {checkpoint} was trained on {kind}")
    if join and kind != "maps":
        raise InputError(f"join: {checkpoint} was trained on {kind}, whose files are predicted one by one")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output.parent}: no folder to write to ({error.strerror}); give another --output") from error
    if kind in predict_kinds:
        paths = [p for f in files for p in (meshes_below(f) if f.is_dir() else [f])]
        if not paths:
            raise InputError(f"{files[0]}: no mesh files ({', '.join(sorted(MESH_SUFFIXES))}) below it")
        return predict_kinds[kind](task, paths, output, strict, cache, workers)
    names = ["_".join(name.split()) for name in task.hparams["class_names"]]
    if probability is not None and probability not in names:
        raise InputError(f"probability: no class {probability!r}; it has {', '.join(names)}")
    inputs = [files] if join else [[path] for path in files]
    written = _predict_maps(task, inputs, output, pixel_order, cache, select, dimension)
    return [p for file in written for p in (file, *(write_maps(file, steps, probability) if maps else ()))]


def _predict_meshes(
    task: Task, paths: list[Path], output: Path, strict: bool, cache: Cache | None, workers: int | None
) -> list[Path]:
    names = task.hparams["class_names"]
    samples, problems = prepare_files(task, paths, strict, cache, workers)
    rows = []
    with torch.no_grad():
        for start in range(0, len(samples), 16):
            batch = collate(samples[start : start + 16])
            for name, p in zip(batch.names, task(batch).softmax(-1), strict=True):
                best = int(p.argmax())
                rows.append({"file": name, "class": names[best], "probability": float(p[best]),
                             "probabilities": dict(zip(names, p.tolist(), strict=True))})  # fmt: skip
    return write_tables(output, rows, ["file", "class", "probability"], problems)


def _predict_maps(
    task: Task,
    inputs: list[list[Path]],
    output: Path,
    pixel_order: str | None,
    cache: Cache | None,
    select: Mapping[str, Any] | None,
    dimension: Sequence[str] | None,
) -> list[Path]:
    """One prediction for the files of each of ``inputs``."""
    one = output.with_suffix(".nc")
    targets = [one if len(inputs) == 1 else one.with_name(f"{one.stem}_{paths[0].stem}.nc") for paths in inputs]
    for k, (paths, target) in enumerate(zip(inputs, targets, strict=True)):
        if target in targets[:k]:
            first, other = paths[0], inputs[targets.index(target)][0]
            raise InputError(
                f"{first}: its prediction would overwrite that of {other}, {target}; give each an --output of its own"
            )
        if target.resolve() in [path.resolve() for path in paths]:
            raise InputError(f"{target}: the prediction would overwrite its input; give another --output")
    for paths, target in zip(inputs, targets, strict=True):
        predict_maps(task, paths, target, pixel_order, cache, select, dimension)
    return targets
