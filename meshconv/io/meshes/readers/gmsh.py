"""Gmsh's meshes of the versions 1, 2, 4.0 and 4.1, as text or binary in both orders of bytes."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, Volumes
from meshconv.io.meshes.readers.libraries import in_one_line
from meshconv.io.meshes.volumes import VolumeCells, surface_of_volumes
from meshconv.io.text import decode_text

# Corners of an element by its type; then those that are flat, and the volumes. The others are curved but for lines.
_SIZES = {1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 12: 27, 13: 18, 14: 14, 15: 1, 16: 8,
          17: 20, 18: 15, 19: 13, 20: 9, 21: 10, 22: 12, 23: 15, 24: 15, 25: 21, 26: 4, 27: 5, 28: 6, 29: 20, 30: 35,
          31: 56, 36: 16, 37: 25, 38: 36, 92: 64, 93: 125}  # fmt: skip
_FLAT = (2, 3)
_VOLUMES = {4: "tetra", 5: "hexahedron", 6: "wedge", 7: "pyramid"}
_LOOSE = (1, 8, 15, 26, 27, 28)
_HEADER = re.compile(rb"(?:\s*\$Comments.*?\$EndComments)*\s*\$MeshFormat\s+(\d+(?:\.\d+)?)\s+([01])\s+\d+[ \t\r]*\n",
                     re.DOTALL)  # fmt: skip
_NONE = np.zeros(0, np.int64)


class _Section:
    """Numbers of a section one after the other: words of a text, or bytes in an order."""

    def __init__(self, block: bytes, order: str):
        self.block, self.order, self.at = block, order, 0
        self.words: list[bytes] | None = None

    def line(self) -> str:
        """The next line that is not empty."""
        while self.at < len(self.block):
            end = self.block.find(b"\n", self.at)
            end = len(self.block) if end < 0 else end
            text, self.at = self.block[self.at : end].decode(errors="replace").strip(), end + 1
            if text:
                return text
        raise ValueError("a section ends early")

    def take(self, count: int, kind: str) -> NDArray:
        """So many numbers of a type; ``ValueError`` where fewer are left."""
        if self.order:
            dtype = np.dtype(self.order + kind)
            if not 0 <= count * dtype.itemsize <= len(self.block) - self.at:
                raise ValueError(f"{count} numbers promised, fewer found")
            self.at += count * dtype.itemsize
            return np.frombuffer(self.block, dtype, count, self.at - count * dtype.itemsize).astype(kind)
        if self.words is None:
            self.words, self.at = self.block[self.at :].split(), 0
        if not 0 <= count <= len(self.words) - self.at:
            raise ValueError(f"{count} numbers promised, {len(self.words) - self.at} found")
        self.at += count
        return np.array(self.words[self.at - count : self.at], dtype=np.float64 if kind[0] == "f" else np.int64)

    def one(self, kind: str) -> int:
        """The next number, whole."""
        return int(self.take(1, kind)[0])


class _Elements(NamedTuple):
    """Elements of one type: numbers ``[n]``, nodes ``[n, k]``, the first physical and the geometrical group ``[n]``,
    and all physical groups, as tuples, where an entity tells them."""

    kind: int
    numbers: NDArray[np.int64]
    nodes: NDArray[np.int64]
    physical: NDArray[np.int64]
    geometrical: NDArray[np.int64]
    groups: tuple[int, ...] | None


@in_one_line
def read_msh(path: Path) -> PolygonFile:
    """Triangles and quadrilaterals of a mesh with the data of its nodes and of these, or, if there are none, volumes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Nodes in the order of the file, whatever their numbers. ``gmsh:physical`` and ``gmsh:geometrical`` number the
        groups of each element, 0 for none, and ``physical`` has the names of the former, joined by ``+``. Data that
        the file has for some nodes or elements are NaN at the others.

    Raises
    ------
    InputError
        Curved elements, numbers that do not exist or twice, fewer of anything than promised.
    """
    content, order = path.read_bytes(), ""
    header = _HEADER.match(content)
    if header is not None and header[2] == b"1":
        order = "<" if content[header.end() : header.end() + 4] == b"\1\0\0\0" else ">"
    else:
        content = "\n".join(line.strip() for line in decode_text(content).split("\n")).encode()
        header = _HEADER.match(content)
    if header is None and not re.match(rb"\s*\$NOD\b", content):
        raise ValueError("it does not begin with $MeshFormat")
    said = b"1" if header is None else header[1]
    version = 4.1 if said == b"4" else float(said)
    if version not in (1, 2, 2.1, 2.2, 4, 4.1):
        raise ValueError(f"version {version:g} is not known; write 4.1")
    return _Reader(content, order, version).mesh()


class _Reader:
    """The sections of a file in its version."""

    def __init__(self, content: bytes, order: str, version: float):
        self.order, self.version = order, version
        self.sections: list[tuple[str, _Section]] = []
        at = 0
        for begin in re.finditer(rb"\$(\w+)[ \t]*\n", content):
            name = begin[1]
            if begin.start() < at or name.upper().startswith(b"END"):
                continue
            end = content.find(b"$E", begin.end())
            while end >= 0 and content[end : end + 4 + len(name)].upper() != b"$END" + name.upper():
                end = content.find(b"$E", end + 1)
            if end < 0:
                raise ValueError(f"section {name.decode()} has no end")
            self.sections.append((name.decode(), _Section(content[begin.end() : end], order)))
            at = end
        self.size = "u8"
        self.groups: dict[tuple[int, int], tuple[int, ...]] = {}

    def of(self, *names: str) -> list[_Section]:
        """Sections of these names."""
        return [section for name, section in self.sections if name in names]

    def mesh(self) -> PolygonFile:
        """What the file holds."""
        names: dict[tuple[int, int], str] = {}
        for section in self.of("PhysicalNames"):
            for _ in range(int(section.line())):
                dimension, number, name = section.line().split(maxsplit=2)
                names[int(dimension), int(number)] = name.strip('"')
        if self.version >= 4:
            for section in self.of("Entities", "PartitionedEntities"):
                self._entities(section, section in self.of("PartitionedEntities"))
        tags, points = self._nodes()
        elements = [e for section in self.of("Elements", "ELM") for e in self._elements(section)]
        curved = sorted({e.kind for e in elements} - {*_FLAT, *_VOLUMES, *_LOOSE})
        if curved:
            raise ValueError(f"elements of type {', '.join(map(str, curved))} are curved; write linear ones")
        order = np.argsort(tags, kind="stable")
        if (np.diff(tags[order]) == 0).any():
            raise ValueError(f"node {tags[order][:-1][np.diff(tags[order]) == 0][0]} is defined twice")
        kept = [e for e in elements if e.kind in _FLAT] or [e for e in elements if e.kind in _VOLUMES]
        if not kept:
            raise ValueError("it has neither triangles nor volumes; extract the surface")
        corners = [_places(tags, order, e.nodes, "node").reshape(e.nodes.shape) for e in kept]
        every = np.concatenate([e.numbers for e in kept])
        data = {"gmsh:physical": np.concatenate([e.physical for e in kept]),
                "gmsh:geometrical": np.concatenate([e.geometrical for e in kept])}  # fmt: skip
        if names:
            data["physical"] = np.array([name for e in kept for name in _named(e, names)], dtype=str)
        at_nodes = dict(map(_data, [(section, tags) for section in self.of("NodeData")]))
        data |= dict(map(_data, [(section, every) for section in self.of("ElementData")]))
        if kept[0].kind in _FLAT:
            sizes = np.concatenate([np.full(len(e.nodes), _SIZES[e.kind], np.int64) for e in kept])
            return PolygonFile(points, np.concatenate([c.ravel() for c in corners]), sizes, at_nodes, data)
        starts = np.cumsum([0, *map(len, corners)])
        blocks = [VolumeCells(_VOLUMES[e.kind], c, np.arange(start, start + len(c)))
                  for e, c, start in zip(kept, corners, starts[:-1], strict=True)]  # fmt: skip
        says = f"{starts[-1]} volume cells"
        surface = Volumes(says, lambda: surface_of_volumes(points, blocks, int(starts[-1]), at_nodes, data))
        return PolygonFile(points, _NONE, _NONE, at_nodes, volumes=surface)

    def _entities(self, section: _Section, partitioned: bool) -> None:
        """Physical groups of points, curves, surfaces and volumes."""
        if partitioned:
            section.one(self.size)
            section.take(2 * section.one(self.size), "i4")
        for dimension, count in enumerate(section.take(4, self.size).tolist()):
            for _ in range(count):
                tag = section.one("i4")
                if partitioned:
                    section.take(2, "i4")
                    section.take(section.one(self.size), "i4")
                section.take(3 if dimension == 0 and self.version > 4 else 6, "f8")
                self.groups[dimension, tag] = tuple(section.take(section.one(self.size), "i4").tolist())
                if dimension:
                    section.take(section.one(self.size), "i4")

    def _nodes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Numbers and coordinates."""
        tags, points = [_NONE], [np.zeros((0, 3))]
        for section in self.of("Nodes", "NOD"):
            if self.version < 4:
                count = int(section.line())
                rows = _rows(section, count, [("tag", "i4", 1), ("xyz", "f8", 3)])
                tags.append(rows[0][:, 0].astype(np.int64))
                points.append(rows[1])
                continue
            head = section.take(2 if self.version == 4 else 4, self.size)
            for _ in range(int(head[0])):
                first, second, parametric = section.take(3, "i4").tolist()
                count = section.one(self.size)
                width = 3 + (parametric and (second if self.version == 4 else first))
                if self.version == 4:
                    of, xyz = _rows(section, count, [("tag", "i4", 1), ("xyz", "f8", width)])
                else:
                    of = section.take(count, self.size)
                    xyz = section.take(count * width, "f8").reshape(count, width)
                tags.append(of.ravel().astype(np.int64))
                points.append(xyz[:, :3])
        return np.concatenate(tags), np.concatenate(points)

    def _elements(self, section: _Section) -> list[_Elements]:
        """Elements in the order of the file, block by block."""
        if self.version >= 4:
            return self._blocks(section)
        found: list[_Elements] = []
        left = int(section.line())
        while section.order and left > 0:
            kind, count, width = section.take(3, "i4").tolist()
            block = section.take(count * (1 + width + _size(kind)), "i4").reshape(count, -1).astype(np.int64)
            tags = np.pad(block[:, 1 : 1 + width], ((0, 0), (0, 2)))
            found.append(_Elements(kind, block[:, 0], block[:, 1 + width :], tags[:, 0], tags[:, 1], None))
            left -= max(count, 1)
        if section.order:
            return found
        numbers = [int(word) for word in section.block[section.at :].split()]
        rows: list[tuple[int, list[int]]] = []  # type; number, two tags and nodes
        at = 0
        for _ in range(left):
            number, kind, width = numbers[at : at + 3]
            size, start = _size(kind), at + 3 + width
            if self.version < 2:  # two tags, and the number of nodes
                width, start = 2, at + 5
            tags_of = [*numbers[at + (2 if self.version < 2 else 3) : start][:width], 0, 0][:2]
            rows.append((kind, [number, *tags_of, *numbers[start : start + size]]))
            at = start + size
        if at != len(numbers):
            raise ValueError(f"{left} elements promised, which {len(numbers)} numbers do not make")
        for kind, run in groupby(rows, key=lambda row: row[0]):
            block = np.array([row for _, row in run], dtype=np.int64)
            found.append(_Elements(kind, block[:, 0], block[:, 3:], block[:, 1], block[:, 2], None))
        return found

    def _blocks(self, section: _Section) -> list[_Elements]:
        """Elements of version 4, which belong to entities."""
        found = []
        width = "i4" if self.version == 4 else self.size
        for _ in range(int(section.take(2 if self.version == 4 else 4, self.size)[0])):
            first, second, kind = section.take(3, "i4").tolist()
            dimension, tag = (second, first) if self.version == 4 else (first, second)
            count = section.one(self.size)
            block = section.take(count * (1 + _size(kind)), width).reshape(count, -1).astype(np.int64)
            groups = self.groups.get((dimension, tag), ())
            found.append(_Elements(kind, block[:, 0], block[:, 1:], np.full(count, abs(groups[0]) if groups else 0),
                                   np.full(count, tag), groups))  # fmt: skip
        return found


