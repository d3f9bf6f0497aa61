"""Loading of mesh files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from meshconv.errors import InputError
from meshconv.extras import require
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.origin import Changes
from meshconv.geometry.repair.repair import Isolated, OnDefect
from meshconv.io.meshes.formats import BY_SUFFIX, mesh_suffixes
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.unpack import PACKED

log = logging.getLogger(__name__)

# Files of curves and points, which people take for meshes.
_WITHOUT_FACES = {".pts": "points", ".laz": "packed points",
                  ".dxf": "drawings", ".svg": "drawings", ".vti": "volumes", ".nrrd": "volumes"}  # fmt: skip
# How files of some formats begin.
_BEGINNINGS = ((b"ply\n", ".ply"), (b"ply\r", ".ply"), (b"glTF", ".glb"), (b"# vtk DataFile", ".vtk"), (b"OFF", ".off"),
               (b"solid ", ".stl"))  # fmt: skip
# What may be a zip archive.
_ZIPPED = (".3mf", ".zae", ".3dxml", ".amf")


def mesh_formats() -> list[str]:
    """File extensions that :func:`load_mesh` reads here, without the dot."""
    return [suffix[1:] for suffix in mesh_suffixes()]


def load_mesh(
    path: str | os.PathLike[str],
    on_defect: OnDefect = "repair",
    isolated: Isolated = "keep",
    volume_surface: bool = False,
) -> TriangleMesh:
    """Read a triangle mesh from a file and make it clean.

    Vertices keep the order of the file. Polygons are cut into triangles, the parts of a scene are put in place and
    joined to one mesh, coincident vertices are welded in formats that split them by design (STL, GLB, glTF). Labels,
    colours and other data of vertices and faces come along in ``vertex_data`` and ``face_data``.

    Parameters
    ----------
    path : str or path
        Of one of the formats that :func:`mesh_formats` lists.
    on_defect : "repair" | "drop" | "error"
        See :meth:`TriangleMesh.repair <meshconv.geometry.mesh.triangle_mesh.TriangleMesh.repair>`. What is changed is
        logged.
    isolated : "keep" | "drop"
        Vertices without faces.
    volume_surface : bool
        Of files of volume cells (tetrahedra, pyramids, wedges, hexahedra) their surface, with the data of the cells
        that have it. Otherwise such files are an error.

    Returns
    -------
    TriangleMesh
        ``name`` is the path; ``origin`` leads back to the vertices and faces (or polygons) of the file.

    Raises
    ------
    InputError
        Missing, a directory, empty, truncated or of unknown format; no faces; NaN or infinite coordinates; a face
        index without a vertex; no area; defects, with ``"error"``. One line with the file, the value and what to do.

    Examples
    --------
    >>> load_mesh("no/such/file.obj")
    Traceback (most recent call last):
        ...
    meshconv.errors.InputError: no/such/file.obj: no such file; check the path
    """
    return clean_mesh(read_mesh(path, volume_surface), on_defect, isolated)


def clean_mesh(raw: TriangleMesh, on_defect: OnDefect = "repair", isolated: Isolated = "keep") -> TriangleMesh:
    """Repair a mesh from :func:`read_mesh`, and report the changes; see :func:`load_mesh`."""
    path = raw.name
    raw.check_area()
    mesh = raw.repair(on_defect, isolated)
    if mesh.num_faces == 0:
        raise InputError(f"{path}: no faces are left without {', '.join(raw.defects.problems())}; repair the mesh")
    mesh.check_area()
    welded = raw.origin.changes.welded_vertices if raw.origin else 0
    # Welding alone, in formats that split vertices by design, is nothing to tell.
    if mesh.origin and mesh.origin.changes != replace(Changes(), welded_vertices=welded):
        log.info("%s: %s", path, mesh.origin.changes)
    if mesh.half_edges.irregular.any():
        log.warning(
            "%s: the surface cannot be oriented (like a Moebius strip); normals jump across a seam, "
            "gauge_graph(unoriented=True) with fields of O(2) does without",
            path,
        )
    return mesh


def read_mesh(path: str | os.PathLike[str], volume_surface: bool = False) -> TriangleMesh:
    """Read a mesh without repair; see :func:`load_mesh`."""
    path = Path(path)
    with _one_line(path):
        return read_polygons(path, volume_surface).triangles(str(path), _check_file(path).splits_vertices)


def read_polygons(path: str | os.PathLike[str], volume_surface: bool = False) -> PolygonFile:
    """The content of a mesh file before it is cut into triangles; see :func:`load_mesh`."""
    path = Path(path)
    form = _check_file(path)
    with _one_line(path):
        content = _content(form, path)
        if content.volumes is None:
            return content
        if volume_surface:
            return content.volumes.surface()
    raise InputError(f"{path}: it holds {content.volumes.says}; set volume_surface to true for the volumes' surface")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """What goes wrong with a file, in one line."""
    try:
        with np.errstate(all="ignore"):
            yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
    except MemoryError as error:
        raise InputError(f"{path}: needs more memory than there is; simplify the mesh or cut it in parts") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}; the file is damaged") from error


def _content(form: MeshFormat, path: Path) -> PolygonFile:
    """What the reader finds; where it finds nothing, what the file is instead if that is known."""
    try:
        content = form.read(path)
        if len(content.vertices):
            return content
        problem = InputError(f"{path}: no vertices found; the file is damaged or no '{path.suffix[1:]}' mesh")
    except InputError as error:
        problem = error
    with path.open("rb") as stream:
        start = stream.read(512)
    for begins, kind, remedy in PACKED:
        # Archives that are what they are called have been looked into.
        if start.startswith(begins) and not (begins.startswith(b"PK") and path.suffix.lower() in _ZIPPED):
            raise InputError(f"{path}: this is {kind}, no {form.name} file; {remedy}") from problem
    for begins, suffix in _BEGINNINGS:
        if start.startswith(begins) and BY_SUFFIX[suffix] is not form:
            said = f"{path}: this is a {BY_SUFFIX[suffix].name} file, no {form.name}; let its name end in {suffix}"
            raise InputError(said) from problem
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")) and b"html" in start.lower():
        raise InputError(f"{path}: this is a web page, perhaps of a failed download; get the file again") from problem
    raise problem


def _check_file(path: Path) -> MeshFormat:
    """Format of a file that exists, can be opened and has content."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a directory; name a mesh file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; save the mesh to disk first")
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be opened ({reason}); check its permissions") from error
    suffix = path.suffix.lower()
    form = BY_SUFFIX.get(suffix)
    if form is None:
        holds = f" ('{suffix}' files hold {_WITHOUT_FACES[suffix]}, no faces)" if suffix in _WITHOUT_FACES else ""
        raise InputError(
            f"{path}: extension '{path.suffix}' is not a mesh format that can be read here{holds}; "
            f"convert it to one of {', '.join(mesh_formats())}"
        )
    if form.package:
        require(f"{path}: {form.name}", "formats", only=form.package)
    if empty:
        raise InputError(f"{path}: the file is empty (0 bytes); export the mesh again")
    return form
