"""Preparation of collections of meshes, in parallel processes, cached."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import (
    Labelling,
    MeshSample,
    MeshSource,
    Places,
    PreparedMesh,
    Sample,
    StoredSample,
    name_of,
)
from meshconv.datasets.meshes.stored import EntryMemory
from meshconv.datasets.processes import map_in_order
from meshconv.errors import InputError
from meshconv.io.cache.cache import Cache, Computation, Key, cache_key
from meshconv.io.cache.records import decode_record
from meshconv.progress import Progress

log = logging.getLogger(__name__)

# All from the bytes of a file to what networks take: reading, repair, simplification, variants, geometry, features.
_PREPARED = Computation("prepared mesh", 6, ("fast-simplification", "numpy", "robust_laplacian", "scipy", "trimesh"))


def prepare_mesh(
    path: str | Path, label: int | Labelling = -1, how: Preparation | None = None, cache: Cache | None = None
) -> MeshSample:
    """Prepare one mesh; :class:`InputError` if it cannot be used."""
    (sample,), _ = prepare_meshes([(Path(path), label)], how, strict=True, cache=cache)
    return sample


def prepare_meshes(
    paths: Sequence[tuple[MeshSource, int | Labelling]],
    how: Preparation | None = None,
    *,
    strict: bool = False,
    what: str = "preparing meshes",
    cache: Cache | None = None,
    workers: int | None = None,
    memory: EntryMemory | None = None,
) -> tuple[list[Any], list[str]]:
    """Prepare many meshes with a progress bar.

    Parameters
    ----------
    paths : sequence of (path or mesh, label)
        The class of the mesh, or what makes target and elements from the :class:`PreparedMesh`.
    how : Preparation, optional
    strict
        Raise the error of the first mesh that cannot be used.
    what
        Shown beside the bar.
    cache : Cache, optional
        Where results are looked up and kept; none by default.
    workers
        Processes; see :func:`~meshconv.datasets.processes.map_in_order`.
    memory : EntryMemory, optional
        Of the same cache: samples that are in it are :class:`StoredSample`, others and without it :class:`MeshSample`.

    Returns
    -------
    samples, problems
        In the order of ``paths``, whatever the number of workers. A mesh that cannot be used is reported and left out.

    Notes
    -----
    ``tests/test_preparation.py`` checks that cache and workers change no bit.
    """
    how, cache, start = how or Preparation(), cache or Cache(None), time.perf_counter()
    found: dict[int, Sample] = {}
    problems: dict[int, str] = {}
    missing: list[tuple[int, MeshSource, Key]] = []

    def add(i: int, entry: dict[str, Any], key: Key) -> None:
        path, label = paths[i]
        for level, text in entry["said"]:
            log.log(level, "%s: %s", name_of(path), text)
        file_faces = entry["faces"] if entry["file_faces"] is None else entry["file_faces"]
        places = None if entry["places"] is None else Places(*entry["places"])
        mesh = PreparedMesh(entry["x"], entry["surface"], entry["origin"], entry["faces"], file_faces, places)
        try:
            target, elements = label(mesh) if callable(label) else (torch.tensor(label), None)
        except InputError as error:
            fail(i, error)
            return
        if memory is not None and key.content:
            memory.put(key, entry)
            found[i] = StoredSample(key, how.entry, memory, target, name_of(path), elements, path, len(mesh.x))
        else:
            found[i] = MeshSample(mesh.x, mesh.surface, target, name_of(path), mesh.origin, elements, path, mesh.places)

    def fail(i: int, error: InputError) -> None:
        if strict:
            raise error
        problems[i] = str(error)

    with Progress(len(paths), what, "mesh") as bar:
        for i, (path, _) in enumerate(paths):
            try:
                content = ""
                if cache.folder and isinstance(path, Path) and path.is_file():
                    content = how.content(path)
                key = cache_key(_PREPARED, content, how.spec)
                entry = cache.load(key) if key.content else None
            except InputError as error:
                fail(i, error)
                bar.update()
                continue
            if entry is None:
                missing.append((i, path, key))
            else:
                add(i, entry, key)
                bar.update()
        files = [(path, key) for _, path, key in missing]
        with closing(map_in_order(partial(_encoded, how=how), files, workers)) as results:
            for (i, _, key), result in zip(missing, results, strict=True):
                if isinstance(result, InputError):
                    fail(i, result)
                else:
                    if key.content:
                        cache.store(key, result)
                    add(i, decode_record(result)[0], key)
                bar.update()
    _report(what, len(paths), list(problems.values()), len(missing), time.perf_counter() - start, cache)
    return [found[i] for i in sorted(found)], [problems[i] for i in sorted(problems)]


def fill_cache(
    meshes: Sequence[tuple[Path, Preparation]],
    cache: Cache,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
) -> tuple[int, int, list[str]]:
    """Prepare meshes into a cache, ahead of their use; entries that are there stay, so that it can be interrupted.

    Parameters
    ----------
    meshes : sequence of (path, how)
    cache : Cache
    workers, scheduler
        See :func:`~meshconv.datasets.processes.map_in_order`; the workers of a cluster read the files by the
        same paths.

    Returns
    -------
    made, there, problems
        Number of entries that were computed and that were there; a line for each mesh that cannot be used.

    Raises
    ------
    InputError
        The folder of the cache cannot be written to.
    """
    made, there, problems = 0, 0, []
    missing: list[tuple[Path, Preparation, Key]] = []
    contents: dict[Path, str] = {}
    with Progress(len(meshes), "preparing meshes", "mesh") as bar:
        for path, how in meshes:
            try:
                content = contents[path] = contents.get(path) or how.content(path)
            except InputError as error:
                problems.append(str(error))
                bar.update()
                continue
            key = cache_key(_PREPARED, content, how.spec)
            if cache.load(key) is None:
                missing.append((path, how, key))
            else:
                there += 1
                bar.update()
        with closing(map_in_order(_encoded_of, missing, workers, scheduler)) as results:
            for (_, _, key), result in zip(missing, results, strict=True):
                if isinstance(result, InputError):
                    problems.append(str(result))
                else:
                    cache.store(key, result, strict=True)
                    made += 1
                bar.update()
    return made, there, list(dict.fromkeys(problems))


def _encoded_of(task: tuple[Path, Preparation, Key]) -> bytes | InputError:
    path, how, key = task
    return _encoded((path, key), how)


def _report(what: str, count: int, problems: list[str], made: int, seconds: float, cache: Cache) -> None:
    for problem in problems:
        log.warning("skipped: %s", problem)
    if problems:
        log.warning("%s: %d of %d files skipped (strict stops at the first)", what, len(problems), count)
    if cache.folder and made > len(problems):
        entries, size = cache.size
        log.info("%s: %d computed, %d from the cache, %.0f s; %s has %d entries, %.0f MB", what, made, count - made,
                 seconds, cache.folder, entries, size / 1e6)  # fmt: skip


def _encoded(file: tuple[MeshSource, Key], how: Preparation) -> bytes | InputError:
    """Entry of a file as bytes, which pass cheaply from process to process; the error where there is none."""
    path, key = file
    try:
        return key.encode(how.entry(path))
    except InputError as error:
        return error
