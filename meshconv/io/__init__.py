"""Bytes to geometry and back: mesh files, climate fields, the cache, other libraries' meshes and graphs."""

from meshconv.io.cache.cache import Cache, cache_key
from meshconv.io.interop.pyg import from_pyg, to_pyg
from meshconv.io.interop.pytorch3d import from_pytorch3d, to_pytorch3d
from meshconv.io.interop.trimesh import from_trimesh, to_trimesh
from meshconv.io.meshes.load import load_mesh, mesh_formats, read_mesh
from meshconv.io.meshes.save import save_mesh

__all__ = [
    "Cache",
    "cache_key",
    "from_pyg",
    "from_pytorch3d",
    "from_trimesh",
    "load_mesh",
    "mesh_formats",
    "read_mesh",
    "save_mesh",
    "to_pyg",
    "to_pytorch3d",
    "to_trimesh",
]
