"""Nastran's bulk data: points, shells and solids in free, small and large fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, Volumes
from meshconv.io.meshes.readers.libraries import in_one_line
from meshconv.io.meshes.volumes import VOLUME_SIZES, VolumeCells, surface_of_volumes
from meshconv.io.text import read_text

_SHELLS = {"CTRIA3": 3, "CTRIAR": 3, "CQUAD4": 4, "CQUADR": 4, "CSHEAR": 4}
_SOLIDS = {"CTETRA": "tetra", "CPYRAM": "pyramid", "CPYRA": "pyramid", "CPENTA": "wedge", "CHEXA": "hexahedron"}
_CURVED = ("CTRIA6", "CTRIAX6", "CTRAX6", "CQUAD8", "CQUAD9", "CQUAD", "CQUADX")
_WITHOUT_E = re.compile(r"(?<=[\d.])([+-]\d+)$")


@in_one_line
def read_bdf(path: Path) -> PolygonFile:
    """The linear shells of a file, or, if there are none, its linear solids.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Points and elements in the order of the file, whatever their numbers, which are ``node`` and ``element``;
        ``nastran:ref`` is the property of each element. Other elements (beams, springs, masses) are left out.

    Raises
    ------
    InputError
        Curved elements, points in other coordinates than the basic ones, included files, numbers twice or unknown.
    """
    points: dict[int, list[float]] = {}
    shells: dict[int, tuple[int, list[int]]] = {}
    solids: dict[int, tuple[str, int, list[int]]] = {}
    default = ["", "", "", "", "", ""]
    for name, *fields in _cards(_bulk(read_text(path))):
        if name == "GRDSET":
            default = [*fields, *[""] * 6][:6]
        elif name == "GRID":
            point, frame, *xyz = (*fields, *[""] * 5)[:5]
            if (frame or default[1]) not in ("", "0"):
                raise ValueError(f"a point is in coordinate system {frame or default[1]}; write it in the basic one")
            if int(point) in points:
                raise ValueError(f"point {int(point)} is defined twice")
            points[int(point)] = [_real(word) for word in xyz]
        elif name in _CURVED:
            raise ValueError(f"elements {name} are curved; write linear ones")
        elif name in _SHELLS or name in _SOLIDS:
            number, owner = int(fields[0]), int(fields[1] or fields[0])
            if number in shells or number in solids:
                raise ValueError(f"element {number} is defined twice")
            if name in _SHELLS:
                shells[number] = owner, [int(word) for word in fields[2 : 2 + _SHELLS[name]]]
                continue
            kind = _SOLIDS[name]
            corners = [int(word) for word in fields[2:] if word]
            if len(corners) != VOLUME_SIZES[kind]:
                raise ValueError(f"element {number} of {len(corners)} points is curved; write linear ones")
            solids[number] = kind, owner, corners
    place = {number: k for k, number in enumerate(points)}
    used = [corners for _, corners in shells.values()] + [corners for _, _, corners in solids.values()]
    unknown = [n for corners in used for n in corners if n not in place]
    if unknown:
        raise ValueError(f"point {unknown[0]} does not exist")
    vertices = np.array(list(points.values()), dtype=np.float64).reshape(-1, 3)
    at_points = {"node": np.array(list(points), dtype=np.int64)}
    cells = shells or solids
    data = {"element": np.array(list(cells), dtype=np.int64),
            "nastran:ref": np.array([cell[-2] for cell in cells.values()], dtype=np.int64)}  # fmt: skip
    none = np.zeros(0, np.int64)
    if shells or not solids:
        flat = np.array([place[n] for _, corners in shells.values() for n in corners], dtype=np.int64)
        sizes = np.array([len(corners) for _, corners in shells.values()], dtype=np.int64)
        return PolygonFile(vertices, flat, sizes, at_points, data)
    blocks = []
    for kind in dict.fromkeys(kind for kind, _, _ in solids.values()):
        of = [(k, [place[n] for n in c]) for k, (other, _, c) in enumerate(solids.values()) if other == kind]
        blocks.append(VolumeCells(kind, np.array([c for _, c in of]), np.array([k for k, _ in of])))
    surface = Volumes(f"{len(solids)} volume cells",
                      lambda: surface_of_volumes(vertices, blocks, len(solids), at_points, data))  # fmt: skip
    return PolygonFile(vertices, none, none, at_points, volumes=surface)


def _bulk(text: str) -> list[str]:
    """Lines of the bulk data without comments, of a whole file or of these alone."""
    lines = [line.split("$")[0].expandtabs(8).rstrip() for line in text.split("\n")]
    starts = [k for k, line in enumerate(lines) if re.match(r"\s*BEGIN\s+(SUPER.*)?BULK", line, re.IGNORECASE)]
    lines = [line for line in lines[starts[0] + 1 if starts else 0 :] if line.strip()]
    end = next((k for k, line in enumerate(lines) if line.strip().upper().startswith("ENDDATA")), len(lines))
    return lines[:end]


def _cards(lines: list[str]) -> Iterator[list[str]]:
    """Fields of each card, behind its name without ``*``, on whatever lines they stand."""
    card: list[str] = []
    for line in lines:
        if line.upper().startswith("INCLUDE"):
            raise ValueError("it includes another file; write them as one")
        name, fields = _fields(line)
        if name[:1] in ("", "+", "*") and card:
            card += fields
        else:
            if card:
                yield card
            card = [name.rstrip("*"), *fields]
    if card:
        yield card


def _fields(line: str) -> tuple[str, list[str]]:
    """The first field of a line, and the four or eight behind it; what names the line that follows is left out."""
    if "," in line:
        words = [word.strip() for word in line.split(",")]
        count = 4 if "*" in words[0] else 8
        return words[0].upper(), (words[1 : 1 + count] + [""] * count)[:count]
    name = line[:8].strip().upper()
    width = 16 if "*" in name else 8
    return name, [line[k : k + width].strip() for k in range(8, 72, width)]


def _real(word: str) -> float:
    """A number, which may lack the ``E`` of its exponent; blank is 0."""
    return float(_WITHOUT_E.sub(r"e\1", word.upper().replace("D", "E"))) if word else 0.0


FORMATS = (MeshFormat("Nastran", (".bdf", ".nas"), read_bdf),)
