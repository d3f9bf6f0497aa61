"""Points of meshes matched to those of a template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.datasets.meshes.correspondence import collate_samples
from meshconv.datasets.meshes.elements import file_origin
from meshconv.datasets.meshes.preparation import Preparation, prepare_meshes
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.save import save_mesh
from meshconv.train.predict.files import output_places
from meshconv.train.tasks.base import Task
from meshconv.train.tasks.correspondence import CorrespondenceTask, Maps, mesh_of

_GREY = 160


def predict_correspondence(
    task: Task,
    paths: list[Path],
    output: Path,
    strict: bool = False,
    cache: Cache | None = None,
    workers: int | None = None,
    template: Path | None = None,
) -> list[Path]:
    """Match every mesh to a template.

    Parameters
    ----------
    paths
        Mesh files.
    output
        Beginning of the names of what is written: ``output_<mesh>.txt`` has, for each vertex of the mesh's file, the
        vertex of the template's file that it is matched to (the first is 0; -1: in no face), ``output_<mesh>.ply`` the
        mesh in the template's colours, and ``output_template.ply`` the template in them.
    template
        The first of ``paths`` by default.

    Returns
    -------
    list of Path
        The files written.
    """
    assert isinstance(task, CorrespondenceTask)  # by the kind of checkpoint
    template = template or paths[0]
    others = [p for p in paths if p != template]
    if not others:
        raise InputError(f"{template}: nothing to match to it; give at least two meshes, or --template")
    how = Preparation.from_spec(task.hparams["spec"])
    samples, problems = prepare_meshes(
        [(p, -1) for p in (template, *others)], how, strict=strict, cache=cache, workers=workers
    )
    if not samples or samples[0].name != str(template) or len(samples) == 1:
        raise InputError(f"{problems[0]}; nothing can be matched" if problems else f"{template}: cannot be used")
    maps = Maps([task.embed(collate_samples([s])) for s in samples], [mesh_of(s, how) for s in samples])
    match = maps.refined if task.refine else maps.match

    *places, _ = output_places(output, [*(Path(s.name) for s in samples[1:]), template], taken=["template"])
    raw = read_mesh(template)
    colours = position_colours(raw)
    written = [output.with_name(f"{output.name}_template.ply")]
    save_mesh(_coloured(raw, colours), written[0])
    first, colours = samples[0].origin, colours[file_origin(raw).vertex_to]
    for k, (sample, place) in enumerate(zip(samples[1:], places, strict=True), 1):
        assert first is not None and sample.origin is not None  # prepared from files
        matches = sample.origin.to_original_vertices(first.vertex_from[match(k, 0).numpy()])
        raw = read_mesh(sample.name)
        read = file_origin(raw)  # of formats that split vertices it has fewer than the file
        matches[~in_faces(raw)[read.vertex_to]] = -1
        table, picture = (place.with_name(place.name + suffix) for suffix in (".txt", ".ply"))
        with atomic_write(table) as part:
            np.savetxt(part, matches, fmt="%d")
        found = np.where(matches[:, None] >= 0, colours[matches], np.uint8(_GREY))
        save_mesh(_coloured(raw, found[read.vertex_from]), picture)
        written += [table, picture]
    return written


def position_colours(mesh: TriangleMesh) -> NDArray[np.uint8]:
    """Red, green and blue along x, y and z, uint8 ``[V, 3]``."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    share = (mesh.vertices - low) / np.where(high > low, high - low, 1.0)
    return np.round(30 + 225 * share).astype(np.uint8)


def in_faces(mesh: TriangleMesh) -> NDArray[np.bool_]:
    """Vertices that some face has, bool ``[V]``."""
    found = np.zeros(mesh.num_vertices, dtype=bool)
    found[mesh.faces] = True
    return found


def _coloured(mesh: TriangleMesh, colours: NDArray[np.uint8]) -> TriangleMesh:
    return TriangleMesh(mesh.vertices, mesh.faces, mesh.name, {"color": colours})
