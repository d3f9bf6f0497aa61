"""TriangleMesh <-> trimesh."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.polygons import join_pieces
from meshconv.io.meshes.readers.scenes import trimesh_pieces


def from_trimesh(mesh: trimesh.Trimesh | trimesh.Scene, name: str = "") -> TriangleMesh:
    """A mesh or scene of trimesh, vertices and faces in its order.

    Parameters
    ----------
    mesh : trimesh.Trimesh or trimesh.Scene
        The parts of a scene are put in place and joined; ``face_data["part"]`` then names the part of each face.
    name : str
        What error messages begin with.

    Returns
    -------
    TriangleMesh
        With colours (RGBA, uint8 ``color``) and attributes of vertices and faces. Nothing is welded or repaired.

    Raises
    ------
    InputError
        No vertices, or coordinates that are not finite.

    Examples
    --------
    >>> float(from_trimesh(trimesh.creation.box()).area)
    6.0
    """
    pieces = trimesh_pieces(mesh)
    if not pieces:
        raise InputError(f"{name + ': ' if name else ''}no vertices; give a mesh or a scene that has some")
    joined = join_pieces(pieces, name)
    if len(pieces) == 1:
        del joined.polygon_data["part"]
    return joined.triangles(name)


def to_trimesh(mesh: TriangleMesh) -> trimesh.Trimesh:
    """The mesh as it is, with ``color`` as colours and other numbers of vertices and faces as attributes.

    Examples
    --------
    >>> mesh = TriangleMesh(np.eye(3), np.array([[0, 1, 2]]), face_data={"label": np.array([7])})
    >>> to_trimesh(mesh).face_attributes["label"]
    array([7])
    """
    numbers: list[dict[str, Any]] = [
        {key: np.array(values) for key, values in data.items() if np.asarray(values).dtype.kind in "biuf"}
        for data in (mesh.vertex_data, mesh.face_data)
    ]
    colors = [data.pop("color", None) for data in numbers]
    return trimesh.Trimesh(
        mesh.vertices.copy(),
        mesh.faces.copy(),
        process=False,
        vertex_colors=colors[0],
        # trimesh shows one kind of colours: those of faces where both are given.
        face_colors=colors[1],
        vertex_attributes=numbers[0],
        face_attributes=numbers[1],
    )
