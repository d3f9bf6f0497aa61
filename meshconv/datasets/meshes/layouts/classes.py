"""Classes and splits of meshes, by lists, folders, or names."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from meshconv.datasets.meshes.files import meshes_below, split_of
from meshconv.datasets.meshes.layouts.common_samples import category_of
from meshconv.errors import InputError
from meshconv.io.text import read_text

log = logging.getLogger(__name__)

# Mesh files of a class by split: "train", "val", "test", or "" if not given.
ClassFiles = dict[str, dict[str, list[Path]]]


def find_mesh_files(root: Path, pattern: str | None = None) -> ClassFiles:
    """Mesh files of each class and split (``"train"``, ``"val"``, ``"test"``, or ``""`` if not given).

    The class is, in this order: that of a classification file in ``root``, in the format of the Princeton Shape
    Benchmark (``.cla``; SHREC'11 has one); the first folder below ``root``, or below ``root/train`` and ``root/test``;
    without such folders, the name of the file without its last number, if there are two meshes per class on average.
    The split is given by folders named ``train``, ``test`` or ``val`` anywhere in the path, or by ``train.cla`` and
    ``test.cla``.

    With a ``pattern`` as :func:`~meshconv.datasets.meshes.files.meshes_below` takes it.

    Raises
    ------
    InputError
        If the folder is missing, or holds no meshes; or a list that cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; give one with a sub-folder of meshes per class")
    paths = meshes_below(root, pattern)
    lists = sorted(p for p in root.glob("*.cla") if p.is_file())
    found = _by_lists(lists, paths) if lists else _by_folders(root, paths) or _by_names(root, paths)
    if not found:
        loose = sum(path.parent == root for path in paths)
        hint = f" ({loose} lie directly in it, and their names tell no classes)" if loose else ""
        raise InputError(
            f"{root}: no meshes in class sub-folders{hint}; put them in {root}/<class>/<file>, or name them "
            "<class>_<number>"
        )
    return {name: dict(found[name]) for name in sorted(found)}


def _empty() -> ClassFiles:
    return defaultdict(lambda: defaultdict(list))


def _by_folders(root: Path, paths: Sequence[Path]) -> ClassFiles:
    folders = {path: path.relative_to(root).parts[:-1] for path in paths}
    tops = {parts[0] for parts in folders.values() if parts}
    split_first = all(split_of([top]) for top in tops)  # or else one of them is a class that is called train
    found, loose = _empty(), []
    for path, parts in folders.items():
        within = parts[1:] if split_first else parts
        if within:
            found[within[0]][split_of(parts[:1] if split_first else within[1:]) or ""].append(path)
        else:
            loose.append(path)
    for files in found.values():
        if "train" in files and "" in files:
            loose += files.pop("")
        elif len(files) > 1 and "" in files:
            files["train"] = files.pop("")
    if found and loose:
        log.warning("%s: %d meshes are beside the folders of classes or of train and test, and left out; the first is "
                    "%s", root, len(loose), loose[0])  # fmt: skip
    for place in [root / top for top in tops] if split_first and tops else [root]:
        for folder in sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if folder.name not in found and not (split_first and split_of([folder.name])):
                log.warning("%s: no mesh files, so no class %r", folder, folder.name)
    return found


def _by_names(root: Path, paths: Sequence[Path]) -> ClassFiles:
    found = _empty()
    for path in paths:
        part = split_of(path.relative_to(root).parts[:-1]) or ""
        found[category_of(path, path.parent)][part].append(path)
    if len(found) < 2 or "" in found or 2 * len(found) > len(paths):
        return {}
    counts = [f"{name} ({sum(map(len, found[name].values()))})" for name in sorted(found)]
    log.info("%s: %d classes by the names of files: %s%s", root, len(found), ", ".join(counts[:8]),
             ", ..." if len(counts) > 8 else "")  # fmt: skip
    return found


def _by_lists(lists: Sequence[Path], paths: Sequence[Path]) -> ClassFiles:
    names = {path.stem.lower() for path in lists}
    found, left = _empty(), list(paths)
    for path in lists:
        classes = read_class_list(path)
        part = path.stem.lower() if {"train", "test"} <= names else ""
        for mesh in paths:
            number = mesh.stem[len(mesh.stem.rstrip("0123456789")) :]
            name = classes.get(mesh.stem) or classes.get(str(int(number)) if number else "")
            if name is not None and mesh in left:
                found[name][part].append(mesh)
                left.remove(mesh)
    if left:
        log.warning("%s: %d of %d meshes are not in it and left out, the first is %s", lists[0], len(left), len(paths),
                    left[0])  # fmt: skip
    return found


def read_class_list(path: Path) -> dict[str, str]:
    """Class of each model of a ``.cla`` file: ``PSB 1``, two counts, and for each class its name, its parent, the
    number of its models and their numbers.

    Raises
    ------
    InputError
        Another format, or fewer entries than the counts promise.
    """
    words = iter(read_text(path).split())
    of: dict[str, str] = {}
    try:
        if next(words) != "PSB":
            raise ValueError("the first word is not PSB")
        _, count, _ = (int(next(words)) for _ in range(3))
        for _ in range(count):
            name, _, size = next(words), next(words), int(next(words))
            models = list(islice(words, size))
            if len(models) < size:
                raise ValueError(f"class {name!r} has {len(models)} of {size} models")
            of |= dict.fromkeys(models, name)
    except (StopIteration, RuntimeError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else "it ends too early"
        raise InputError(f"{path}: no list of classes ({reason}); take it away to have classes by folders") from error
    return of
