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


class _Piece(NamedTuple):
    """What a part, or the file without parts, is made of, and where it is placed.

    Attributes
    ----------
    name : str
    blocks : list of _Block
    lines : list of str
        Shift, and axis and angle of a turn, of an instance.
    """

    name: str
    blocks: list[_Block]
    lines: list[str]


def read_inp(path: Path) -> PolygonFile:
    """Read the linear shell and membrane elements of an Abaqus file, or its linear solids.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Nodes and elements in the order of the file, whatever their numbers, which are ``node`` and ``element``.
        ``nset`` and ``elset`` name the sets of each, joined by ``+``, "" where there is none. Parts stand where the
        assembly places them, one after the other; ``instance`` names that of each element if there are several. Other
        elements (beams, springs, connectors) are left out.

    Raises
    ------
    InputError
        Quadratic elements, generated or included ones, other coordinates, numbers twice or unknown.
    """
    try:
        return _content(_blocks(read_text(path)))
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as 'inp' ({first_line(error)}); save the surface as vtk") from error


def _blocks(text: str) -> list[_Block]:
    found: list[_Block] = []
    head = ""
    for line in text.split("\n"):
        line = line.strip()
        if not line or line.startswith("**"):
            continue
        if line.startswith("*") or head:
            head += line
            if line.endswith(","):  # goes on in the next line
                continue
            keyword, *rest = (" ".join(word.split()) for word in head[1:].split(","))
            named = (word.partition("=") for word in rest)
            parameters = {n.strip().upper(): v.strip().strip('"') for n, _, v in named if n.strip()}
            found.append(_Block(keyword.upper(), parameters, []))
            head = ""
        elif found:
            found[-1].lines.append(line)
    return found


def _content(blocks: list[_Block]) -> PolygonFile:
    names = {block.keyword for block in blocks}
    if "INCLUDE" in names or any("INPUT" in b.parameters for b in blocks if b.keyword in ("NODE", "ELEMENT")):
        raise ValueError("it includes another file; write them as one")
    made = sorted(names & {"NGEN", "NFILL", "NCOPY", "ELGEN", "ELCOPY", "NMAP", "SYSTEM"})
    if made:
        raise ValueError(f"it makes or moves nodes or elements by *{made[0]}; write them all, in x, y and z")
    points, number_of, nsets, cells, numbers, elsets, instances = [np.zeros((0, 3))], [], [], [], [], [], []
    pieces = _pieces(blocks)
    count = 0
    for piece in pieces:
        nodes: dict[int, list[float]] = {}
        own: dict[int, _Cell] = {}
        for block in piece.blocks:
            if block.keyword == "NODE":
                _add_nodes(block, nodes)
            elif block.keyword == "ELEMENT":
                _add_cells(block, own)
        place = {number: count + k for k, number in enumerate(nodes)}
        points.append(_placed(np.array(list(nodes.values()), dtype=np.float64).reshape(-1, 3), piece.lines))
        count += len(nodes)
        number_of += list(nodes)
        nsets += _sets("NSET", piece.blocks, dict.fromkeys(nodes, ()))
        cells += [cell._replace(corners=[place[n] for n in cell.corners]) for cell in own.values()]
        numbers += list(own)
        elsets += _sets("ELSET", piece.blocks, {n: cell.sets for n, cell in own.items()})
        instances += [piece.name] * len(own)
    vertices = np.concatenate(points)
    at_nodes = {"node": np.array(number_of, dtype=np.int64), **_words("nset", nsets)}
    solid = [k for k, cell in enumerate(cells) if cell.kind != "shell"]
    chosen = solid or range(len(cells))
    of = {"element": np.array([numbers[k] for k in chosen], dtype=np.int64),
          **_words("elset", [elsets[k] for k in chosen])}  # fmt: skip
    if len(pieces) > 1:
        of |= _words("instance", [instances[k] for k in chosen])
    if not solid:
        flat = np.array([n for cell in cells for n in cell.corners], dtype=np.int64)
        sizes = np.array([len(cell.corners) for cell in cells], dtype=np.int64)
        return PolygonFile(vertices, flat, sizes, at_nodes, of)
    groups = []
    for kind in VOLUME_SIZES:
        rows = [(row, cells[k].corners) for row, k in enumerate(solid) if cells[k].kind == kind]
        if rows:
            groups.append(VolumeCells(kind, np.array([c for _, c in rows]), np.array([row for row, _ in rows])))
    beside = len(cells) - len(solid)
    says = f"{len(solid)} volume cells" + (f" beside {beside} polygons" if beside else "")
    none = np.zeros(0, np.int64)
    surface = Volumes(says, lambda: surface_of_volumes(vertices, groups, len(solid), at_nodes, of))
    return PolygonFile(vertices, none, none, at_nodes, volumes=surface)


def _pieces(blocks: list[_Block]) -> list[_Piece]:
    """Instances of parts as the assembly places them; without an assembly the parts, and without these the file."""
    parts: dict[str, _Piece] = {}
    instances: dict[str, _Piece] = {}
    of_assembly: list[_Block] = []
    here: list[_Block] = of_assembly
    for block in blocks:
        if block.keyword == "PART":
            name = block.parameters["NAME"]
            here = parts.setdefault(name.upper(), _Piece(name, [], [])).blocks
        elif block.keyword == "INSTANCE":
            name, part = block.parameters["NAME"], block.parameters["PART"]
            if part.upper() not in parts:
                raise ValueError(f"instance {name} is of part {part}, which does not exist")
            here = list(parts[part.upper()].blocks)
            instances[name.upper()] = _Piece(name, here, block.lines)
        elif block.keyword in ("END PART", "END INSTANCE"):
            here = of_assembly
        else:
            here.append(block)
    if not parts:
        return [_Piece("", of_assembly, [])]
    for block in of_assembly:  # sets of an instance
        if block.keyword in ("NSET", "ELSET") and block.parameters.get("INSTANCE", "").upper() in instances:
            instances[block.parameters["INSTANCE"].upper()].blocks.append(block)
    return list(instances.values()) or list(parts.values())


def _placed(points: NDArray[np.float64], lines: list[str]) -> NDArray[np.float64]:
    """Points shifted by the first line, then turned about the axis from a to b by an angle in degrees of the second."""
    if not lines:
        return points
    shift, *turn = ([float(word) for word in line.split(",") if word.strip()] for line in lines)
    points = points + [*shift, 0.0, 0.0, 0.0][:3]
    if turn:
        from scipy.spatial.transform import Rotation  # which no other reader imports

        a, b, angle = np.array(turn[0][:3]), np.array(turn[0][3:6]), np.radians(turn[0][6])
        length = np.linalg.norm(b - a)
        if not length > 0:
            raise ValueError("an instance turns about an axis of no length")
        axis = (b - a) / length
        points = a + Rotation.from_rotvec(angle * axis).apply(points - a)
    return points


def _words(key: str, values: list[str]) -> dict[str, NDArray]:
    """Names as an array, if there are any."""
    return {key: np.array(values, dtype=str)} if any(values) else {}


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


def _sets(keyword: str, blocks: list[_Block], members: dict[int, tuple[str, ...]]) -> list[str]:
    """Names of the sets of each node or element."""
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
    return ["+".join(names) for names in of.values()]


FORMATS = (MeshFormat("Abaqus", (".inp",), read_inp),)
