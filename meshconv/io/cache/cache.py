"""Cache of results of slow geometry on disk."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from meshconv.errors import PlaceError
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.limit import evict, mark_used, size_limit
from meshconv.io.cache.records import decode_record, encode_record
from meshconv.io.cache.tensor_file import DamagedFile

log = logging.getLogger(__name__)

# Of the layout of entries.
_FORMAT = 1
_SUFFIX = ".safetensors"


class Computation(NamedTuple):
    """A kind of result; stands beside the code that computes it.

    Attributes
    ----------
    name : str
    version : int
        Raised with every change of the code that changes results by more than rounding: entries of other versions are
        computed again. ``tests/test_cached_versions.py`` compares results with those of the version.
    libraries : tuple of str
        Distributions whose numbers the results are; their versions count too.
    """

    name: str
    version: int
    libraries: tuple[str, ...] = ()


class Key(NamedTuple):
    """Key of an entry: inputs, and the version of the computation."""

    content: str
    parameters: str
    version: str

    @property
    def name(self) -> str:
        """File name; another version of the code replaces the entry instead of adding one."""
        text = f"{self.content} {self.parameters}".encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest() + _SUFFIX

    def encode(self, value: Any) -> bytes:
        """An entry's bytes; see :func:`~meshconv.io.cache.records.encode_record` for what a value may be."""
        return encode_record(value, self._asdict())


def cache_key(of: Computation, content: str, parameters: Mapping[str, Any]) -> Key:
    """Key of a result.

    Parameters
    ----------
    of : Computation
    content : str
        Hash of the input: :func:`~meshconv.io.cache.content.file_content` or
        :func:`~meshconv.io.cache.content.array_content`.
    parameters : mapping
        Everything else that changes the result: numbers, texts, None, and lists and dicts of them.
    """
    return Key(content, json.dumps({"of": of.name, **parameters}, sort_keys=True), _version(of))


@functools.cache
def _version(of: Computation) -> str:
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in of.libraries]
    return ", ".join([f"format {_FORMAT}", f"{of.name} {of.version}", *libraries])


def default_folder() -> Path | None:
    """``MESHCONV_CACHE``, none if that is empty; else ``XDG_CACHE_HOME/meshconv``; else ``~/.cache/meshconv``."""
    chosen = os.environ.get("MESHCONV_CACHE")
    if chosen is not None:
        return Path(chosen).expanduser() if chosen.strip() else None
    # Without a home, as in some containers, "~" stays as it is.
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(base):
            return Path(base) / "meshconv"
    return None


class Cache:
    """A folder of precomputed results.

    Each entry is one file in the safetensors format that holds its whole key and a checksum. Files appear whole or not
    at all, so any number of processes may share the folder. An entry that is damaged or of another version is reported
    and computed again in its place; where the folder cannot be used, results are computed each time, with one warning.
    Above the limit the entries that were used longest ago are removed.

    Parameters
    ----------
    folder : path, optional
        Made when something is stored. None: nothing is kept.
    limit : int, optional
        Bytes that entries may take, about; none given: :func:`~meshconv.io.cache.limit.size_limit`.

    Notes
    -----
    :attr:`size` is what has gathered, :meth:`clear` (``meshconv cache --clear``) empties it. ``tests/test_cache.py``
    checks all of this.

    Examples
    --------
    >>> import tempfile
    >>> key = cache_key(Computation("radius", 1), "sphere", {"nside": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = Cache(folder)
    ...     slow = cache.fetch(key, lambda: {"radius": 1.0})
    ...     cache.fetch(key, lambda: 1 / 0), cache.size[0]
    ({'radius': 1.0}, 1)
    """

    def __init__(self, folder: str | os.PathLike[str] | None, limit: int | None = None):
        self.folder = None if folder is None else Path(folder).expanduser()
        self.limit = size_limit() if limit is None else limit
        self._started = time.time()
        self._room: int | None = None  # bytes until the next look at the folder
        self._said: set[str] = set()

    @classmethod
    def choose(cls, where: str | os.PathLike[str] | bool | None) -> Cache:
        """The cache of a configuration: True is :func:`default_folder`, False and None are none."""
        if where is True:
            return cls(default_folder())
        return cls(None if where is False else where)

    def load(self, key: Key) -> Any | None:
        """The value of an entry, or None if there is none that can be used."""
        if self.folder is None:
            return None
        path = self.folder / key.name
        try:
            value, about = decode_record(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say("read", f"{path}: cannot be read ({error.strerror}); computed without the cache")
            return None
        except DamagedFile as error:
            log.warning("%s: damaged, %s; computed again", path, error)
            return None
        if about == key._asdict():
            mark_used(path)
            return value
        self._say("stale", f"{path}: of another version of meshconv or its libraries; such entries are replaced")
        return None

    def store(self, key: Key, entry: bytes, strict: bool = False) -> None:
        """Keep ``key.encode(value)``; a folder that cannot be written to is reported once and left alone after.

        Where it is ``strict``, it is a :class:`~meshconv.errors.PlaceError`.
        """
        if self.folder is None or "write" in self._said:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / key.name) as part:
                part.write_bytes(entry)
        except OSError as error:
            if strict:
                raise PlaceError.of(error, self.folder) from error
            self._say("write", f"{self.folder}: cannot be written ({error.strerror}); going on without the cache")
            return
        self._keep_limit(len(entry))

    def _keep_limit(self, added: int) -> None:
        """Remove what was used longest ago; the folder is looked at when what this cache stored may have filled it."""
        if self._room is None or added > self._room:
            self._room, newest = evict(self._entries(), self.limit)
            if newest > self._started:
                self._say("small", f"{self.folder}: {self.limit / 1e9:g} GB are less than one run needs, and entries "
                          "are computed again and again; raise MESHCONV_CACHE_SIZE")  # fmt: skip
        else:
            self._room -= added

    def fetch(self, key: Key, build: Callable[[], Any]) -> Any:
        """The value of an entry; ``build()`` makes it where there is none."""
        value = self.load(key)
        if value is None:
            value = build()
            self.store(key, key.encode(value))
        return value

    @property
    def size(self) -> tuple[int, int]:
        """Number of entries, and bytes."""
        sizes = [entry.stat().st_size for entry in self._entries()]
        return len(sizes), sum(sizes)

    def clear(self) -> int:
        """Remove every entry and what interrupted processes left; returns the number of files."""
        files = self._entries() + list(self.folder.glob(f".*{_SUFFIX}.*") if self.folder else [])
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)

    def _entries(self) -> list[Path]:
        # Names are 32 digits: a folder that also holds something else keeps it.
        return list(self.folder.glob("[0-9a-f]" * 32 + _SUFFIX)) if self.folder else []

    def _say(self, kind: str, message: str) -> None:
        """Warn once of what would be the same for every entry."""
        if kind not in self._said:
            log.warning("%s", message)
        self._said.add(kind)
