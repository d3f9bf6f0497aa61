"""The numbers of a glTF file: its JSON, its buffers, and the accessors that look into them."""

from __future__ import annotations

import base64
import json
from operator import index
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from meshconv.io.text import decode_text
from meshconv.io.unpack import check_expansion

_TYPES = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5125: "u4", 5126: "f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


class GltfData:
    """Opens a file; what is wrong with its content is a ``ValueError`` or one of its kin.

    Attributes
    ----------
    json : dict
        The description of the scene.
    """

    def __init__(self, path: Path):
        content = path.read_bytes()
        self.path, self.size, self._empty = path, len(content), 0
        self._chunk = b""
        if content[:4] == b"glTF":
            content, self._chunk = self._chunks(content)
        self.json: dict[str, Any] = json.loads(decode_text(content))
        if not isinstance(self.json, dict):
            raise ValueError("its JSON is no object")
        version = str(self.json["asset"]["version"])
        if version.split(".")[0] != "2":
            raise ValueError(f"it has version {version}, only 2 is read")
        self._buffers: dict[int, bytes] = {}
        self._found: dict[int, NDArray] = {}

    @staticmethod
    def _chunks(content: bytes) -> tuple[bytes, bytes]:
        """The JSON and the binary chunk of a GLB file."""
        version, length = (int(n) for n in np.frombuffer(content, "<u4", 2, 4))
        if version != 2:
            raise ValueError(f"it has version {version}, only 2 is read")
        if length > len(content):
            raise ValueError(f"{length} bytes promised, {len(content)} found")
        found: dict[bytes, bytes] = {}
        at = 12
        while at + 8 <= length:
            size = int(np.frombuffer(content, "<u4", 1, at)[0])
            if at + 8 + size > len(content):
                raise ValueError(f"a chunk of {size} bytes is cut short")
            found.setdefault(content[at + 4 : at + 8], content[at + 8 : at + 8 + size])
            at += 8 + size
        return found[b"JSON"], found.get(b"BIN\0", b"")

    def is_empty(self, number: int) -> bool:
        """Whether an accessor has no bytes of its own: an extension would fill it."""
        accessor = self.json["accessors"][number]
        return "bufferView" not in accessor and "sparse" not in accessor

    def accessor(self, number: int) -> NDArray:
        """Numbers of an accessor, ``[count, components]``; normalized integers as float64."""
        if number not in self._found:
            self._found[number] = self._read(self.json["accessors"][index(number)])
        return self._found[number]

    def _read(self, accessor: dict[str, Any]) -> NDArray:
        dtype, width = np.dtype("<" + _TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        count = index(accessor["count"])
        if count < 0:
            raise ValueError(f"an accessor of {count} elements")
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], index(accessor.get("byteOffset", 0)), count, dtype, width)
        else:  # zeros that stand nowhere in the file
            self._empty += count * width * dtype.itemsize
            check_expansion(self._empty, self.size)
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            size, where = index(sparse["count"]), sparse["indices"]
            kind = np.dtype("<" + _TYPES[where["componentType"]])
            rows = self._view(where["bufferView"], index(where.get("byteOffset", 0)), size, kind, 1)[:, 0]
            new = sparse["values"]
            values[rows] = self._view(new["bufferView"], index(new.get("byteOffset", 0)), size, dtype, width)
        if accessor.get("normalized") and dtype.kind in "iu":
            return np.maximum(values / np.iinfo(dtype).max, -1.0)
        return values

    def _view(self, number: int, offset: int, count: int, dtype: np.dtype, width: int) -> NDArray:
        """Rows of a buffer view, copied."""
        view = self.json["bufferViews"][index(number)]
        start, length = index(view.get("byteOffset", 0)), index(view["byteLength"])
        row = width * dtype.itemsize
        stride = index(view.get("byteStride", row))
        buffer = self._buffer(index(view["buffer"]))
        end = offset + (count - 1) * stride + row if count > 0 else offset
        if min(start, length, offset, count) < 0 or stride < row or end > length or start + length > len(buffer):
            raise ValueError(f"{count} elements from byte {offset} on do not fit a buffer view of {length} bytes")
        if count == 0:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, buffer, start + offset, (stride, dtype.itemsize)).copy()

    def _buffer(self, number: int) -> bytes:
        if number not in self._buffers:
            buffer = self.json["buffers"][number]
            uri = buffer.get("uri")
            if uri is None:
                found = self._chunk if number == 0 else b""
            elif uri.startswith("data:"):
                found = base64.b64decode(uri.partition(",")[2])
            else:
                found = self._file(uri)
            if len(found) < index(buffer["byteLength"]):
                raise ValueError(f"buffer {number} has {len(found)} of {buffer['byteLength']} bytes")
            self._buffers[number] = found
        return self._buffers[number]

    def _file(self, uri: str) -> bytes:
        """A file beside or below this one."""
        folder = self.path.parent.resolve()
        place = (folder / unquote(uri)).resolve()
        if not place.is_relative_to(folder):
            raise ValueError(f"its buffer {uri[:60]!r} lies outside of its folder")
        try:
            return place.read_bytes()
        except OSError as error:
            raise ValueError(f"its buffer {uri[:60]!r} cannot be opened: {error.strerror}") from error
