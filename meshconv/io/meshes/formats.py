"""Every mesh format that can be read: its extensions, its reader, and what that needs. All lists come from here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from meshconv.extras import is_installed
from meshconv.io.meshes.polygons import PolygonFile
from meshconv.io.meshes.readers.gltf import read_gltf
from meshconv.io.meshes.readers.libraries import read_gifti, read_with_assimp, read_with_meshio
from meshconv.io.meshes.readers.obj import read_obj
from meshconv.io.meshes.readers.off import read_off
from meshconv.io.meshes.readers.ply import read_ply
from meshconv.io.meshes.readers.scenes import read_with_trimesh
from meshconv.io.meshes.readers.stl import read_stl
from meshconv.io.meshes.readers.threemf import read_3mf
from meshconv.io.meshes.readers.tosca import read_vert
from meshconv.io.meshes.readers.vtk.legacy import read_vtk
from meshconv.io.meshes.readers.vtk.xml import read_vtp


class MeshFormat(NamedTuple):
    """One format.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        With the dot, in lower case.
    read : callable (Path) -> PolygonFile
        Raises ``InputError`` for whatever is wrong with a file.
    splits_vertices : bool
        The format stores a vertex once for each face, or for each normal and texture coordinate.
    package : str
        Module of the extra ``formats`` that reads it; "": none is needed.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], PolygonFile]
    splits_vertices: bool = False
    package: str = ""

    @property
    def available(self) -> bool:
        """Whether the package is installed."""
        return not self.package or is_installed(self.package)


# General readers of the first ones renumber vertices, cut seams open, or forget polygons and labels.
MESH_FORMATS = (
    MeshFormat("Wavefront OBJ", (".obj",), read_obj),
    MeshFormat("OFF", (".off", ".coff", ".noff", ".stoff"), read_off),
    MeshFormat("PLY", (".ply",), read_ply),
    MeshFormat("STL", (".stl", ".stla", ".stlb"), read_stl, splits_vertices=True),
    MeshFormat("glTF", (".gltf", ".glb"), read_gltf, splits_vertices=True),
    MeshFormat("3MF", (".3mf",), read_3mf),
    MeshFormat("legacy VTK", (".vtk",), read_vtk),
    MeshFormat("VTK XML", (".vtp", ".vtu"), read_vtp),
    MeshFormat("TOSCA", (".vert",), read_vert),
    MeshFormat("3DXML", (".3dxml",), read_with_trimesh),
    MeshFormat("XAML", (".xaml",), read_with_trimesh),
    MeshFormat("COLLADA", (".dae", ".zae"), read_with_trimesh, package="collada"),
    MeshFormat("AMF", (".amf",), read_with_assimp, True, "assimp_py"),
    MeshFormat("X3D", (".x3d",), read_with_assimp, True, "assimp_py"),
    MeshFormat("GIFTI", (".gii",), read_gifti, package="nibabel"),
    MeshFormat("Gmsh", (".msh",), read_with_meshio, package="meshio"),
    MeshFormat("Medit", (".mesh",), read_with_meshio, package="meshio"),
)

#: Extension with the dot -> format.
BY_SUFFIX = {suffix: form for form in MESH_FORMATS for suffix in form.suffixes}


def mesh_suffixes() -> list[str]:
    """Extensions that can be read here and now, with the dot."""
    return sorted(suffix for suffix, form in BY_SUFFIX.items() if form.available)
