"""Mesh files of every common format -> :class:`~meshconv.geometry.mesh.triangle_mesh.TriangleMesh`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.repair import Isolated, OnDefect
from meshconv.io.meshes.obj import read_obj
from meshconv.io.meshes.off import read_off
from meshconv.io.meshes.ply import read_ply
from meshconv.io.meshes.polygons import PolygonFile
from meshconv.io.meshes.scenes import read_with_trimesh
from meshconv.io.meshes.tosca import read_vert
from meshconv.io.meshes.vtk import read_vtk
from meshconv.io.meshes.vtp import read_vtp

log = logging.getLogger(__name__)

_ARCHIVES = {"zip", "bz2", "tar.bz2", "tar.gz"}
# General readers of these renumber vertices, cut seams open, or forget polygons and labels.
_READERS: dict[str, Callable[[Path], PolygonFile]] = {
    "obj": read_obj, "off": read_off, "ply": read_ply, "vert": read_vert, "vtk": read_vtk, "vtp": read_vtp
}  # fmt: skip


def mesh_formats() -> list[str]:
    """File extensions that :func:`load_mesh` reads here, without the dot."""
    return sorted({*trimesh.available_formats(), *_READERS} - _ARCHIVES)


def load_mesh(
    path: str | os.PathLike[str], on_defect: OnDefect = "repair", isolated: Isolated = "keep"
) -> TriangleMesh:
    """Read a triangle mesh from a file and make it clean.

    Vertices keep the order of the file. Polygons are cut into triangles, the parts of a scene are put in place and
    joined to one mesh, coincident vertices are welded in formats that split them by design (STL, GLB, glTF). Labels,
    colours and other data of vertices and faces come along in ``vertex_data`` and ``face_data``.

    Parameters
    ----------
    path : str or path
        OBJ, PLY, OFF, STL, GLB, glTF and whatever else :func:`mesh_formats` lists.
    on_defect : "repair" | "drop" | "error"
        See :meth:`TriangleMesh.repair <meshconv.geometry.mesh.triangle_mesh.TriangleMesh.repair>`. What is changed is
        logged.
    isolated : "keep" | "drop"
        Vertices without faces.

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
    return clean_mesh(read_mesh(path), on_defect, isolated)


def clean_mesh(raw: TriangleMesh, on_defect: OnDefect = "repair", isolated: Isolated = "keep") -> TriangleMesh:
    """Make a mesh as :func:`read_mesh` has it clean, and report what was changed; see :func:`load_mesh`."""
    path = raw.name
    raw.check_area()
    mesh = raw.repair(on_defect, isolated)
    if mesh.num_faces == 0:
        raise InputError(f"{path}: no faces are left without {', '.join(raw.defects.problems())}; repair the mesh")
    mesh.check_area()
    before = raw.origin.changes if raw.origin else None
    if mesh.origin and mesh.origin.changes and mesh.origin.changes != before:
        log.info("%s: %s", path, mesh.origin.changes)
    if mesh.half_edges.irregular.any():
        log.warning(
            "%s: the surface cannot be oriented (like a Moebius strip); normals jump across a seam, "
            "gauge_graph(unoriented=True) with fields of O(2) does without",
            path,
        )
    return mesh


def read_mesh(path: str | os.PathLike[str]) -> TriangleMesh:
    """Read a mesh as the file has it, defects included; see :func:`load_mesh`."""
    path = Path(path)
    kind = _check_file(path)
    if kind not in _READERS:
        return read_with_trimesh(path, kind)
    with np.errstate(all="ignore"):
        content = _READERS[kind](path)
        if len(content.vertices) == 0:
            raise InputError(f"{path}: no vertices found; the file is damaged or no '{kind}' mesh")
        return content.triangles(str(path))


def _check_file(path: Path) -> str:
    """Extension of a file that exists, can be opened, has content and a known format."""
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
    kind = path.suffix.lower().lstrip(".")
    if kind not in mesh_formats():
        raise InputError(
            f"{path}: extension '{path.suffix}' is not a mesh format that can be read here; "
            f"convert it to one of {', '.join(mesh_formats())}"
        )
    if empty:
        raise InputError(f"{path}: the file is empty (0 bytes); export the mesh again")
    return kind
