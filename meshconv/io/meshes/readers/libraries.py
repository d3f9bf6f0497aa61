"""Formats that libraries read: AMF, X3D (assimp-py), COLLADA (both), GIFTI (nibabel), Medit (meshio)."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, Volumes, join_pieces
from meshconv.io.meshes.readers.scenes import read_with_trimesh
from meshconv.io.meshes.volumes import VOLUME_SIZES, VolumeCells, surface_of_volumes
from meshconv.io.text import decode_text, read_text
from meshconv.io.unpack import check_expansion, open_archive

_FLAT = ("triangle", "quad", "polygon")


def in_one_line(read: Callable[[Path], PolygonFile]) -> Callable[[Path], PolygonFile]:
    """Turn whatever a library raises, and prints, into one line."""

    @wraps(read)
    def quiet(path: Path) -> PolygonFile:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                return read(path)
        except InputError:
            raise
        # A parser can fail in any way on a damaged file, and all of them mean the same to the user.
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{path}: cannot be read as '{path.suffix[1:]}' ({first_line(error)}); the file is damaged or holds no "
                "triangles; save it as ply, obj or stl"
            ) from error

    return quiet


@in_one_line
def read_with_assimp(path: Path) -> PolygonFile:
    """Triangles of a scene in their places; ``part`` numbers its meshes if there are several."""
    import assimp_py

    content = _unzipped(path)
    text = decode_text(content)
    if "<!ENTITY" in text[:65536]:
        raise ValueError("it defines entities, which no mesh needs")
    # The library takes whatever is in memory for a corner of AMF that is missing.
    triangles, *corners = (len(re.findall(rf"<{tag}\b", text)) for tag in ("triangle", "v1", "v2", "v3"))
    if min(corners) < triangles:
        raise ValueError(f"{min(corners)} corners of {triangles} triangles")
    how = assimp_py.Process_Triangulate | assimp_py.Process_PreTransformVertices
    with _copy(path, content) as copy:
        try:
            scene = assimp_py.import_file(str(copy), how)
        except RuntimeError as error:
            raise ValueError(str(error).replace(str(copy), path.name)) from error
    pieces = []
    for number, mesh in enumerate(scene.meshes):
        vertices = np.array(mesh.vertices, dtype=np.float64).reshape(-1, 3)
        faces = np.array(mesh.indices, dtype=np.int64).reshape(-1, 3)
        part = {"part": np.full(len(faces), str(getattr(mesh, "name", "") or f"part {number}"))}
        pieces.append(PolygonFile(vertices, faces.reshape(-1), np.full(len(faces), 3), {}, part))
    if not pieces:
        raise ValueError("no triangles")
    joined = join_pieces(pieces, str(path))
    if len(pieces) == 1:
        del joined.polygon_data["part"]
    return joined


def read_collada(path: Path) -> PolygonFile:
    """Parts and colours by pycollada, which leaves out what it cannot read; by assimp where that has more triangles."""
    problem = None
    try:
        found = read_with_trimesh(path)
    except InputError as error:
        found, problem = None, error
    if find_spec("assimp_py") is not None:
        with contextlib.suppress(InputError):
            whole = read_with_assimp(path)
            if found is None or num_triangles(whole) > num_triangles(found):
                return whole
    if found is None:
        assert problem is not None
        raise problem
    return found


def num_triangles(content: PolygonFile) -> int:
    """Triangles that polygons, no strips, are cut into."""
    return int((content.sizes - 2).clip(0).sum())


def _unzipped(path: Path) -> bytes:
    """Content of a file, or of the one like it that is zipped in it."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with open_archive(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(path.suffix.lower())]
        if len(names) != 1:
            raise ValueError(f"its archive has {len(names)} files that end in {path.suffix}")
        return archive.read(names[0])


