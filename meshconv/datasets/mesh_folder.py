"""A folder of meshes with one sub-folder per class."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from meshconv.datasets.batch import SurfaceBatch, join_surfaces
from meshconv.datasets.preparation import MeshSample, Preparation, prepare_meshes
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.repair import OnDefect
from meshconv.io.cache import Cache
from meshconv.io.meshes import mesh_formats

log = logging.getLogger(__name__)

# Point clouds, drawings and names that are no suffix of a file on disk are left out.
MESH_SUFFIXES = frozenset(f".{f}" for f in mesh_formats()) - {".xyz", ".dxf", ".stl_ascii"}


def collate(samples: list[MeshSample]) -> SurfaceBatch:
    """Disjoint union of meshes; all graphs, or all hierarchies."""
    targets = [s.target for s in samples]
    given = [s.elements for s in samples if s.elements is not None]
    shifts = accumulate((len(s.x) for s in samples[:-1]), initial=0)
    return SurfaceBatch(
        x=torch.cat([s.x for s in samples]),
        surface=join_surfaces([s.surface for s in samples]),
        target=torch.stack(targets) if targets[0].ndim == 0 else torch.cat(targets),
        mask=None,
        names=[s.name for s in samples],
        elements=torch.cat([e + k for e, k in zip(given, shifts, strict=True)]) if given else None,
    )


class MeshFolder(lightning.LightningDataModule):
    """Meshes in ``root/<class>/train|test/<file>``, or in ``root/<class>/<file>`` with a seeded split.

    Parameters
    ----------
    root
        The folder; every format that trimesh reads.
    batch_size
        Meshes per batch.
    test_fraction
        Share of each class for testing where the folder has no ``train`` and ``test``.
    val_fraction
        Share of each class's training meshes for validation.
    transport
        ``"levi_civita"`` or ``"normal_aligning"`` (see :class:`~meshconv.TriangleMesh`).
    on_defect
        ``"repair"`` defective meshes, ``"drop"`` their bad faces, or treat them as an ``"error"`` (see
        :meth:`TriangleMesh.repair <meshconv.TriangleMesh.repair>`).
    rings, radius, nearest
        At most one: geodesic neighbourhoods of so many rings, of this radius in square roots of the mesh's area, or of
        so many vertices (see :meth:`TriangleMesh.gauge_graph <meshconv.TriangleMesh.gauge_graph>`). By default each
        vertex has its direct neighbours.
    features
        Names of inputs: ``default`` (invariant fields), ``hks``, ``wks``, ``curvature``, ``coordinates``, ... as
        :func:`~meshconv.geometry.inputs.surface_features` has them.
    cache
        Folder of prepared meshes; true: ``MESHCONV_CACHE`` or ``~/.cache/meshconv``; false: nothing is kept. Entries
        hold graph, features and the map back to the file, about 100 KB for 250 vertices with direct neighbours.
    workers
        Processes that prepare meshes; 0: this one; none given: see
        :func:`~meshconv.datasets.preparation.prepare_meshes`.
    strict
        Stop at the first mesh that cannot be used instead of leaving it out.
    seed
        Of both splits.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 16,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        transport: str = "levi_civita",
        on_defect: OnDefect = "repair",
        rings: int | None = None,
        radius: float | None = None,
        nearest: int | None = None,
        features: Sequence[str] = ("default",),
        cache: bool | str | None = True,
        workers: int | None = None,
        strict: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        for name, value in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
            if not 0 <= value < 1:
                raise InputError(f"{name} {value} is not in [0, 1)")
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size} has to be at least 1")
        if workers is not None and workers < 0:
            raise InputError(f"workers {workers} has to be at least 0")
        self.root, self.batch_size, self.strict = Path(root), batch_size, strict
        self.how = Preparation(transport, on_defect, rings, radius, nearest, tuple(features))
        self.cache, self.workers = Cache.choose(cache), workers
        files = find_mesh_files(self.root)
        self.class_names = sorted(files)
        self._paths: dict[str, list[tuple[Path, int]]] = {"train": [], "val": [], "test": []}
        for label, name in enumerate(self.class_names):
            split = split_class(files[name], test_fraction, val_fraction, random.Random(f"{seed}/{name}"))
            if not split["train"]:
                raise InputError(f"{self.root / name}: no training mesh is left for class {name!r}")
            for part, paths in split.items():
                self._paths[part] += [(path, label) for path in paths]
        self._samples: dict[str, list[MeshSample]] = {}

    @property
    def in_type(self) -> FieldType:
        return self.how.in_type

    @property
    def spec(self) -> dict[str, Any]:
        """How inputs are made, for prediction."""
        return {"kind": "meshes", **self.how.spec}

    def samples(self, split: str) -> list[MeshSample]:
        """Prepared meshes of ``"train"``, ``"val"`` or ``"test"``, computed once."""
        if split not in self._samples:
            samples, problems = prepare_meshes(
                self._paths[split],
                self.how,
                strict=self.strict,
                what=f"preparing {split} meshes",
                cache=self.cache,
                workers=self.workers,
            )
            if problems and not samples:
                raise InputError(f"{self.root}: none of the {len(problems)} {split} meshes can be used: {problems[0]}")
            self._samples[split] = samples
        return self._samples[split]

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader:
        return DataLoader(
            self.samples(split), self.batch_size, shuffle=shuffle, collate_fn=collate  # type: ignore[arg-type]
        )

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader | list:
        return self._loader("val") if self._paths["val"] else []

    def test_dataloader(self) -> DataLoader:
        if not self._paths["test"]:
            raise InputError(f"{self.root}: there are no test meshes; set test_fraction above 0")
        return self._loader("test")


def find_mesh_files(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Mesh files per class and part (``"train"``, ``"test"``, or ``""`` directly in the class folder).

    Raises
    ------
    InputError
        If the folder is missing, holds no meshes, or only one class.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; give one with a sub-folder of meshes per class")
    found: dict[str, dict[str, list[Path]]] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        parts = {part: _meshes_in(folder / part) for part in ("train", "test")}
        if not any(parts.values()):
            parts = {"": _meshes_in(folder)}
        if any(parts.values()):
            found[folder.name] = parts
        else:
            log.warning("%s: no mesh files, so no class %r", folder, folder.name)
    if not found:
        loose = len(_meshes_in(root))
        hint = f" ({loose} lie directly in it)" if loose else ""
        raise InputError(f"{root}: no meshes in class sub-folders{hint}; put them in {root}/<class>/<file>")
    if len(found) == 1:
        raise InputError(f"{root}: only one class, {next(iter(found))!r}; a classifier needs at least two")
    return found


def split_class(
    parts: dict[str, list[Path]], test_fraction: float, val_fraction: float, rng: random.Random
) -> dict[str, list[Path]]:
    """Training, validation and test files of one class; at least one of several is kept for each wanted part."""
    if "" in parts:
        train, test = _cut(parts[""], test_fraction, rng)
    else:
        train, test = list(parts["train"]), list(parts["test"])
    train, val = _cut(train, val_fraction, rng)
    return {"train": train, "val": val, "test": test}


def _cut(paths: list[Path], fraction: float, rng: random.Random) -> tuple[list[Path], list[Path]]:
    shuffled = sorted(paths)
    rng.shuffle(shuffled)
    count = round(len(shuffled) * fraction)
    if fraction > 0 and len(shuffled) > 1:
        count = min(max(count, 1), len(shuffled) - 1)
    return sorted(shuffled[count:]), sorted(shuffled[:count])


def _meshes_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in MESH_SUFFIXES and p.is_file())
