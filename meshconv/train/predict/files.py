"""Files of predictions: names, tables and incremental results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.datasets.meshes.sample import MeshSource, name_of
from meshconv.errors import InputError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.tables import write_table
from meshconv.train.predict.meshes import Meshes, MeshResult

# Extensions of meshes with predictions.
_WRITTEN = (".ply", ".vtp", ".vtu", ".vtk", ".vtm")


def write_results(results: Iterator[MeshResult], meshes: Meshes, output: Path) -> list[Path]:
    """Write each result when it is there, then tables of all.

    Files are ``output_<name>...`` of each result, ``output.csv`` with the columns of the task, if any, and
    ``output.json`` with all rows and the reasons for meshes that were left out.
    """
    places: list[Path] = []
    shared: list[Path] = []
    found: dict[int, tuple[list[Path], dict[str, Any], tuple[str, ...]]] = {}
    number = {id(source): k for k, source in enumerate(meshes.sources)}
    for result in results:
        if not places:
            others = [] if meshes.template is None else [meshes.template]
            places = output_places(output, [*meshes.sources, *others], result.shared)
            shared = result.write_shared(output)
        k = number[id(result.source)]
        files = result.write(places[k])
        row = result.row()
        row |= {key: str(path) for key, path in files.items() if key in row}
        found[k] = list(files.values()), row, result.columns
    in_order = [found[k] for k in sorted(found)]
    written, rows = [path for files, _, _ in in_order for path in files], [row for _, row, _ in in_order]
    columns = in_order[0][-1] if in_order else ()
    return [*shared, *written, *write_tables(output, rows, columns, meshes.skipped)]


def make_folder(output: Path) -> None:
    """Make the folder of what is going to be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output.parent}: no folder to write to ({error.strerror}); give another --output") from error


def output_places(output: Path, sources: Sequence[MeshSource], taken: Sequence[str] = ()) -> list[Path]:
    """``output_<name>`` for each mesh; of those with one name, or one ``taken``, with their folder or a number too.

    Raises
    ------
    InputError
        One of the files would be overwritten.
    """
    paths = [Path(name_of(source)) for source in sources]
    names = [path.stem for path in paths]
    many = Counter([*names, *taken, *taken])
    names = [f"{p.resolve().parent.name}_{n}" if many[n] > 1 else n for p, n in zip(paths, names, strict=True)]
    many = Counter(names)
    names = [f"{n}_{k}" if many[n] > 1 else n for k, n in enumerate(names)]
    places = [output.with_name(f"{output.name}_{name}") for name in names]
    files = {path.resolve().with_suffix(""): path for path in paths if path.suffix.lower() in _WRITTEN}
    for place in places:
        if place.resolve() in files:
            raise InputError(f"{files[place.resolve()]}: a prediction would overwrite it; give another --output")
    return places


def write_tables(output: Path, rows: list[dict[str, Any]], columns: Sequence[str], problems: list[str]) -> list[Path]:
    """``output.csv`` with some columns of the predictions, ``output.json`` with all and what was left out."""
    table, full = output.with_suffix(".csv"), output.with_suffix(".json")
    if columns:
        write_table(table, columns, ([row.get(name) for name in columns] for row in rows))
    write_text(full, json.dumps({"predictions": rows, "skipped": problems}, indent=1) + "\n")
    return [table, full] if columns else [full]


def write_text(target: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(target) as part:
        part.write_text(text, encoding="utf-8")


def write_array(target: Path, values: NDArray) -> None:
    """Write an array as ``.npy``, whole or not at all."""
    with atomic_write(target) as part, part.open("wb") as stream:
        np.save(stream, values)
