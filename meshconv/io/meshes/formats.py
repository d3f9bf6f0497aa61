"""Registry of mesh formats, from the modules of ``readers``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

from meshconv.io.meshes import readers
from meshconv.io.meshes.polygons import MeshFormat


def find_formats() -> Iterator[MeshFormat]:
    """``FORMATS`` of every module in :mod:`meshconv.io.meshes.readers`."""
    for module in walk_packages(readers.__path__, f"{readers.__name__}."):
        yield from getattr(import_module(module.name), "FORMATS", ())


MESH_FORMATS = tuple(find_formats())

#: Extension with the dot -> format.
BY_SUFFIX = {suffix: form for form in MESH_FORMATS for suffix in form.suffixes}


def mesh_suffixes() -> list[str]:
    """Extensions that can be read here and now, with the dot."""
    return sorted(suffix for suffix, form in BY_SUFFIX.items() if form.available)
