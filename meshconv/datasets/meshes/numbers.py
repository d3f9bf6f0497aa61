"""Data module of regression: a number or several for each mesh."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from meshconv.datasets.meshes.files import Split, check_fractions, files_below, meshes_below, warn_of_duplicates
from meshconv.datasets.meshes.layouts.segments import LabelledFile, split_files
from meshconv.datasets.meshes.module import MeshData
from meshconv.datasets.meshes.sample import PreparedMesh
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.io.text import read_text

log = logging.getLogger(__name__)

_TABLES = (".csv", ".tsv")


class MeshNumbers(MeshData):
    """Data module of meshes below a folder with numbers in a table: drag, age, volume.

    The table is a CSV file (commas, semicolons or tabs) with a headline. Its first column names meshes: file names with
    or without extension, paths below ``root``, or folders that hold them. A cell that is empty or no finite number is
    unknown.

    Parameters
    ----------
    root
        The folder. Splits are as in :class:`~meshconv.datasets.meshes.segments.MeshSegments`.
    targets : list of str, optional
        Names of columns. By default all that hold nothing but numbers.
    table
        Path of the table, below ``root`` or any. By default the only ``.csv`` or ``.tsv`` file below it.
    test_fraction, val_fraction
        Shares for testing, and of the rest for validation, without splits in the folder.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`. Numbers that depend on the
        absolute size (a volume) need ``size: true``.

    Attributes
    ----------
    field_names : list of str
        The targets.
    out_type : FieldType
        As many scalars.

    Raises
    ------
    InputError
        No meshes, no table or several, columns that are not there, or a table none of whose names is that of a mesh.
    """

    target_kind: ClassVar[str] = "numbers for each mesh"

    def __init__(
        self,
        root: str,
        targets: Sequence[str] | None = None,
        table: str | None = None,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        **options: Any,
    ):
        super().__init__(**options)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{root}: not a folder; give one with meshes and a table of their numbers")
        meshes = meshes_below(self.root, self.pattern)
        if not meshes:
            raise InputError(f"{root}: no mesh files in it or below it")
        self.field_names, numbers = self.numbers(meshes, targets, table)
        self.out_type = FieldType.from_multiplicities([len(self.field_names)])
        pairs = [LabelledFile(mesh, None) for mesh in meshes if mesh in numbers]
        for split, part in self.split(pairs, test_fraction, val_fraction).items():
            for pair in part:
                target = torch.tensor([numbers[pair.mesh]], dtype=torch.float32)
                self.files[split].append((pair.mesh, _Numbers(target)))
        warn_of_duplicates(*([path for path, _ in self.files[part]] for part in ("train", "test")))

    def numbers(
        self, meshes: Sequence[Path], targets: Sequence[str] | None, table: str | None
    ) -> tuple[list[str], dict[Path, list[float]]]:
        """Names of the targets, and of each mesh that has some its numbers, NaN where unknown."""
        return numbers_of(self.root, meshes, targets, table)

    def split(
        self, pairs: Sequence[LabelledFile], test_fraction: float, val_fraction: float
    ) -> dict[Split, list[LabelledFile]]:
        """Meshes of each split; data sets with a layout of their own say it here."""
        return split_files(self.root, pairs, test_fraction, val_fraction, self.seed)

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of inputs and targets, in plain values."""
        return {**super().spec, "out_type": str(self.out_type)}

    @cached_property
    def target_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each target over the training meshes, float64 ``[targets]``."""
        target = torch.cat([sample.target for sample in self.samples("train")]).to(torch.float64)
        return number_statistics(self.root, self.field_names, target)


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Target of a mesh as a whole, ``[1, targets]``."""

    target: torch.Tensor

    def __call__(self, mesh: PreparedMesh) -> tuple[torch.Tensor, None]:
        return self.target, None


def numbers_of(
    root: Path, meshes: Sequence[Path], targets: Sequence[str] | None, table: str | None
) -> tuple[list[str], dict[Path, list[float]]]:
    """Names of columns of a table, and of each mesh that has a row its numbers there, NaN where unknown."""
    path = find_table(root, table)
    content = read_table(path)
    names = _columns(path, content, targets)
    places = [content.names.index(name) for name in names]
    rows = _rows_of(root, meshes, path, content)
    return names, {mesh: [number_of(row[k]) for k in places] for mesh, row in rows.items()}


def number_statistics(root: Path, names: Sequence[str], target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of numbers of training meshes, float64 ``[meshes, names]``."""
    mean = target.nanmean(0)
    if mean.isnan().any():
        unknown = names[int(mean.isnan().nonzero()[0])]
        raise InputError(f"{root}: target {unknown!r} is unknown for every training mesh")
    size = (target - mean).square().nanmean(0).sqrt()
    return mean, torch.where(size > 1e-6 * mean.abs(), size, 1.0)


class Table(NamedTuple):
    """Names of the columns, and rows of words, of which the first is the mesh."""

    names: list[str]
    rows: list[list[str]]


def find_table(root: Path, table: str | None) -> Path:
    """The table that is named, or the only one below the root."""
    if table is not None:
        found = next((p for p in (root / table, Path(table)) if p.is_file()), None)
        if found is None:
            raise InputError(f"{root / table}: no such table; give the path of a CSV file")
        return found
    tables = [path for path in files_below(root) if path.suffix.lower() in _TABLES]
    if len(tables) != 1:
        which = ", ".join(str(path.relative_to(root)) for path in tables[:4]) or "none"
        raise InputError(f"{root}: one table of numbers is needed, there is {which}; name it in table")
    return tables[0]


def read_table(path: Path) -> Table:
    """A CSV file with a headline; ``InputError`` for rows of another width, or names twice."""
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    apart = max("\t;,", key=lambda mark: lines[0].count(mark)) if lines else ","
    rows = [[word.strip() for word in row] for row in csv.reader(lines, delimiter=apart)]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise InputError(f"{path}: no table; write a headline, and a row for each mesh with its name and numbers")
    names = rows[0]
    for k, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise InputError(f"{path}: line {k} has {len(row)} cells, the headline {len(names)}; write one for each")
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]!r}; rename one")
    return Table(names, rows[1:])


def _columns(path: Path, table: Table, targets: Sequence[str] | None) -> list[str]:
    if targets is None:
        found = [
            name
            for k, name in enumerate(table.names)
            if k and all(math.isfinite(number_of(row[k])) or not row[k] for row in table.rows)
        ]
        if not found:
            raise InputError(f"{path}: no column holds nothing but numbers; name targets")
        return found
    if not targets or len(set(targets)) < len(targets):
        raise InputError(f"targets {list(targets)}: name at least one, each once")
    for name in targets:
        if name not in table.names[1:]:
            raise InputError(f"{path}: no column {name!r}; it has {', '.join(table.names[1:])}")
    return list(targets)


def _rows_of(root: Path, meshes: Sequence[Path], path: Path, table: Table) -> dict[Path, list[str]]:
    """The row of each mesh that has one."""
    by_name: dict[str, list[str]] = {}
    for row in table.rows:
        if row[0] in by_name:
            raise InputError(f"{path}: two rows are of {row[0]!r}; write one for each mesh")
        by_name[row[0]] = row
    found = {}
    for mesh in meshes:
        place = mesh.relative_to(root)
        names = (place.as_posix(), place.with_suffix("").as_posix(), place.name, place.stem, *place.parts[-2::-1])
        rows = [by_name[name] for name in names if name in by_name]
        if rows:
            found[mesh] = rows[0]
    if not found:
        raise InputError(f"{path}: none of its {len(by_name)} names is that of a mesh, e.g. {table.rows[0][0]!r}")
    if len(found) < len(meshes):
        left = next(mesh for mesh in meshes if mesh not in found)
        log.warning("%s: %d of %d meshes have no row and are left out, the first is %s", path, len(meshes) - len(found),
                    len(meshes), left)  # fmt: skip
    return found


def number_of(word: str) -> float:
    """A cell's number, NaN if it holds none."""
    try:
        value = float(word)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
