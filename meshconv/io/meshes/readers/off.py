"""OFF and its kin (COFF, NOFF, STOFF), as text and binary: vertices and polygons with their colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.text import decode_text

# Case tells normals (N) from a space of n dimensions (n).
_HEADER = re.compile(r"(?P<texture>ST)?(?P<color>C)?(?P<normal>N)?(?P<other>4?n?)(?:OFF|Off)")
_COMMENT = re.compile(r"#[^\n]*")


class _Kind(NamedTuple):
    """What a vertex has besides its place."""

    color: bool = False
    normal: bool = False
    texture: bool = False


def read_off(path: Path) -> PolygonFile:
    """Read an OFF file, with or without colours of vertices (COFF) and of faces, and with or without its first word.

    It is a sequence of words: only the colour of a face ends with its line.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Vertex data ``color`` of COFF files; polygon data ``color`` if every polygon has one: ``[., 3 or 4]``,
        uint8 if all are written as integers to 255, else float64.

    Raises
    ------
    InputError
        Not this format, of four or n dimensions, fewer numbers than promised, or something that is not a number.
    """
    content = path.read_bytes()
    try:
        first = content[:64].split()[:2]
        if len(first) == 2 and first[1].upper() == b"BINARY":
            kind, _ = _kind(first[0].decode("ascii", errors="replace"))
            return _read_binary(content, content.index(b"\n") + 1, kind)
        return _read_text(_COMMENT.sub("", decode_text(content)))
    except (ValueError, OverflowError, IndexError) as error:
        reason = "it ends too early" if isinstance(error, IndexError) else first_line(error)
        raise InputError(f"{path}: cannot be read as 'off' ({reason}); the file is truncated or damaged") from error


def _kind(word: str) -> tuple[_Kind, str]:
    """What the first word says, and what is written behind it without a blank."""
    header = _HEADER.match(word if word != word.lower() else word.upper())
    if header is None:
        raise ValueError(f"the first word is not OFF but {word[:20]!r}")
    if header["other"]:
        raise ValueError(f"{word} has points of other than three dimensions")
    return _Kind(bool(header["color"]), bool(header["normal"]), bool(header["texture"])), word[header.end() :]


def _read_text(text: str) -> PolygonFile:
    lines = [words for line in text.split("\n") if (words := line.split())]
    if not lines:
        raise ValueError("the first word is not OFF")
    kind = _Kind()
    if not lines[0][0].isdigit():  # else the counts stand there
        kind, glued = _kind(lines[0][0])
        # Some exporters write the counts on the line of the first word.
        rest = [*([glued] if glued else []), *lines[0][1:]]
        lines = [rest, *lines[1:]] if rest else lines[1:]
    body = _Words(lines)
    counts = body.take(2)
    if len(lines[0]) in (2, 3):  # the number of edges is often left out
        body.skip_line()
    else:
        body.take(1)
    num_vertices, num_polygons = int(counts[0]), int(counts[1])
    if min(num_vertices, num_polygons) < 0 or 3 * num_vertices + num_polygons > body.left:
        raise ValueError(f"{num_vertices} vertices and {num_polygons} faces promised, {body.left} numbers found")
    start = body.copy()
    try:
        rows = _vertex_lines(body, num_vertices, kind)
        corners, sizes, colors = _faces(body, num_polygons)
    except ValueError:  # lines are broken elsewhere: as many words as its kind has
        width = 3 + 3 * kind.normal + 4 * kind.color + 2 * kind.texture
        rows = [start.take(width) for _ in range(num_vertices)]
        corners, sizes, colors = _faces(start, num_polygons)
    vertices = np.array([row[:3] for row in rows], dtype=np.float64).reshape(num_vertices, 3)
    first = 6 if kind.normal else 3
    vertex_data = _colors([row[first : len(row) - 2 * kind.texture] for row in rows]) if kind.color else {}
    indices = np.array(corners, dtype=np.int64)
    return PolygonFile(vertices, indices, np.array(sizes, dtype=np.int64), vertex_data, _colors(colors))


def _vertex_lines(body: _Words, count: int, kind: _Kind) -> list[list[str]]:
    """Words of each vertex, one a line."""
    rows = body.next_lines(count)
    least = 3 + 3 * (kind.normal + kind.color) + 2 * kind.texture
    if len(rows) < count or any(len(row) < least for row in rows):
        raise ValueError("fewer lines than vertices")
    body.skip_lines(count)
    return rows


def _faces(body: _Words, count: int) -> tuple[list[str], list[int], list[list[str]]]:
    """Corners of all faces one after the other, their numbers, and the words of each colour."""
    rows = body.next_lines(count)
    sizes = [int(row[0]) for row in rows]
    if len(rows) == count and all(0 <= size < len(row) for size, row in zip(sizes, rows, strict=True)):
        corners = [word for size, row in zip(sizes, rows, strict=True) for word in row[1 : size + 1]]
        return corners, sizes, [row[size + 1 :] for size, row in zip(sizes, rows, strict=True)]
    start = body.copy()
    try:
        return _read_faces(body, count, colored=True)
    except ValueError:
        # Several faces in one line leave no place for colours; then nothing may be left over.
        corners, sizes, colors = _read_faces(start, count, colored=False)
        if start.left:
            raise
        return corners, sizes, colors


def _read_faces(body: _Words, count: int, colored: bool) -> tuple[list[str], list[int], list[list[str]]]:
    corners, sizes, colors = [], [], []
    for face in range(count):
        try:
            sizes.append(int(body.take(1)[0]))
            corners += body.take(sizes[-1])
        except ValueError as error:
            raise ValueError(f"face {face} has fewer corners than it promises, {error}") from error
        colors.append(body.skip_line() if colored else [])
    return corners, sizes, colors


class _Words:
    """A sequence of words that still knows where its lines end."""

    def __init__(self, lines: list[list[str]]):
        self.lines, self.line, self.word = lines, 0, 0
        self.left = sum(map(len, lines))

    def copy(self) -> _Words:
        """Another reader in the same place."""
        other = _Words([])
        other.lines, other.line, other.word, other.left = self.lines, self.line, self.word, self.left
        return other

    def next_lines(self, count: int) -> list[list[str]]:
        """The lines that follow, unread; none in the middle of one."""
        if self.line < len(self.lines) and self.word == len(self.lines[self.line]):
            self.line, self.word = self.line + 1, 0
        return self.lines[self.line : self.line + count] if self.word == 0 else []

    def skip_lines(self, count: int) -> None:
        """Go on behind them."""
        self.left -= sum(map(len, self.lines[self.line : self.line + count]))
        self.line += count

    def take(self, count: int) -> list[str]:
        """The next words, of this line and those after it."""
        if not 0 <= count <= self.left:
            raise ValueError(f"{count} numbers promised, {self.left} left")
        self.left -= count
        found: list[str] = []
        while len(found) < count:
            part = self.lines[self.line][self.word : self.word + count - len(found)]
            found += part
            self.word += len(part)
            if len(found) < count:
                self.line, self.word = self.line + 1, 0
        return found

    def skip_line(self) -> list[str]:
        """What is left of the line of the last word."""
        rest = self.lines[self.line][self.word :] if self.line < len(self.lines) else []
        self.left -= len(rest)
        self.line, self.word = self.line + 1, 0
        return rest


def _read_binary(content: bytes, at: int, kind: _Kind) -> PolygonFile:
    """Big-endian int32 and float32; behind the corners of a face the number of its colour's components."""
    num_vertices, num_polygons, _ = (int(n) for n in np.frombuffer(content, ">i4", 3, at))
    width = 3 + 3 * kind.normal + 4 * kind.color + 2 * kind.texture
    at += 12
    if min(num_vertices, num_polygons) < 0 or 4 * (width * num_vertices + 2 * num_polygons) > len(content) - at:
        raise ValueError(f"{num_vertices} vertices and {num_polygons} faces promised, {len(content) - at} bytes found")
    table = np.frombuffer(content, ">f4", width * num_vertices, at).reshape(num_vertices, width).astype(np.float64)
    at += 4 * width * num_vertices
    words = np.frombuffer(content, ">i4", (len(content) - at) // 4, at)
    numbers = words.tolist()
    sizes, colors, starts, place = [], [], [], 0
    for _ in range(num_polygons):
        size = numbers[place]
        components = numbers[place + 1 + size] if size >= 0 else -1
        if size < 0 or not 0 <= components <= 4:
            raise ValueError(f"a face of {size} corners and {components} numbers of colour")
        starts.append(place + 1)
        sizes.append(size)
        place += size + 2
        colors.append(words[place : place + components].view(">f4").astype(np.float64).tolist())
        place += components
    if place > len(numbers):
        raise ValueError("a face ends too early")
    size_of = np.array(sizes, dtype=np.int64)
    first = np.repeat(np.array(starts, dtype=np.int64) - np.cumsum(size_of) + size_of, size_of)
    corners = words[first + np.arange(len(first))].astype(np.int64)
    vertex_data = {"color": table[:, 3 + 3 * kind.normal :][:, :4]} if kind.color else {}
    same = len({len(color) for color in colors}) == 1 and len(colors[0]) in (3, 4)
    polygon_data = {"color": np.array(colors)} if same else {}
    return PolygonFile(table[:, :3], corners, size_of, vertex_data, polygon_data)


def _colors(rows: list[list[str]]) -> dict[str, NDArray]:
    """``color`` if every row has three or four numbers (a single one is an index into a colour map: left out)."""
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) not in (3, 4):
        return {}
    values = np.array(rows, dtype=np.float64)
    whole = all(entry.isdigit() for row in rows for entry in row) and values.max() <= 255
    return {"color": values.astype(np.uint8) if whole else values}


FORMATS = (MeshFormat("OFF", (".off", ".coff", ".noff", ".stoff"), read_off),)
