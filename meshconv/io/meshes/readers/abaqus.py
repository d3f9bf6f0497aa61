"""Abaqus input files: nodes, shell and solid elements, and sets as labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, Volumes
from meshconv.io.meshes.volumes import VOLUME_SIZES, VolumeCells, surface_of_volumes
from meshconv.io.text import read_text

# Linear elements by their names without letters for integration and material: corners, and kind of volumes.
_SHELL = re.compile(r"(?:S|R3D|M3D|SFM3D|STRI|DS|CPS|CPE|CAX|DC2D|F3D|WARP2D|SC)(3|4)(?:[A-Z].*|5)?$")
_SOLID = re.compile(r"(?:C3D|DC3D|AC3D)(4|5|6|8)(?:[A-Z].*)?$")
_KINDS = {size: kind for kind, size in VOLUME_SIZES.items()}


class _Block(NamedTuple):
    """A keyword with its parameters, and the lines below it."""

    keyword: str
    parameters: dict[str, str]
    lines: list[str]


class _Cell(NamedTuple):
    kind: str
    corners: list[int]
    sets: tuple[str, ...]


def read_inp(path: Path) -> PolygonFile:
    """Read the linear shell and membrane elements of an Abaqus file, or its linear solids.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Nodes and elements in the order of the file, whatever their numbers, which are ``node`` and ``element``.
        ``nset`` and ``elset`` name the sets of each, joined by ``+``, "" where there is none. Other elements (beams,
        springs, connectors) are left out.

    Raises
    ------
    InputError
        Quadratic elements, parts that are placed by an assembly, included files, numbers twice or unknown.
    """
    try:
        return _content(_blocks(read_text(path)))
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as 'inp' ({first_line(error)}); save the surface as vtk") from error


def _blocks(text: str) -> list[_Block]:
    found: list[_Block] = []
    for line in text.split("\n"):
        line = line.strip()
        if not line or line.startswith("**"):
            continue
        if line.startswith("*"):
            keyword, *rest = (word.strip() for word in line[1:].split(","))
            named = (word.partition("=") for word in rest)
            found.append(_Block(keyword.upper(), {n.strip().upper(): v.strip() for n, _, v in named if n.strip()}, []))
        elif found:
            found[-1].lines.append(line)
    return found


def _content(blocks: list[_Block]) -> PolygonFile:
    names = [block.keyword for block in blocks]
    if "INCLUDE" in names or any("INPUT" in b.parameters for b in blocks if b.keyword in ("NODE", "ELEMENT")):
        raise ValueError("it includes another file; write them as one")
    if names.count("PART") > 1 or any(b.lines for b in blocks if b.keyword == "INSTANCE") or "NGEN" in names:
        raise ValueError("it places or generates parts; write a file of one part")
    nodes: dict[int, list[float]] = {}
    cells: dict[int, _Cell] = {}
    for block in blocks:
        if block.keyword == "NODE":
            _add_nodes(block, nodes)
        elif block.keyword == "ELEMENT":
            _add_cells(block, cells)
    place = {number: k for k, number in enumerate(nodes)}
    points = np.array(list(nodes.values()), dtype=np.float64).reshape(-1, 3)
    number_of = np.array(list(nodes), dtype=np.int64)
    at_nodes = {"node": number_of} | _sets("NSET", blocks, dict.fromkeys(nodes, ()))
    shells = {n: cell for n, cell in cells.items() if cell.kind == "shell"}
    solids = {n: cell for n, cell in cells.items() if cell.kind != "shell"}
    if solids:
        of = {"element": np.array(list(solids), dtype=np.int64)} | _sets(
            "ELSET", blocks, {n: cell.sets for n, cell in solids.items()}
        )
        groups = []
        for kind in VOLUME_SIZES:
            rows = [k for k, cell in enumerate(solids.values()) if cell.kind == kind]
            corners = [[place[n] for n in cell.corners] for cell in solids.values() if cell.kind == kind]
            if rows:
                groups.append(VolumeCells(kind, np.array(corners, dtype=np.int64), np.array(rows, dtype=np.int64)))
        says = f"{len(solids)} volume cells" + (f" beside {len(shells)} polygons" if shells else "")
        none = np.zeros(0, np.int64)
        surface = Volumes(says, lambda: surface_of_volumes(points, groups, len(solids), at_nodes, of))
        return PolygonFile(points, none, none, at_nodes, volumes=surface)
    of_shells = {"element": np.array(list(shells), dtype=np.int64)} | _sets(
        "ELSET", blocks, {n: cell.sets for n, cell in shells.items()}
    )
    flat = [place[n] for cell in shells.values() for n in cell.corners]
    sizes = np.array([len(cell.corners) for cell in shells.values()], dtype=np.int64)
    return PolygonFile(points, np.array(flat, dtype=np.int64), sizes, at_nodes, of_shells)


def _add_nodes(block: _Block, nodes: dict[int, list[float]]) -> None:
    if block.parameters.get("SYSTEM", "R").upper() != "R":
        raise ValueError("its nodes are in cylindrical or spherical coordinates; write them as x, y, z")
    for line in block.lines:
        number, *xyz = (word for word in line.split(",") if word.strip())
        if int(number) in nodes:
            raise ValueError(f"node {int(number)} is defined twice")
        nodes[int(number)] = ([float(word) for word in xyz] + [0.0] * 3)[:3]


def _add_cells(block: _Block, cells: dict[int, _Cell]) -> None:
    name = block.parameters["TYPE"].upper()
    shell, solid = _SHELL.fullmatch(name), _SOLID.fullmatch(name)
    found = shell or solid
    if found is None:
        if re.match(r"S[689]|STRI65|M3D[689]|CP[SE][68]|CAX[68]|C3D(10|15|20|27)", name):
            raise ValueError(f"elements of type {name} are curved; write linear ones")
        return
    size = int(found[1])
    kind = "shell" if shell else _KINDS[size]
    sets = (block.parameters["ELSET"],) if "ELSET" in block.parameters else ()
    words = [int(word) for line in block.lines for word in line.split(",") if word.strip()]
    if len(words) % (size + 1):
        raise ValueError(f"{len(words)} numbers make no elements of type {name}, which take {size + 1} each")
    for start in range(0, len(words), size + 1):
        number, *corners = words[start : start + size + 1]
        if number in cells:
            raise ValueError(f"element {number} is defined twice")
        cells[number] = _Cell(kind, corners, sets)


def _sets(keyword: str, blocks: list[_Block], members: dict[int, tuple[str, ...]]) -> dict[str, NDArray]:
    """Names of the sets of each node or element; nothing if there is none."""
    of = {number: list(names) for number, names in members.items()}
    by_name: dict[str, list[int]] = {}
    for number, names in members.items():
        for name in names:
            by_name.setdefault(name.upper(), []).append(number)
    for block in blocks:
        if block.keyword != keyword or keyword not in block.parameters:
            continue
        name, found = block.parameters[keyword], []
        words = [word.strip() for line in block.lines for word in line.split(",") if word.strip()]
        if "GENERATE" in block.parameters:
            for line in block.lines:
                first, last, *step = (int(word) for word in line.split(",") if word.strip())
                chosen = range(first, last + 1, *step)
                # Whichever is less: a range may promise more than there are.
                found += [n for n in chosen if n in of] if len(chosen) <= len(of) else [n for n in of if n in chosen]
        else:
            for word in words:
                found += [int(word)] if word.lstrip("-").isdigit() else by_name.get(word.upper(), [])
        by_name.setdefault(name.upper(), []).extend(found)
        for number in found:
            if number in of and name not in of[number]:
                of[number].append(name)
    if not any(of.values()):
        return {}
    return {keyword.lower(): np.array(["+".join(names) for names in of.values()], dtype=str)}


FORMATS = (MeshFormat("Abaqus", (".inp",), read_inp),)
