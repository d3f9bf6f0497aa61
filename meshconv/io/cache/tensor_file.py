"""Serialisation of arrays in the safetensors format, with a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
# Filled into the header after everything else is known, and taken out again to check it.
_NO_DIGEST = "0" * 32


class DamagedFile(ValueError):
    """Bytes that are not what was written."""


def encode_tensors(arrays: Mapping[str, NDArray], metadata: Mapping[str, str]) -> bytes:
    """Arrays and texts as one block of bytes.

    The layout is that of safetensors (eight bytes of header length, a JSON header, the arrays one after the other), so
    other programs can open it; ``digest`` in its metadata is the BLAKE2b checksum of the file with zeros in that place.

    Parameters
    ----------
    arrays : mapping of arrays
        Booleans, integers and floats of at least 16 bits, of any shape; kept bit for bit.
    metadata : mapping of str
        ``digest`` is taken.

    Raises
    ------
    ValueError
        An array of another type.

    Examples
    --------
    >>> arrays, texts = decode_tensors(encode_tensors({"x": np.arange(3)}, {"made": "here"}))
    >>> arrays["x"], texts
    (array([0, 1, 2]), {'made': 'here'})
    """
    # Wide items first: every array then starts at a multiple of its item's size.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    # The digest comes first, so that the first run of zeros in the header is its place.
    header: dict[str, object] = {"__metadata__": {"digest": _NO_DIGEST, **metadata}}
    blocks, offset = [], 0
    for name in names:
        array = arrays[name]
        kind = _NAMES.get(array.dtype.newbyteorder("<"))
        if kind is None:
            raise ValueError(f"array {name!r} is of type {array.dtype}; only {', '.join(map(str, _NAMES))} are stored")
        block = array.astype(_TYPES[kind], copy=False).tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(block)],
        }
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    parts = [len(text).to_bytes(8, "little"), text, *blocks]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    parts[1] = text.replace(_NO_DIGEST.encode(), digest.hexdigest().encode(), 1)
    return b"".join(parts)


def decode_tensors(content: bytes) -> tuple[dict[str, NDArray], dict[str, str]]:
    """What :func:`encode_tensors` was given.

    Returns
    -------
    arrays, metadata
        The arrays are writable and share one buffer.

    Raises
    ------
    DamagedFile
        Truncated, altered, or of another format.
    """
    buffer = np.frombuffer(bytearray(content), dtype=np.uint8)
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
        metadata = header.pop("__metadata__")
        digest = metadata.pop("digest").encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile("its header cannot be read") from error
    check = hashlib.blake2b(content[:start].replace(digest, _NO_DIGEST.encode(), 1), digest_size=16)
    check.update(memoryview(content)[start:])
    if check.hexdigest().encode() != digest:
        raise DamagedFile("its checksum does not fit")
    arrays = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        arrays[name] = buffer[begin:end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata
