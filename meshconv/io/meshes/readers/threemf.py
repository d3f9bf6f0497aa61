"""3MF: the objects of a build, whole or put together of others, in one model file or several (production extension)."""

from __future__ import annotations

import lzma
import posixpath
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, join_pieces
from meshconv.io.unpack import check_expansion, open_archive

_MODEL = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
_NAMESPACE = "http://schemas.microsoft.com/3dmanufacturing/"
# What a model may require without changing its triangles.
_READ = ("core", "material", "production", "slice", "trianglesets")
_SAFE = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
# Groups of colours: the elements in them, and the attribute that has the colour.
_COLORS = {"colorgroup": ("color", "color"), "basematerials": ("base", "displaycolor")}
_ELEMENTS = tuple(f"{{*}}{tag}" for tag in ("model", "object", "item", *_COLORS))
_BYTES_A_PART = 512  # about what a part takes besides its vertices and triangles
_BARE = (160, 160, 160)  # of triangles without a colour among painted ones
# What a damaged archive or model raises; RuntimeError if it is encrypted.
_DAMAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, NotImplementedError,
           RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, etree.XMLSyntaxError)  # fmt: skip
# An object is named by its model file and its number there.
_Key = tuple[str, str]


class _Reference(NamedTuple):
    key: _Key
    matrix: NDArray[np.float64]


class _Object(NamedTuple):
    name: str
    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    colors: NDArray[np.uint8] | None
    components: list[_Reference]


def read_3mf(path: Path) -> PolygonFile:
    """Read the objects of a 3MF file where its build puts them.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PolygonFile
        Polygon data ``part`` (names of objects) if there are several, and ``color`` (bytes by three) where triangles
        have materials or colours; of several corners' colours the first.

    Raises
    ------
    InputError
        No zip archive, no model, an extension that changes triangles, a part that is missing, or more than the file
        can hold.
    """
    size = path.stat().st_size
    with open_archive(path) as archive:
        try:
            model = _Models(archive, size)
            pieces = _build(model, size)
        except _Unsupported as error:
            raise InputError(f"{path}: {error}, which is not read; export it without, or as ply, obj or stl") from error
        except _DAMAGE as error:
            raise InputError(
                f"{path}: cannot be read as '3mf' ({first_line(error)}); the file is truncated or damaged"
            ) from error
    if not pieces:
        raise InputError(f"{path}: no vertices found; its build has no object with triangles")
    joined = join_pieces(pieces, str(path))
    if len(pieces) == 1:
        del joined.polygon_data["part"]
    return joined


class _Unsupported(Exception):
    """Begins a message: what the file needs that is not read."""


class _Models:
    """Objects and build of an archive's model files, each parsed when first asked for."""

    def __init__(self, archive: zipfile.ZipFile, file_size: int):
        self.archive, self.file_size = archive, file_size
        self.names = {name.lower().strip("/"): name for name in archive.namelist()}
        self.root = self._root()
        self.objects: dict[_Key, _Object] = {}
        self.colors: dict[_Key, NDArray[np.uint8]] = {}
        self.build: list[_Reference] = []
        self.parsed: set[str] = set()
        self._parse(self.root)

    def object(self, key: _Key) -> _Object:
        if key[0] not in self.parsed:
            self._parse(key[0])
        if key not in self.objects:
            raise ValueError(f"object {key[1]} of {key[0]} does not exist")
        return self.objects[key]

    def _root(self) -> str:
        """The model that the archive's relations name, or the one where it usually lies."""
        if "_rels/.rels" in self.names:
            relations = etree.fromstring(self.archive.read(self.names["_rels/.rels"]), etree.XMLParser(**_SAFE))
            for relation in relations.iter("{*}Relationship"):
                target = relation.get("Target", "").lower().strip("/")
                if relation.get("Type") == _MODEL and target in self.names:
                    return target
        models = sorted(name for name in self.names if name.endswith("3dmodel.model"))
        if not models:
            raise ValueError("it has no 3D/3dmodel.model")
        return models[0]

    def _parse(self, name: str) -> None:
        if name not in self.names:
            raise ValueError(f"its part {name} is not in the archive")
        self.parsed.add(name)
        with self.archive.open(self.names[name]) as stream:
            for event, element in etree.iterparse(stream, events=("start", "end"), tag=_ELEMENTS, **_SAFE):
                kind = etree.QName(element).localname
                if event == "start" and kind == "model":
                    _check_extensions(element)
                elif event == "end" and kind == "object":
                    parts = sum(1 for _ in element.iterfind("{*}components/{*}component"))
                    check_expansion(_BYTES_A_PART * parts, self.file_size)
                    self.objects[name, element.attrib["id"]] = _object(element, name, self.colors)
                    element.clear()
                elif event == "end" and kind in _COLORS:
                    self.colors[name, element.attrib["id"]] = _group(element, *_COLORS[kind])
                elif event == "end" and kind == "item" and name == self.root:
                    self.build.append(_reference(element, name))
                    check_expansion(_BYTES_A_PART * len(self.build), self.file_size)


