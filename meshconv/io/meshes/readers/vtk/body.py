"""The body of a legacy VTK file: lines of text and blocks of numbers, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from meshconv.io.text import as_type, decode_text

_TYPES = {"char": "i1", "signed_char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2", "int": "i4",
          "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8", "vtktypeint32": "i4", "vtktypeint64": "i8",
          "vtktypeuint64": "u8", "vtkidtype": "i4", "float": "f4", "double": "f8"}  # fmt: skip
# Components of an attribute of this kind; normals are computed, not read.
_COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6}


class VtkBody:
    """Reads a file from its header on; every error of the content is a ``ValueError`` or one of its kin."""

    def __init__(self, content: bytes, data_sets: Sequence[str]):
        self.content, self.at = content, 0
        if b"BINARY" not in content[:1024].upper().split():
            self.content = decode_text(content).encode()
        first = self.content[:200].removeprefix(b"\xef\xbb\xbf").lower().split()
        if first[:3] != [b"#", b"vtk", b"datafile"]:
            raise ValueError("the first line is not '# vtk DataFile Version'")
        for _ in range(2):  # that line and the title, which may be empty
            self.at = self.content.index(b"\n", self.at) + 1
        kind, data_set = self.line() or [""], self.line() or [""]
        self.binary = kind[0].upper() == "BINARY"
        if kind[0].upper() not in ("ASCII", "BINARY") or data_set[0].upper() != "DATASET":
            raise ValueError(f"{kind} and {data_set} where ASCII or BINARY and DATASET belong")
        if data_set[1].upper() not in data_sets:
            raise ValueError(f"the data set is {data_set[1]}, not {' or '.join(data_sets)}")

    def line(self) -> list[str] | None:
        """Words of the next line that has any; None at the end."""
        while self.at < len(self.content):
            end = self.content.find(b"\n", self.at)
            end = len(self.content) if end < 0 else end
            words = self.content[self.at : end].decode("utf-8", errors="replace").split()
            self.at = end + 1
            if words:
                return words
        return None

    def skip_block(self) -> None:
        """Up to the next empty line."""
        while self.at < len(self.content):
            end = self.content.find(b"\n", self.at)
            end = len(self.content) if end < 0 else end
            empty = not self.content[self.at : end].strip()
            self.at = end + 1
            if empty:
                return

    def values(self, count: int, kind: str) -> NDArray:
        """So many numbers of a type by its name in VTK."""
        if kind.lower() == "bit":  # eight in a byte
            packed = self.values(-(-count // 8) if self.binary else count, "unsigned_char")
            return np.unpackbits(packed)[:count] if self.binary else packed
        if kind.lower() not in _TYPES:
            raise ValueError(f"no type {kind!r}")
        dtype = np.dtype(_TYPES[kind.lower()])
        left = len(self.content) - self.at
        # As text a number takes a digit and what parts it from the next.
        if not 0 <= count <= (left // dtype.itemsize if self.binary else (left + 1) // 2):
            raise ValueError(f"{count} numbers promised, fewer found")
        if self.binary:
            block = np.frombuffer(self.content, dtype.newbyteorder(">"), count, self.at)
            self.at += count * dtype.itemsize
            return block.astype(dtype)
        words = self._words(count)
        # Identifiers take 4 bytes and have all digits in text.
        exact = dtype if dtype.kind == "f" or dtype.itemsize == 8 else np.dtype(np.int64)
        return as_type(np.array(words, dtype=exact), exact if kind.lower() == "vtkidtype" else dtype)

    def _words(self, count: int) -> list[bytes]:
        """The next words, from a window that grows: what follows is looked at once, however many blocks there are."""
        window = 16 * count + 64
        while True:
            end = self.at + window
            words = self.content[self.at : end].split(None, count)
            if len(words) > count or end >= len(self.content):
                break
            window *= 2
        if len(words) < count:
            raise ValueError(f"{count} numbers promised, {len(words)} found")
        self.at = min(end, len(self.content)) - (len(words[count]) if len(words) > count else 0)
        return words[:count]

    def cells(self, words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sizes and corners of cells, in the layout of version 5 or of those before."""
        place = self.at
        following = self.line()
        if following is not None and following[0].upper() == "OFFSETS":
            offsets = self.values(int(words[1]), following[1]).astype(np.int64)
            connectivity = self.line()
            if connectivity is None:
                raise ValueError("no CONNECTIVITY")
            corners = self.values(int(words[2]), connectivity[1]).astype(np.int64)
            ends = offsets if len(offsets) else np.zeros(1, dtype=np.int64)
            if ends[0] != 0 or ends[-1] != len(corners) or (np.diff(ends) < 0).any():
                raise ValueError(f"the offsets of {words[1]} cells do not fit {len(corners)} corners")
            return np.diff(ends), corners
        self.at = place
        block = self.values(int(words[2]), "int").astype(np.int64)
        numbers, count = block.tolist(), int(words[1])
        starts: list[int] = []
        at = 0
        while at < len(numbers) and len(starts) < count and numbers[at] >= 0:
            starts.append(at)
            at += numbers[at] + 1
        if len(starts) != count or at != len(numbers):
            raise ValueError(f"{words[1]} cells promised, which {words[2]} numbers do not make")
        return block[starts], np.delete(block, starts)

    def attribute(self, key: str, words: list[str], rows: int, found: dict[str, NDArray]) -> None:
        """One array, or those of a field, under their names."""
        if key == "FIELD":
            for _ in range(int(words[2])):
                line = self.line()
                if line is not None and line[0].upper() == "METADATA":
                    self.skip_block()
                    line = self.line()
                if line is None:
                    raise ValueError("a field ends early")
                name, kind = unquote(line[0]), line[3]
                width, count = int(line[1]), int(line[2])
                if kind.lower() == "string":
                    self._skip_strings(width * count)
                    continue
                values = self.values(width * count, kind)
                found[name] = values.reshape(count, width) if width != 1 else values
        elif key == "SCALARS":
            width = int(words[3]) if len(words) > 3 else 1
            place = self.at
            table = self.line()
            if table is None or table[0].upper() != "LOOKUP_TABLE":
                self.at = place
            values = self.values(rows * width, words[2])
            found[unquote(words[1])] = values.reshape(rows, width) if width > 1 else values
        elif key in ("GLOBAL_IDS", "PEDIGREE_IDS", "EDGE_FLAGS"):
            found[unquote(words[1])] = self.values(rows, words[2])
        elif key in _COMPONENTS:
            values = self.values(rows * _COMPONENTS[key], words[2]).reshape(rows, -1)
            if key != "NORMALS":
                found[unquote(words[1])] = values
        elif key in ("COLOR_SCALARS", "LOOKUP_TABLE"):
            width, count = (int(words[2]), rows) if key == "COLOR_SCALARS" else (4, int(words[2]))
            values = self.values(count * width, "unsigned_char" if self.binary else "float").reshape(count, width)
            if key == "COLOR_SCALARS" and width in (3, 4):
                found["color"] = values if self.binary else np.round(255 * values).astype(np.uint8)
        elif key == "TEXTURE_COORDINATES":
            self.values(rows * int(words[2]), words[3])
        else:
            raise ValueError(f"attribute {words[0]!r} is not supported")

    def _skip_strings(self, count: int) -> None:
        """Texts of a field: a line each, or bytes behind their number."""
        for _ in range(count):
            if self.at >= len(self.content):
                raise ValueError("a field ends early")
            if not self.binary:
                end = self.content.find(b"\n", self.at)
                self.at = len(self.content) if end < 0 else end + 1
                continue
            # The two highest bits of the number tell how many bytes it has.
            width = (8, 4, 2, 1)[self.content[self.at] >> 6]
            number = int.from_bytes(self.content[self.at : self.at + width], "big") & (1 << 8 * width - 2) - 1
            self.at += width + number
