"""What predictions of mesh files share: preparation, names of outputs, tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshconv.datasets.meshes.preparation import Labelling, MeshSample, Preparation, prepare_meshes
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.io.tables import write_table
from meshconv.train.tasks.base import Task


def prepare_files(
    task: Task,
    paths: list[Path],
    strict: bool,
    cache: Cache | None,
    workers: int | None,
    labelling: int | Labelling = -1,
) -> tuple[list[MeshSample], list[str]]:
    """Meshes prepared as those of the training were, and what is wrong with those that cannot be used.

    Raises
    ------
    InputError
        No mesh can be used, or, with ``strict`` or a single one, the first that cannot.
    """
    how = Preparation.from_spec(task.hparams["spec"])
    strict = strict or len(paths) == 1  # nothing else is left to predict
    samples, problems = prepare_meshes(
        [(p, labelling) for p in paths], how, strict=strict, cache=cache, workers=workers
    )
    if not samples:
        raise InputError(f"none of {len(problems)} meshes can be used, the first: {problems[0]}")
    return samples, problems


def output_places(output: Path, paths: list[Path], taken: Sequence[str] = ()) -> list[Path]:
    """``output_<name>`` for each file; of those with one name, or one ``taken``, with their folder or a number too.

    Raises
    ------
    InputError
        One of the files would be overwritten.
    """
    names = [path.stem for path in paths]
    many = Counter([*names, *taken, *taken])
    names = [f"{p.resolve().parent.name}_{n}" if many[n] > 1 else n for p, n in zip(paths, names, strict=True)]
    many = Counter(names)
    names = [f"{n}_{k}" if many[n] > 1 else n for k, n in enumerate(names)]
    places = [output.with_name(f"{output.name}_{name}") for name in names]
    files = {path.resolve().with_suffix(""): path for path in paths if path.suffix.lower() == ".ply"}
    for place in places:
        if place.resolve() in files:
            raise InputError(f"{files[place.resolve()]}: a prediction would overwrite it; give another --output")
    return places


def write_tables(output: Path, rows: list[dict[str, Any]], columns: Sequence[str], problems: list[str]) -> list[Path]:
    """``output.csv`` with some columns of the predictions, ``output.json`` with all and the meshes left out."""
    table, full = output.with_suffix(".csv"), output.with_suffix(".json")
    write_table(table, columns, ([row.get(name) for name in columns] for row in rows))
    with atomic_write(full) as part:
        part.write_text(json.dumps({"predictions": rows, "skipped": problems}, indent=1) + "\n")
    return [table, full]
