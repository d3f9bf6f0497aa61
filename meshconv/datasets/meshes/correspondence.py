"""Data module of correspondence between meshes with common points."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from itertools import accumulate, permutations
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.loader import EpochBatches, Loader
from meshconv.datasets.meshes.collation import join_samples
from meshconv.datasets.meshes.files import Split, check_fractions, meshes_below, split_of, warn_of_duplicates
from meshconv.datasets.meshes.layouts.common_samples import (
    Reading,
    category_of,
    merge_categories,
    read_sample_files,
    sample_labelling,
)
from meshconv.datasets.meshes.module import MeshData
from meshconv.datasets.meshes.sample import MeshSample
from meshconv.errors import InputError
from meshconv.io.text import read_text

log = logging.getLogger(__name__)


def collate_samples(samples: list[MeshSample]) -> SurfaceBatch:
    """Disjoint union of meshes with common points; ``target [G, K]`` is the vertex of point k in mesh g, or -1."""
    shifts = accumulate((s.num_vertices for s in samples[:-1]), initial=0)
    targets = [torch.where(s.target >= 0, s.target + k, -1) for s, k in zip(samples, shifts, strict=True)]
    return join_samples(samples, torch.stack(targets))


class CategoryBatches(EpochBatches):
    """Batch sampler: batches of meshes of one category, shuffled in every epoch.

    Parameters
    ----------
    categories : sequence of str
        Of each mesh.
    size
        Meshes per batch; where a category's last batch has fewer, others of it come a second time.
    seed

    Examples
    --------
    >>> sorted(sorted(batch) for batch in CategoryBatches(["cat", "dog", "cat", "dog"], 2))
    [[0, 2], [1, 3]]
    """

    repeats = True  # half a batch of pairs is none

    def __init__(self, categories: Sequence[str], size: int, seed: int = 0):
        self.size, self.seed = size, seed
        self.members = [[i for i, c in enumerate(categories) if c == name] for name in sorted(set(categories))]

    def __len__(self) -> int:
        return sum(-(-len(members) // self.size) for members in self.members)

    def of_epoch(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.seed}/{epoch}")
        batches = []
        for members in self.members:
            order = rng.sample(members, len(members))
            while len(order) % self.size:
                # Those of the first batches first: they are not in the last one.
                order += order[: self.size - len(order) % self.size]
            batches += [order[k : k + self.size] for k in range(0, len(order), self.size)]
        rng.shuffle(batches)
        return batches


class MeshCorrespondence(MeshData):
    """Data module of meshes below ``root`` with common points.

    **Common points** are found automatically: a file with the mesh's name ending in ``.vts``, ``.npy``, ``.txt`` or
    ``.json``, beside it or in any other folder below ``root``. Entry k is the vertex of common point k (as FAUST, SCAPE
    and TOSCA remeshed are distributed, counting from 1; files that count from 0 are recognised), or, where files of one
    category differ in length, entry v is the common point of vertex v (a template's vertex, -1 for none). Without such
    files all meshes of a category need the same number of vertices, and equal indices are common points, as in
    registrations.

    **Categories** are meshes with common points: those whose names differ by their last number alone (cat0, cat1;
    dog3), in folders of one name. If no two names agree, and for ``categories: "one"``, all belong together.

    **Splits**: folders ``train`` and ``test`` (and ``val``) anywhere in the path; or ``train.txt`` and ``test.txt`` in
    ``root`` with names of meshes; or a seeded share of every category.

    **Pairs** of the test: ``test_pairs.txt`` or ``pairs.txt`` in ``root``, two names per line; pairs that join
    categories make them one. Without it, and where no listed pair is of two test meshes, all pairs of a category, each
    in both directions.

    Parameters
    ----------
    root
        The folder.
    batch_size
        Meshes of a batch, all of one category; at least 2.
    test_fraction, val_fraction
        Shares of every category without folders or lists of splits. Of three or more meshes at least two are for
        testing, so that there is a pair. ``test_fraction`` 1: all are for testing, such as another folder.
    categories
        ``"names"`` or ``"one"``.
    reading
        What entries of the files are: ``"samples"``, ``"labels"`` or ``"auto"``, as above.
    index_base
        Number of a mesh's first vertex in the files, 0 or 1; none: recognised.
    max_pairs
        Maximum number of pairs, drawn at random.
    options
        Preparation: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Attributes
    ----------
    class_names : list of str
        Categories.
    files : dict
        Of each split, mesh files and how their points are found.
    """

    target_kind: ClassVar[str] = "common points of meshes"

    def __init__(
        self,
        root: str,
        batch_size: int = 2,
        test_fraction: float = 0.25,
        val_fraction: float = 0.0,
        categories: Literal["names", "one"] = "names",
        reading: Reading = "auto",
        index_base: Literal[0, 1] | None = None,
        max_pairs: int = 100,
        **options: Any,
    ):
        super().__init__(batch_size=batch_size, **options)
        if batch_size < 2:
            raise InputError(f"batch_size {batch_size} has to be at least 2: points of several meshes are compared")
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        self.root, self.max_pairs = Path(root), max_pairs
        meshes = _find_meshes(self.root, self.pattern)
        self._listed = _listed_pairs(self.root, meshes)
        found: dict[str, list[Path]] = {}
        for path in meshes:
            found.setdefault("" if categories == "one" else category_of(path, self.root), []).append(path)
        if all(len(group) == 1 for group in found.values()):
            found = {"": meshes}
        found = merge_categories(found, self._listed or ())
        known = read_sample_files(self.root, found, reading, index_base, self.strict)
        if known.files:
            found = {name: [p for p in group if p in known.files] for name, group in found.items()}
        self.class_names = [name for name, group in found.items() if group]
        self.category = {path: name for name, group in found.items() for path in group}
        split = _split(self.root, found, test_fraction, val_fraction, self.seed)
        for part, paths in split.items():
            for path in paths:
                same = [known.files[p] for p in found[self.category[path]] if p in known.files]
                count = max((int(v.max(initial=-1)) + 1 for v in same), default=0)
                self.files[part].append((path, sample_labelling(path, known.files.get(path), known.reading, count)))
        warn_of_duplicates(split["train"], split["test"])

    def samples(self, split: str) -> list[MeshSample]:
        """Prepared meshes; ``target [K]`` is the vertex of each common point of the category, or -1."""
        new = split not in self._samples
        samples = super().samples(split)
        if new:
            self._check_counts()
        return samples

    def pairs(self, split: str) -> list[tuple[int, int]]:
        """Pairs of meshes of a split, by their place in :meth:`samples`, that a test is on."""
        place = {Path(sample.name): i for i, sample in enumerate(self.samples(split))}
        pairs = [(place[a], place[b]) for a, b in self._listed or () if a in place and b in place]
        if not pairs:
            pairs = [(place[a], place[b]) for a, b in permutations(place, 2) if self.category[a] == self.category[b]]
        if len(pairs) > self.max_pairs:
            log.info("%s: %d of %d %s pairs are used", self.root, self.max_pairs, len(pairs), split)
            pairs = sorted(random.Random(self.seed).sample(pairs, self.max_pairs))
        return pairs

    def train_dataloader(self) -> Loader:
        self._check_train([path for path, _ in self.files["train"]])
        return super().train_dataloader()

    def test_dataloader(self) -> Loader:
        loader, names = super().test_dataloader(), {Path(sample.name) for sample in self.samples("test")}
        if not self.pairs("test"):
            raise InputError(
                f"{self.root}: no two of {len(names)} test meshes are of one category, so that there is no pair to "
                "test; add some, or set test_fraction higher (1: all are for testing)"
            )
        count = sum({*pair} <= names for pair in self._listed or ())
        if self._listed and count < len(self._listed):
            log.warning("%s: %d of %d listed pairs are of two test meshes%s", self.root, count, len(self._listed),
                        "" if count else "; all pairs of their categories are taken instead")  # fmt: skip
        return loader

    def _loader(self, samples: Any, train: bool = False) -> Loader:
        if not train:
            return Loader(samples, collate_fn=collate_samples)
        names = [self.category[Path(sample.name)] for sample in self.samples("train")]
        batches = CategoryBatches(names, self.batch_size, self.seed)
        return Loader(samples, train=True, batches=batches, collate_fn=collate_samples)

    def _check_train(self, train: Sequence[Path]) -> None:
        counts = {name: sum(self.category[path] == name for path in train) for name in self.class_names}
        if max(counts.values(), default=0) < 2:
            raise InputError(
                f"{self.root}: no two of {len(train)} training meshes are of one category; correspondence is learnt "
                "from at least two. Categories go by names without their last number; set categories to 'one' if all "
                "meshes have common points"
            )

    def _check_counts(self) -> None:
        """All meshes of a category have as many common points; where nothing is beside them, that is vertices."""
        first: dict[str, MeshSample] = {}
        for sample in (s for samples in self._samples.values() for s in samples):
            name = self.category[Path(sample.name)]
            other = first.setdefault(name, sample)
            if len(other.target) != len(sample.target):
                raise InputError(
                    f"{sample.name}: {len(sample.target)} vertices, {other.name} has {len(other.target)}; without "
                    "files of common points all meshes of a category need as many vertices: put a .vts file beside each"
                )


def _find_meshes(root: Path, pattern: str | None) -> list[Path]:
    """Mesh files below ``root``; of those that differ in folder and ending alone, with one category, the first."""
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; give one with meshes")
    paths = meshes_below(root, pattern)
    once: dict[tuple[str, str, str], Path] = {}
    for path in paths:
        once.setdefault((category_of(path, root), _part(path, root) or "", path.stem), path)
    if len(once) < len(paths):
        log.warning("%s: %d meshes are there several times under one name; the first of each is used", root,
                    len(paths) - len(once))  # fmt: skip
    if len(once) < 2:
        raise InputError(f"{root}: {len(once)} meshes below it; correspondence takes at least two")
    return sorted(once.values())


def _part(path: Path, root: Path) -> Split | None:
    return split_of(path.relative_to(root).parts[:-1])


def _listed_pairs(root: Path, meshes: Sequence[Path]) -> list[tuple[Path, Path]] | None:
    """Pairs of ``test_pairs.txt`` or ``pairs.txt``; None without such a file."""
    path = next((p for p in (root / "test_pairs.txt", root / "pairs.txt") if p.is_file()), None)
    if path is None:
        return None
    rows = [line.replace(",", " ").split() for line in read_text(path).split("\n") if line.strip()]
    for k, row in enumerate(rows):
        if len(row) != 2:
            raise InputError(f"{path}: pair {k + 1} is {' '.join(row)!r}; give two names of meshes per line")
    names = _resolve(path, [name for row in rows for name in row], meshes)
    return list(zip(names[::2], names[1::2], strict=True))


def _resolve(path: Path, names: Sequence[str], meshes: Sequence[Path]) -> list[Path]:
    """Meshes of the names in a list, with or without ending."""
    known = {key: mesh for mesh in meshes for key in (mesh.stem, mesh.name, str(mesh.relative_to(path.parent)))}
    for name in names:
        if name not in known:
            raise InputError(f"{path}: no mesh {name!r} below {path.parent}; give names of mesh files")
    return [known[name] for name in names]


def _split(root: Path, categories: dict[str, list[Path]], test: float, val: float, seed: int) -> dict[str, list[Path]]:
    meshes = [path for group in categories.values() for path in group]
    split: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    lists = {part: root / f"{part}.txt" for part in split if (root / f"{part}.txt").is_file()}
    if any(_part(path, root) for path in meshes):
        for path in meshes:
            split[_part(path, root) or "train"].append(path)
    elif "train" in lists and "test" in lists:
        known = set(meshes)
        for part, file in lists.items():
            names = [line.strip() for line in read_text(file).split("\n") if line.strip()]
            split[part] = [p for p in _resolve(file, names, meshes) if p in known]
    else:
        for name, group in categories.items():
            rest = list(group)
            random.Random(f"{seed}/{name}").shuffle(rest)
            for part, share, left in (("test", test, 1), ("val", val, 2)):
                count = round(share * len(group))
                left = 0 if share == 1 else left
                if share and len(group) > 2:
                    count = max(count, 2)
                count = max(min(count, len(rest) - left), 0)
                split[part] += sorted(rest[:count])
                rest = rest[count:]
            split["train"] += sorted(rest)
    return split