def _size(kind: int) -> int:
    if kind not in _SIZES:
        raise ValueError(f"elements of type {kind} are not known")
    return _SIZES[kind]


def _named(elements: _Elements, names: dict[tuple[int, int], str]) -> list[str]:
    """Names of the physical groups of each element."""
    dimension = 2 if elements.kind in _FLAT else 3
    if elements.groups is not None:
        name = "+".join(names[dimension, abs(g)] for g in elements.groups if (dimension, abs(g)) in names)
        return [name] * len(elements.numbers)
    return [names.get((dimension, int(g)), "") for g in elements.physical]


def _rows(section: _Section, count: int, fields: list[tuple[str, str, int]]) -> list[NDArray]:
    """A table of numbers of several types, a column of it each."""
    if section.order:
        row = np.dtype([(name, section.order + kind, (width,)) for name, kind, width in fields])
        table = section.take(count * row.itemsize, "u1").view(row)
        return [table[name].astype(kind) for name, kind, _ in fields]
    numbers = section.take(count * sum(width for _, _, width in fields), "f8").reshape(count, -1)
    return np.split(numbers, np.cumsum([width for _, _, width in fields])[:-1], axis=1)


def _places(tags: NDArray, order: NDArray, wanted: NDArray, kind: str) -> NDArray[np.int64]:
    """Place of each number among those of the file."""
    flat = wanted.ravel()
    place = order[np.searchsorted(tags[order], flat).clip(max=len(tags) - 1)] if len(tags) else np.zeros(0, np.int64)
    if len(place) < len(flat) or (tags[place] != flat).any():
        missing = flat[0] if len(place) < len(flat) else flat[tags[place] != flat][0]
        raise ValueError(f"{kind} {missing} does not exist")
    return place


def _data(of: tuple[_Section, NDArray]) -> tuple[str, NDArray]:
    """Name and values of a section of data at those nodes or elements."""
    section, tags = of
    texts = [section.line().strip('"') for _ in range(int(section.line()))]
    name = texts[0]
    for _ in range(int(section.line())):
        section.line()
    whole = [int(section.line()) for _ in range(int(section.line()))]
    width, count = whole[1], whole[2]
    numbers, values = _rows(section, count, [("tag", "i4", 1), ("value", "f8", width)])
    found = np.full((len(tags), width), np.nan)
    order = np.argsort(tags, kind="stable")
    given = np.isin(numbers[:, 0], tags)
    found[_places(tags, order, numbers[given, 0].astype(np.int64), "element")] = values[given]
    return name, found[:, 0] if width == 1 else found


FORMATS = (MeshFormat("Gmsh", (".msh",), read_msh),)
