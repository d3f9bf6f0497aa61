from .cache.cache import (
    Cache as Cache,
    Computation as Computation,
    cache_key as cache_key,
)
from .interop.pyg import (
    from_pyg as from_pyg,
    to_pyg as to_pyg,
)
from .interop.pytorch3d import (
    from_pytorch3d as from_pytorch3d,
    to_pytorch3d as to_pytorch3d,
)
from .interop.trimesh import (
    from_trimesh as from_trimesh,
    to_trimesh as to_trimesh,
)
from .maps.fields import (
    SphereFields as SphereFields,
    open_fields as open_fields,
)
from .maps.weights import cached_regridder as cached_regridder
from .meshes.check import check_files as check_files
from .meshes.labels import read_labels as read_labels
from .meshes.load import (
    load_mesh as load_mesh,
    mesh_formats as mesh_formats,
    read_mesh as read_mesh,
)
from .meshes.save import save_mesh as save_mesh
