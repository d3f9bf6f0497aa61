"""Atomic writing of files and folders."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from meshconv.errors import PlaceError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write a file or folder to, and move it there at the end.

    An exception leaves nothing behind. A folder at ``path`` is not replaced.

    The temporary path is unique, so concurrent writers of the same file do not interfere.

    Raises
    ------
    PlaceError
        No space, or no permission to write there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        of_place = error.filename == str(part) or (error.filename is None and error.errno in PlaceError.ERRNOS)
        if isinstance(error, PlaceError) or not of_place:
            raise  # such as of a file that is read meanwhile
        raise PlaceError.of(error, path) from error
    except RuntimeError as error:
        if not str(error).startswith("NetCDF"):
            raise  # of a full disk that library says "NetCDF: HDF error"
        raise PlaceError(f"{path}: cannot be written ({error}); see to space and permissions there") from error
    finally:
        with suppress(OSError):  # of a folder that is none there is nothing left either
            if part.is_dir():
                shutil.rmtree(part)
            part.unlink(missing_ok=True)