@contextlib.contextmanager
def _copy(path: Path, content: bytes) -> Iterator[Path]:
    """A file for a library that reads no other things, of the kind of ``path``."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"mesh{path.suffix.lower()}"
        copy.write_bytes(content)
        yield copy


@in_one_line
def read_gifti(path: Path) -> PolygonFile:
    """The points and triangles of a surface, with what else it has for each point."""
    import nibabel

    check_gifti(path)
    image = nibabel.gifti.GiftiImage.from_filename(path, mmap=False)
    points = image.agg_data("NIFTI_INTENT_POINTSET")
    faces = image.agg_data("NIFTI_INTENT_TRIANGLE")
    if not isinstance(points, np.ndarray) or not isinstance(faces, np.ndarray):
        raise ValueError("not one set of points and one of triangles")
    data = {}
    for number, array in enumerate(image.darrays):
        if array.data.shape[:1] == (len(points),) and array.intent not in (1008, 1009):  # points and triangles
            data[array.meta.get("Name") or f"array {number}"] = np.asarray(array.data)
    faces = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    vertices = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    return PolygonFile(vertices, faces.reshape(-1), np.full(len(faces), 3), data)


def check_gifti(path: Path) -> None:
    """Unpack compressed arrays bit by bit, and stop where they are more than the file can hold."""
    size, unpacked = path.stat().st_size, 0
    for _, element in ElementTree.iterparse(path):
        if element.tag != "DataArray":
            continue
        if element.get("ExternalFileName"):
            raise ValueError("its arrays are in another file")
        packed = element.findtext("Data") or ""
        if element.get("Encoding") == "GZipBase64Binary":
            stream, left = zlib.decompressobj(), base64.b64decode(packed)
            while left and not stream.eof:
                unpacked += len(stream.decompress(left, 2**20))
                check_expansion(unpacked, size)
                left = stream.unconsumed_tail
        element.clear()


@in_one_line
def read_with_meshio(path: Path) -> PolygonFile:
    """Triangles and other polygons of a grid, with the data of its points and of these; volumes beside them are not."""
    import meshio

    # The reader takes no byte order marks, other line ends, indentation or empty lines.
    lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    with _copy(path, "\n".join([*lines, ""]).encode()) as copy:
        mesh = meshio.medit.read(str(copy))
    kept = [k for k, block in enumerate(mesh.cells) if block.type in _FLAT and len(block.data)]
    points = np.asarray(mesh.points, dtype=np.float64)
    points = np.pad(points, ((0, 0), (0, max(3 - points.shape[1], 0))))[:, :3]
    if not kept:
        return _volumes(mesh, points)
    corners = [np.asarray(mesh.cells[k].data, dtype=np.int64) for k in kept]
    data = {
        name: np.concatenate([np.asarray(blocks[k]) for k in kept])
        for name, blocks in mesh.cell_data.items()
        if len({np.asarray(blocks[k]).shape[1:] for k in kept}) == 1
    }
    return PolygonFile(
        points,
        np.concatenate([c.reshape(-1) for c in corners]),
        np.concatenate([np.full(len(c), c.shape[1]) for c in corners]),
        {name: np.asarray(values) for name, values in mesh.point_data.items()},
        data,
    )


def _volumes(mesh: Any, points: NDArray[np.float64]) -> PolygonFile:
    """A grid whose cells are volumes."""
    starts = np.cumsum([0, *(len(block.data) for block in mesh.cells)])
    blocks = [
        VolumeCells(block.type, np.asarray(block.data, dtype=np.int64), np.arange(start, start + len(block.data)))
        for block, start in zip(mesh.cells, starts[:-1], strict=True)
        if block.type in VOLUME_SIZES and len(block.data)
    ]
    if not blocks:
        found = ", ".join(sorted({block.type for block in mesh.cells})) or "none"
        raise ValueError(f"its cells are {found}; extract the surface")
    at_points = {name: np.asarray(values) for name, values in mesh.point_data.items()}
    of_cells = {
        name: np.concatenate([np.asarray(part) for part in parts])
        for name, parts in mesh.cell_data.items()
        if len({np.asarray(part).shape[1:] for part in parts}) == 1
    }
    of = (points, blocks, int(starts[-1]), at_points, of_cells)
    says = f"{sum(len(block.rows) for block in blocks)} volume cells"
    none = np.zeros(0, np.int64)
    return PolygonFile(points, none, none, at_points, volumes=Volumes(says, lambda: surface_of_volumes(*of)))


FORMATS = (
    MeshFormat("AMF", (".amf",), read_with_assimp, True, "assimp_py"),
    MeshFormat("COLLADA", (".dae", ".zae"), read_collada, True, package="collada"),
    MeshFormat("X3D", (".x3d",), read_with_assimp, True, "assimp_py"),
    MeshFormat("GIFTI", (".gii",), read_gifti, package="nibabel"),
    MeshFormat("Medit", (".mesh",), read_with_meshio, package="meshio"),
)
