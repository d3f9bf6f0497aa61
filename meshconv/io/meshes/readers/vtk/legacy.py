"""Legacy VTK files of polygons and strips, ASCII and binary, with the data of their points and cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.meshes.readers.vtk.body import VtkBody
from meshconv.io.meshes.readers.vtk.cells import Cells, GridCells, grid_cells

_DATA_SETS = ("POLYDATA", "UNSTRUCTURED_GRID")
_CELLS = ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")


def read_vtk(path: Path) -> PolygonFile:
    """Read a legacy VTK file whose data set is POLYDATA, or an UNSTRUCTURED_GRID of flat cells or of volumes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Scalars, vectors, tensors and field arrays of points and polygons under their names, ``[n]`` or
        ``[n, components]``. Loose points, lines and ghost cells are left out.

    Raises
    ------
    InputError
        Not this format, another data set, curved cells, or fewer numbers than the file promises.
    """
    data: dict[str, dict[str, NDArray]] = {"POINT_DATA": {}, "CELL_DATA": {}}
    size = {"POINT_DATA": 0, "CELL_DATA": 0}
    points, where = np.zeros((0, 3)), ""
    cells: dict[str, Cells] = {}
    types = np.zeros(0, dtype=np.int64)
    try:
        body = VtkBody(path.read_bytes(), _DATA_SETS)
        while (words := body.line()) is not None:
            key = words[0].upper()
            if key == "POINTS":
                points = body.values(3 * int(words[1]), words[2]).reshape(-1, 3).astype(np.float64)
            elif key in (*_CELLS, "CELLS"):
                cells[key] = body.cells(words)
            elif key == "CELL_TYPES":
                types = body.values(int(words[1]), "int").astype(np.int64)
            elif key in data:
                where, size[key] = key, int(words[1])
            elif key == "METADATA":
                body.skip_block()
            elif where:
                body.attribute(key, words, size[where], data[where])
            elif key == "FIELD":
                body.attribute(key, words, 0, {})
            else:
                raise ValueError(f"{words[0]!r} is not supported")
        if "CELLS" in cells:
            grid = grid_cells(cells["CELLS"], types)
        else:
            grid = _of_polygons(cells)
        grid = grid.own(data["CELL_DATA"])
        for kind, count in (("POINT_DATA", len(points)), ("CELL_DATA", len(grid.kept))):
            for name, values in data[kind].items():
                if len(values) != count:
                    raise ValueError(f"array {name!r} has {len(values)} rows for {count}")
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path}: cannot be read as 'vtk' ({first_line(error)}); save it as legacy polydata or as ply"
        ) from error
    at_points, of_cells = data["POINT_DATA"], data["CELL_DATA"]
    sizes, corners = grid.flat
    of_polygons = {name: values[grid.kept] for name, values in of_cells.items()}
    volumes = grid.surface(points, at_points, of_cells)
    return PolygonFile(points, corners, sizes, at_points, of_polygons, grid.strips, volumes=volumes)


def _of_polygons(cells: dict[str, Cells]) -> GridCells:
    """Polygons and strips of a POLYDATA; its cells are counted kind by kind, whatever their order in the file."""
    none = np.zeros(0, np.int64)
    of = [cells.get(key, (none, none)) for key in _CELLS]
    counts = [len(sizes) for sizes, _ in of]
    kind = np.repeat(np.arange(4), counts)
    sizes, corners = (np.concatenate([a, b]) for a, b in zip(of[2], of[3], strict=True))
    return GridCells((sizes, corners), np.arange(len(sizes)) >= counts[2], kind >= 2, [], "")


FORMATS = (MeshFormat("legacy VTK", (".vtk",), read_vtk),)
