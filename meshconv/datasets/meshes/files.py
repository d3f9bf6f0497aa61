"""Mesh files of folders, and the split that they are for."""

from __future__ import annotations

import logging
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from meshconv.errors import InputError
from meshconv.io.cache.content import file_content
from meshconv.io.meshes.formats import BY_SUFFIX

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]

# Folders, by their names in lower case, of what is for training, for validation and for testing.
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
# Point clouds, drawings and names that are no suffix of a file on disk are left out.
MESH_SUFFIXES = frozenset(BY_SUFFIX)


def check_fractions(test_fraction: float, val_fraction: float) -> None:
    """Raise ``InputError`` for a share that is none; all meshes may be for testing, 1."""
    if not 0 <= test_fraction <= 1:
        raise InputError(f"test_fraction {test_fraction} is not in [0, 1]")
    if not 0 <= val_fraction < 1:
        raise InputError(f"val_fraction {val_fraction} is not in [0, 1)")


def cut(files: Iterable, fraction: float, rng: random.Random) -> tuple[list, list]:
    """Two sorted parts, the second a random share; below 1 at least one of several stays in each that is wanted."""
    shuffled = sorted(files)
    rng.shuffle(shuffled)
    count = round(len(shuffled) * fraction)
    if 0 < fraction < 1 and len(shuffled) > 1:
        count = min(max(count, 1), len(shuffled) - 1)
    return sorted(shuffled[count:]), sorted(shuffled[:count])


def split_of(folders: Iterable[str]) -> Split | None:
    """Split of the meshes in a folder, by the names of its parent folders.

    Examples
    --------
    >>> split_of(["dogs", "Train"]), split_of(["dogs"])
    ('train', None)
    """
    return next((_SPLITS[name.lower()] for name in folders if name.lower() in _SPLITS), None)


def files_below(root: Path) -> list[Path]:
    """Files in a folder and below it, sorted; without hidden files and folders. Links to folders are followed."""
    found: list[Path] = []
    for name, folders, files in os.walk(root, followlinks=True):
        folder = Path(name)
        above = folder.parents[: len(folder.relative_to(root).parts)]
        if folder.is_symlink() and any(folder.samefile(other) for other in above):
            folders.clear()  # a link to where one comes from
            continue
        folders[:] = [f for f in folders if not f.startswith(".")]
        found += [folder / f for f in files if not f.startswith(".")]
    return sorted(found)


def meshes_below(root: Path, pattern: str | None = None) -> list[Path]:
    """Mesh files in a folder and below it, as :func:`files_below` finds them; of a pattern, ``"*/surf/lh.white"``.

    Raises
    ------
    InputError
        No mesh file is named like the pattern.
    """
    found = [path for path in files_below(root) if is_mesh_file(path)]
    if pattern is None:
        return found
    chosen = [path for path in found if path.relative_to(root).match(pattern)]
    if not chosen:
        raise InputError(f"{root}: none of {len(found)} mesh files is named like {pattern!r}; give another pattern")
    return chosen


def meshes_in(folder: Path) -> list[Path]:
    """Mesh files directly in a folder, sorted; none if it is missing."""
    return sorted(filter(is_mesh_file, folder.iterdir())) if folder.is_dir() else []


def is_mesh_file(path: Path) -> bool:
    """A file that meshes are read from, by its name; hidden ones are not."""
    return path.suffix.lower() in MESH_SUFFIXES and not path.name.startswith(".") and path.is_file()


def warn_of_duplicates(train: Iterable[Path], test: Iterable[Path]) -> None:
    """Warn of test files with the content of a training file, which invalidate test metrics."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in train:
        by_size[path.stat().st_size].append(path)
    found, known = [], {}
    for path in test:
        same_size = by_size.get(path.stat().st_size, [])
        known.update({other: file_content(other) for other in same_size if other not in known})
        content = file_content(path) if same_size else ""
        found += [(path, other) for other in same_size if known[other] == content][:1]
    if found:
        log.warning(
            "%d test meshes are in the training set as well, with the same content, the first: %s is %s",
            len(found), *found[0],
        )  # fmt: skip
