"""Common points of meshes: files beside the meshes, or equal numbering of vertices."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonpath
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from meshconv.datasets.meshes.files import files_below
from meshconv.datasets.meshes.sample import Labelling, PreparedMesh
from meshconv.errors import InputError
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.io.meshes.labels import read_labels

log = logging.getLogger(__name__)

Reading = Literal["auto", "samples", "labels"]

# In the order in which they are preferred.
_SUFFIXES = (".vts", ".npy", ".txt", ".json")
# Names of folders that tell of formats and splits, not of what is in the meshes.
_PLAIN = re.compile(r"(train|test|valid|val)(ing|ation)?|off|obj|ply|shapes?|mesh(es)?|data|vtx_?\d+k?", re.I)


class SampleFiles(NamedTuple):
    """Common points of meshes from their files, before any mesh is read.

    Attributes
    ----------
    files : dict of Path to int64 [K]
        Content of the file beside each mesh.
    reading : "samples" | "labels" | "identity"
        Entry k is the vertex of common point k; entry v is the common point of vertex v; or there are no such files,
        and vertices of equal number are one point.
    """

    files: dict[Path, IntArray]
    reading: str


def category_of(path: Path, root: Path) -> str:
    """What a mesh shows, by its name without trailing numbers, and by the folders below ``root``.

    Examples
    --------
    >>> [category_of(Path("root", name), Path("root")) for name in ("cat10.off", "test/tr_reg_080.ply", "dogs/3.obj")]
    ['cat', 'tr_reg', 'dogs']
    """
    folders = [part for part in path.relative_to(root).parts[:-1] if not _PLAIN.fullmatch(part)]
    letters = re.sub(r"[\W_]*\d*$", "", path.stem)
    return "/".join([*folders, *([letters] if letters else [])])


def find_sample_files(root: Path, meshes: Sequence[Path]) -> dict[Path, Path]:
    """For each mesh the file of the same name below ``root`` with its common points: the nearest one, if there is any.

    Folders with ``sym`` in their name hold the mirrored points of symmetric shapes, which are others.
    """
    stems = {path.stem for path in meshes}
    found: dict[str, list[Path]] = {}
    for path in files_below(root):
        mirrored = any("sym" in part.lower() for part in path.relative_to(root).parts[:-1])
        if path.suffix.lower() in _SUFFIXES and path.stem in stems and not mirrored:
            found.setdefault(path.stem, []).append(path)

    def distance(mesh: Path, path: Path) -> tuple[int, int]:
        common = Path(commonpath([mesh.parent, path.parent]))
        steps = len(mesh.parent.relative_to(common).parts) + len(path.parent.relative_to(common).parts)
        return steps, _SUFFIXES.index(path.suffix.lower())

    return {mesh: min(found[mesh.stem], key=lambda p: distance(mesh, p)) for mesh in meshes if mesh.stem in found}


def read_sample_files(
    root: Path,
    categories: Mapping[str, Sequence[Path]],
    reading: Reading = "auto",
    index_base: int | None = None,
    strict: bool = False,
) -> SampleFiles:
    """Find and read the files beside the meshes, and see what they mean.

    Parameters
    ----------
    root : Path
    categories : dict of str to list of Path
        Meshes by what they show.
    reading
        ``"auto"``: as samples where all files of a category have as many entries, as labels otherwise.
    index_base : 0 | 1, optional
        The first vertex's number. By default 0 if any file has a 0; else 1 in ``.vts`` files, and where the entries are
        so many that the first vertex would be among them; else 0.
    strict
        A mesh without a file is an error where others have one; else it is left out.
    """
    meshes = [path for paths in categories.values() for path in paths]
    paths = find_sample_files(root, meshes)
    if not paths:
        return SampleFiles({}, "identity")
    missing = [path for path in meshes if path not in paths]
    if missing:
        text = f"{missing[0]}: no {', '.join(_SUFFIXES)} file of its name, while {len(paths)} other meshes have one"
        if strict:
            raise InputError(text)
        log.warning("%s; %d meshes left out", text, len(missing))
    files = {mesh: _vertex_numbers(path) for mesh, path in paths.items()}
    lengths = {name: {len(files[p]) for p in group if p in files} for name, group in categories.items()}
    found = reading if reading != "auto" else "labels" if any(len(k) > 1 for k in lengths.values()) else "samples"
    if found == "samples":
        for name, group in categories.items():
            _check_lengths(name, {paths[p]: len(files[p]) for p in group if p in files})
        base = _index_base(paths, files) if index_base is None else index_base
        log.info("%s: entries of %d files name the vertices of common points, from %d on", root, len(files), base)
        # What stands for "none" in either way of counting is below the first number.
        files = {mesh: np.maximum(values - base, -1) for mesh, values in files.items()}
    else:
        log.info("%s: entries of %d files name the common point of each vertex", root, len(files))
    return SampleFiles(files, found)


def sample_labelling(path: Path, values: IntArray | None, reading: str, count: int) -> Labelling:
    """What finds the vertex of each of ``count`` common points in a prepared mesh, -1 where there is none."""

    def find(mesh: PreparedMesh) -> tuple[torch.Tensor, None]:
        to = mesh.origin.vertex_to
        if values is None:
            return torch.from_numpy(to), None
        samples = values
        if reading == "labels":
            if len(values) != len(to):
                raise InputError(
                    f"{path}: {len(values)} entries beside a mesh of {len(to)} vertices; give one for each vertex, or, "
                    "where they name vertices of common points, as many for all meshes of a category"
                )
            samples = np.full(count, -1)
            known = np.flatnonzero(values >= 0)[::-1]
            samples[values[known]] = known
        elif samples.max(initial=-1) >= len(to):
            k = int(samples.argmax())
            raise InputError(
                f"{path}: common point {k} is vertex {samples[k]}, counted from 0, of a mesh that has {len(to)}; set "
                "index_base to 1 or 0, or use the mesh that the points were made for"
            )
        return torch.from_numpy(np.append(to, -1)[samples]), None

    return find


def merge_categories(
    categories: Mapping[str, Sequence[Path]], pairs: Iterable[tuple[Path, Path]]
) -> dict[str, list[Path]]:
    """Categories that a list of pairs connects become one, named after the first."""
    of = {path: name for name, group in categories.items() for path in group}
    leader = {name: name for name in categories}

    def find(name: str) -> str:
        return name if leader[name] == name else find(leader[name])

    for a, b in pairs:
        first, second = sorted((find(of[a]), find(of[b])))
        leader[second] = first
    merged: dict[str, list[Path]] = {}
    for name in sorted(categories):
        merged.setdefault(find(name), []).extend(categories[name])
    return {name: sorted(group) for name, group in merged.items()}


def _check_lengths(category: str, lengths: Mapping[Path, int]) -> None:
    if len(set(lengths.values())) > 1:
        (a, n), (b, m) = min(lengths.items(), key=lambda i: i[1]), max(lengths.items(), key=lambda i: i[1])
        raise InputError(
            f"{a}: {n} common points of {category or 'these meshes'}, but {b} has {m}; entry k has to be the same "
            "point in all"
        )


def _index_base(paths: Mapping[Path, Path], files: Mapping[Path, IntArray]) -> int:
    if any((values == 0).any() for values in files.values()):
        return 0
    if all(path.suffix.lower() == ".vts" for path in paths.values()):
        return 1
    # With n of V vertices named at random the first is missed by chance with (1 - n / V), in each of the files.
    shares = [len(np.unique(v)) / max(int(v.max(initial=1)), 1) for v in files.values()]
    return int(np.prod([1 - min(share, 0.99) for share in shares]) < 1e-3)


def _vertex_numbers(path: Path) -> IntArray:
    try:
        values = read_labels(path)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: no list of vertex numbers ({reason}); give one whole number per line") from error
    if values.dtype.kind != "i":
        raise InputError(f"{path}: no list of vertex numbers (the first is {values[0]!r}); give one number per line")
    return values
