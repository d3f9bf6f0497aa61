"""VTK's collections of blocks (``.vtm``): several files as one mesh."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, join_pieces
from meshconv.io.meshes.readers.vtk.legacy import read_vtk
from meshconv.io.meshes.readers.vtk.xml import read_vtp
from meshconv.io.text import decode_text

log = logging.getLogger(__name__)

_READERS = {".vtp": read_vtp, ".vtu": read_vtp, ".vtk": read_vtk}


def read_vtm(path: Path) -> PolygonFile:
    """Read the polygons of all blocks of a collection.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Blocks in the order of the file; ``part`` is the name of the block of each polygon, of a data set without a name
        that of the block round it. Arrays that some block lacks
        are left out, as are blocks without polygons (grids of volumes, empty blocks, other data sets).

    Raises
    ------
    InputError
        Not this format, no block with polygons, a block that cannot be read, lies outside of the folder or comes twice.
    """
    pieces = []
    for name, place in _blocks(path):
        if place.suffix.lower() not in _READERS:
            log.info("%s: block %s is left out: %s is no surface", path, name, place.name)
            continue
        if not place.is_file():
            raise InputError(f"{path}: block {name!r} is in {place}, which is not there; put it there")
        piece = _READERS[place.suffix.lower()](place)
        if not len(piece.sizes):
            log.info("%s: block %s is left out: it has no polygons", path, name)
            continue
        pieces.append(replace(piece, polygon_data={**piece.polygon_data, "part": np.full(len(piece.sizes), name)}))
    if not pieces:
        raise InputError(f"{path}: none of its blocks has polygons; give a grid of volumes by its own file")
    return join_pieces(pieces, str(path))


def files_of_blocks(path: Path) -> list[Path]:
    """The files that a collection names; none if it is no collection."""
    try:
        return [place for _, place in _blocks(path)]
    except InputError:
        return []


def _blocks(path: Path) -> list[tuple[str, Path]]:
    """Name and file of each block."""
    try:
        text = decode_text(path.read_bytes()).strip()
        if "<!DOCTYPE" in text:
            raise ValueError("it has a document type, which no collection needs")
        root = ElementTree.fromstring(text)
        if root.tag != "VTKFile" or root.get("type") != "vtkMultiBlockDataSet":
            raise ValueError(f"{root.tag} of type {root.get('type')} where vtkMultiBlockDataSet belongs")
        folder, found = path.parent.resolve(), []
        for number, (name, file) in enumerate(_files(root, "")):
            place = (folder / file).resolve()
            if not place.is_relative_to(folder):
                raise ValueError(f"its block {file[:60]!r} lies outside of its folder")
            found.append((name or f"block {number}", path.parent / place.relative_to(folder)))
        twice = [place for k, (_, place) in enumerate(found) if place in [p for _, p in found[:k]]]
        if twice:
            raise ValueError(f"it has {twice[0].name} twice")
    except (ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: cannot be read as 'vtm' ({first_line(error)}); save its surface as vtp") from error
    return found


def _files(element: ElementTree.Element, name: str) -> Iterator[tuple[str, str]]:
    """Name and file of each data set in a block, whose name those without one of their own have."""
    name = element.get("name") or name
    if element.tag == "DataSet" and element.get("file"):
        yield name, element.attrib["file"]
    for part in element:
        yield from _files(part, name)


FORMATS = (MeshFormat("VTK blocks", (".vtm",), read_vtm),)
