"""Label files and splits of meshes, by names and folders."""

from __future__ import annotations

import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from meshconv.datasets.meshes.files import MESH_SUFFIXES, Split, cut, files_below, meshes_below, meshes_in, split_of
from meshconv.errors import InputError
from meshconv.io.meshes.labels import LABEL_SUFFIXES
from meshconv.io.text import read_text

log = logging.getLogger(__name__)

# Of most sets, and of DrivAerNet.
_LISTS: dict[Split, tuple[str, ...]] = {
    split: (f"{split}.txt", f"{split}_design_ids.txt", f"train_val_test_splits/{split}_design_ids.txt")
    for split in get_args(Split)
}
_NO_LABELS = {"train", "val", "test", "classes", "readme", "license", "source", "requirements"}
# What sets append to the mesh's name: 7_labels.txt, 7_seg.txt, 7.off.seg
_ENDINGS = re.compile(r"([._-](labels?|segs?|segmentation|gt|full|" + "|".join(s[1:] for s in MESH_SUFFIXES) + "))+$")


class LabelledFile(NamedTuple):
    """A mesh and the file with its labels; None where they are in the mesh file."""

    mesh: Path
    labels: Path | None


def pair_files(root: Path, pattern: str | None = None, meshes_like: str | None = None) -> list[LabelledFile]:
    """Every mesh below ``root`` that has a label file.

    Of one mesh: the label file with the same name (up to endings like ``_labels``), in the same folder or in one that
    runs parallel (``meshes/train/a/7.off`` and ``segs/train/a/7.seg``). Of several the one in the folder most alike,
    then the first in the order of ``LABEL_SUFFIXES``.

    Parameters
    ----------
    root : Path
    pattern : str, optional
        Of the label files, below ``root``: ``"seg/*.eseg"``.
    meshes_like : str, optional
        Pattern of the mesh files, as of :func:`~meshconv.datasets.meshes.files.meshes_below`.

    Returns
    -------
    list of LabelledFile
        Sorted; without labels altogether, every mesh with None.

    Raises
    ------
    InputError
        No folder, no meshes, or no files of this pattern.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; give one with meshes and their labels")
    files = files_below(root)
    meshes = meshes_below(root, meshes_like)
    if not meshes:
        raise InputError(f"{root}: no mesh files ({', '.join(sorted(MESH_SUFFIXES))}) in it or below it")
    if pattern is None:
        labels = [p for p in files if p.suffix.lower() in LABEL_SUFFIXES and p.stem.lower() not in _NO_LABELS]
    else:
        labels = sorted(p for p in root.glob(pattern) if p.is_file())
        if not labels:
            raise InputError(f"{root}: no files are named like {pattern!r}; labels is a pattern of files below root")
    if (root / "segs" / "train" / "faust").is_dir():
        return _human_benchmark(root)
    by_name = defaultdict(list)
    for path in labels:
        for name in {path.stem.lower(), _ENDINGS.sub("", path.stem.lower())}:
            by_name[name].append(path)
    pairs = []
    for mesh in meshes:
        near = [(closeness, p) for p in by_name[mesh.stem.lower()]
                if (closeness := _closeness(mesh.relative_to(root), p.relative_to(root))) is not None]  # fmt: skip
        if near:
            pairs.append(LabelledFile(mesh, max(near, key=lambda entry: entry[0])[1]))
    if not pairs:
        return [LabelledFile(mesh, None) for mesh in meshes]
    if len(pairs) < len(meshes):
        without = sorted({*meshes} - {p.mesh for p in pairs})
        log.warning("%s: %d of %d meshes have no labels and are left out, the first is %s",
                    root, len(without), len(meshes), without[0])  # fmt: skip
    return pairs


def _closeness(mesh: Path, labels: Path) -> tuple[int, int, int] | None:
    """How well a label file fits a mesh by its folder, larger is better; None: it is that of another mesh."""
    ours, theirs = Counter(mesh.parts[:-1]), Counter(labels.parts[:-1])
    only_theirs = (theirs - ours).total()
    if only_theirs > 1:
        return None
    kind = labels.suffix.lower()
    return (ours & theirs).total(), -only_theirs, -LABEL_SUFFIXES.index(kind) if kind in LABEL_SUFFIXES else -9


def _human_benchmark(root: Path) -> list[LabelledFile]:
    """The human segmentation benchmark of Maron et al. 2017, where meshes of one template share a file."""
    pairs = []
    train, segs = root / "meshes" / "train", root / "segs" / "train"
    for mesh in meshes_in(train / "adobe"):
        pairs.append(LabelledFile(mesh, segs / "adobe" / f"{mesh.stem}.txt"))
    for name in ("faust", "scape"):
        pairs += [LabelledFile(mesh, segs / name / f"{name}_corrected.txt") for mesh in meshes_in(train / name)]
    for folder in sorted((train / "MIT_animation").glob("meshes_*")):
        labels = segs / "mit" / f"mit_{folder.name.removeprefix('meshes_')}_corrected.txt"
        pairs += [LabelledFile(mesh, labels) for mesh in meshes_in(folder / "meshes")]
    for mesh in meshes_in(root / "meshes" / "test" / "shrec"):
        number = mesh.stem.split("_")[0]  # 12_fix_orientation.off
        pairs.append(LabelledFile(mesh, root / "segs" / "test" / "shrec" / f"shrec_{number}_full.txt"))
    found = [pair for pair in pairs if pair.labels is not None and pair.labels.is_file()]
    if not found:
        raise InputError(f"{root}: looks like the benchmark of Maron et al., but no mesh has its labels in segs/")
    if len(found) < len(pairs):
        missing = next(pair for pair in pairs if pair not in found)
        log.warning("%s: %d meshes have no labels and are left out, the first is %s; %s is missing",
                    root, len(pairs) - len(found), missing.mesh, missing.labels)  # fmt: skip
    return found


def split_files(
    root: Path, pairs: Sequence[LabelledFile], test_fraction: float, val_fraction: float, seed: int
) -> dict[Split, list[LabelledFile]]:
    """Files of each split: by ``train.txt`` and ``test.txt`` (``val.txt``), by folders of these names, or drawn.

    The lists of DrivAerNet are found by their names too, ``train_val_test_splits/train_design_ids.txt``. Where there is
    a test set already none is drawn; the validation set is drawn from the rest if it is not given.

    Raises
    ------
    InputError
        A list of names none of which is a mesh's.
    """
    found = _by_lists(root, pairs) or _by_folders(root, pairs)
    known = {pair for part in found.values() for pair in part}
    rest = [pair for pair in pairs if pair not in known]
    if not found.get("train"):
        found["train"], rest = rest, []
    if rest:
        log.warning("%s: %d meshes are neither for training nor for testing, the first is %s",
                    root, len(rest), rest[0].mesh)  # fmt: skip
    train, val, test = (sorted(found.get(name, [])) for name in ("train", "val", "test"))
    rng = random.Random(f"{seed}/segments")
    if not test:
        train, test = cut(train, test_fraction, rng)
    if not val:
        train, val = cut(train, val_fraction, rng)
    return {"train": train, "val": val, "test": test}


def _by_lists(root: Path, pairs: Sequence[LabelledFile]) -> dict[Split, list[LabelledFile]]:
    lists: dict[Split, Path] = {}
    for split, places in _LISTS.items():
        there = [root / place for place in places if (root / place).is_file()]
        if there:
            lists[split] = there[0]
    by_name: dict[str, LabelledFile] = {}
    for pair in pairs:
        place = pair.mesh.relative_to(root)
        by_name |= dict.fromkeys((place.stem, place.name, place.as_posix(), place.with_suffix("").as_posix()), pair)
    found: dict[Split, list[LabelledFile]] = {}
    for split, path in lists.items():
        names = [line.strip() for line in read_text(path).split("\n")]
        names = [name for name in names if name]
        unknown = [name for name in names if name not in by_name]
        if names and len(unknown) == len(names):
            raise InputError(f"{path}: none of its {len(names)} names is that of a mesh with labels, e.g. {names[0]!r}")
        if unknown:
            log.warning("%s: %d of %d names are no meshes with labels, the first is %r",
                        path, len(unknown), len(names), unknown[0])  # fmt: skip
        found[split] = [by_name[name] for name in dict.fromkeys(names) if name in by_name]
    return found


def _by_folders(root: Path, pairs: Sequence[LabelledFile]) -> dict[Split, list[LabelledFile]]:
    found: dict[Split, list[LabelledFile]] = {}
    for pair in pairs:
        split = split_of(pair.mesh.relative_to(root).parts[:-1])
        if split is not None:
            found.setdefault(split, []).append(pair)
    return found
