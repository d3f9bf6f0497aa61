"""Bytes to geometry and back: mesh files, climate fields."""

from meshconv.io.meshes import load_mesh, mesh_formats, read_mesh
from meshconv.io.save import save_mesh

__all__ = ["load_mesh", "mesh_formats", "read_mesh", "save_mesh"]
