"""Bytes to geometry and back: mesh files, climate fields."""

from meshconv.io.meshes import load_mesh, mesh_formats

__all__ = ["load_mesh", "mesh_formats"]