def _check_extensions(model: etree._Element) -> None:
    for prefix in model.get("requiredextensions", "").split():
        space = model.nsmap.get(prefix, prefix)
        if space.removeprefix(_NAMESPACE).split("/")[0] not in _READ:
            raise _Unsupported(f"it needs the 3MF extension {space}")


def _group(element: etree._Element, tag: str, attribute: str) -> NDArray[np.uint8]:
    """Red, green and blue of a group of colours or materials, ``[n, 3]``."""
    texts = [child.attrib[attribute].lstrip("#") for child in element.iterfind(f"{{*}}{tag}")]
    return np.array([[int(text[k : k + 2], 16) for k in (0, 2, 4)] for text in texts], dtype=np.uint8).reshape(-1, 3)


def _painted(element: etree._Element, model: str, groups: dict[_Key, NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
    """Colours of an object's triangles, ``[F, 3]``; None if none has one."""
    of_object = element.get("pid"), element.get("pindex", "0")
    found = []
    for triangle in element.iterfind("{*}mesh/{*}triangles/{*}triangle"):
        group, index = triangle.get("pid", of_object[0]), triangle.get("p1", of_object[1])
        colors = groups.get((model, group or ""))
        found.append(None if colors is None else colors[int(index)])
    if all(color is None for color in found):
        return None
    return np.array([_BARE if color is None else color for color in found], dtype=np.uint8)


def _object(element: etree._Element, model: str, groups: dict[_Key, NDArray[np.uint8]]) -> _Object:
    vertices = [[v.attrib[k] for k in "xyz"] for v in element.iterfind("{*}mesh/{*}vertices/{*}vertex")]
    corners = ("v1", "v2", "v3")
    triangles = [[t.attrib[k] for k in corners] for t in element.iterfind("{*}mesh/{*}triangles/{*}triangle")]
    return _Object(
        element.get("name") or f"object {element.attrib['id']}",
        np.array(vertices, dtype=np.float64).reshape(-1, 3),
        np.array(triangles, dtype=np.int64).reshape(-1, 3),
        _painted(element, model, groups),
        [_reference(c, model) for c in element.iterfind("{*}components/{*}component")],
    )


def _reference(element: etree._Element, model: str) -> _Reference:
    """An object and where it is put; the production extension names its model file in a ``path``."""
    path = next((v for k, v in element.attrib.items() if etree.QName(k).localname == "path"), None)
    where = model if path is None else posixpath.normpath(path).lower().strip("/")
    matrix = np.eye(4)
    if "transform" in element.attrib:
        matrix[:3] = np.array(element.attrib["transform"].split(), dtype=np.float64).reshape(4, 3).T
    return _Reference((where, element.attrib["objectid"]), matrix)


def _build(model: _Models, file_size: int) -> list[PolygonFile]:
    """Every object of the build and of what it is put together of."""
    # Components of components multiply: a short file can name billions of parts.
    weights: dict[_Key, int] = {}
    check_expansion(sum(_weigh(model, item.key, weights, ()) for item in model.build), file_size)
    pieces: list[PolygonFile] = []
    left = [(item.key, item.matrix) for item in reversed(model.build)]
    while left:
        key, matrix = left.pop()
        found = model.object(key)
        if len(found.vertices):
            faces = found.triangles[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else found.triangles
            vertices = found.vertices @ matrix[:3, :3].T + matrix[:3, 3]
            part: dict[str, NDArray] = {"part": np.full(len(faces), found.name)}
            if found.colors is not None:
                part["color"] = found.colors
            pieces.append(PolygonFile(vertices, faces.reshape(-1), np.full(len(faces), 3), {}, part))
        left += [(component.key, matrix @ component.matrix) for component in reversed(found.components)]
    return pieces


def _weigh(model: _Models, key: _Key, weights: dict[_Key, int], above: tuple[_Key, ...]) -> int:
    """Bytes that an object takes with all its components, each object looked at once."""
    if key in above:
        raise ValueError(f"object {key[1]} is a component of itself")
    if key not in weights:
        found = model.object(key)
        own = 24 * (len(found.vertices) + len(found.triangles)) + _BYTES_A_PART
        weights[key] = own + sum(_weigh(model, c.key, weights, (*above, key)) for c in found.components)
    return weights[key]


FORMATS = (MeshFormat("3MF", (".3mf",), read_3mf),)
