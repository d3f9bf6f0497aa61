"""Bounds on what is unpacked: a file of a few megabytes must not become gigabytes in memory; and packed files."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshconv.errors import InputError
from meshconv.extras import require

# Numbers and XML of real meshes shrink to a twentieth at most; deflate reaches a thousandth.
_MOST_EXPANSION = 64
_ALLOWANCE = 16 * 2**20  # small files may repeat themselves

UNPACK = "unpack it and give what is inside"
#: First bytes of packed files and of what stands for a file, what begins so, and what helps.
PACKED: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive", UNPACK),
    (b"PK\x05\x06", "an empty ZIP archive", "get the file again"),
    (b"\x1f\x8b", "packed with gzip", "unpack it with gunzip"),
    (b"\x1f\x9d", "packed with compress", "unpack it with gunzip"),
    (b"BZh", "packed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "packed with xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it with unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file", "fetch it with git lfs pull"),
)

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {"zlib": zlib.decompressobj, "lzma": lzma.LZMADecompressor}


def check_expansion(unpacked: int, packed: int) -> None:
    """Raise ``ValueError`` if ``unpacked`` bytes are more than ``packed`` bytes of a file can honestly hold."""
    if unpacked > _MOST_EXPANSION * packed + _ALLOWANCE:
        raise ValueError(
            f"its {packed:,} bytes would become {unpacked:,}, and at most {_MOST_EXPANSION} times as many and "
            f"{_ALLOWANCE >> 20} MiB are unpacked"
        )


def inflate(block: bytes, size: int, method: str) -> bytes:
    """Exactly ``size`` bytes of a compressed block, ``method`` "zlib", "lzma", "lz4" or "lzf"; else ``ValueError``."""
    if method in ("lz4", "lzf"):
        return _inflate_lz4(block, size) if method == "lz4" else _inflate_lzf(block, size)
    try:
        content = _DECOMPRESSORS[method]().decompress(block, size + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(str(error)) from error
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise ValueError(f"a compressed block promises {size} bytes and holds {found}")
    return content


def _inflate_lz4(block: bytes, size: int) -> bytes:
    require("a file that is compressed with LZ4", "formats", only="lz4")
    import lz4.block

    try:
        content = lz4.block.decompress(block, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"a compressed block promises {size} bytes and holds others ({error})") from error
    if len(content) != size:
        raise ValueError(f"a compressed block promises {size} bytes and holds {len(content)}")
    return content


def _inflate_lzf(block: bytes, size: int) -> bytes:
    """Runs of new bytes, and of bytes that came before, by a number that tells which."""
    found, at = bytearray(), 0
    try:
        while at < len(block) and len(found) <= size:
            control = block[at]
            at += 1
            if control < 32:
                found += block[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += block[at]
                at += 1
            start, length = len(found) - ((control & 31) << 8) - block[at] - 1, length + 2
            at += 1
            if start < 0:
                raise IndexError
            run = found[start : start + length]
            found += (run * -(-length // len(run)))[:length]  # a run may go on with itself
    except IndexError:
        raise ValueError("a compressed block is damaged") from None
    if len(found) != size or at > len(block):
        raise ValueError(f"a compressed block promises {size} bytes and holds others")
    return bytes(found)


def open_archive(path: Path) -> zipfile.ZipFile:
    """A zip archive whose members together are not too large, by the sizes that reading them cannot exceed.

    Raises
    ------
    InputError
        No zip archive, or too large.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: is no readable zip archive ({error}); the file is truncated or damaged") from error
    try:
        check_expansion(sum(member.file_size for member in archive.infolist()), path.stat().st_size)
    except ValueError as error:
        archive.close()
        raise InputError(f"{path}: is not unpacked: {error}; save the mesh in another format") from error
    return archive
