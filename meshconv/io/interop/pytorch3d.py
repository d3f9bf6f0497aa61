"""TriangleMesh <-> PyTorch3D's batches of meshes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from meshconv.extras import require
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

if TYPE_CHECKING:
    from pytorch3d.structures import Meshes

log = logging.getLogger(__name__)


def from_pytorch3d(meshes: Meshes) -> list[TriangleMesh]:
    """The meshes of a PyTorch3D batch, padded or packed, each on its own.

    Parameters
    ----------
    meshes : pytorch3d.structures.Meshes
        On any device; gradients end here, since geometry is computed in float64 outside of autograd.

    Returns
    -------
    list of TriangleMesh
        With textures per vertex as ``vertex_data["color"]`` ``[V, C]``; other textures have no place on vertices.

    Raises
    ------
    InputError
        Coordinates that are not finite, or a mesh without vertices, with its number in the batch.

    Examples
    --------
    ::

        graphs = [mesh.gauge_graph() for mesh in from_pytorch3d(meshes)]
    """
    features = getattr(meshes.textures, "verts_features_list", None)
    colors = None if features is None else [f.detach().cpu().numpy() for f in features()]
    found = []
    for i, (vertices, faces) in enumerate(zip(meshes.verts_list(), meshes.faces_list(), strict=True)):
        data = {} if colors is None else {"color": colors[i]}
        arrays = vertices.detach().cpu().numpy(), faces.detach().cpu().numpy()
        found.append(TriangleMesh(*arrays, f"mesh {i}", data))
    return found


def to_pytorch3d(
    meshes: TriangleMesh | Sequence[TriangleMesh],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Meshes:
    """One mesh or several as a PyTorch3D batch.

    Parameters
    ----------
    meshes : TriangleMesh or sequence of them
        Of any sizes. Where all have ``vertex_data["color"]`` of one width, it becomes a ``TexturesVertex``; integers
        are divided by 255 and lose their opacity.
    dtype : torch.dtype
        Of the coordinates; PyTorch3D computes in float32.
    device

    Raises
    ------
    MissingExtraError
        PyTorch3D is not installed.
    """
    require("to_pytorch3d", "pytorch3d")
    from pytorch3d.structures import Meshes

    meshes = [meshes] if isinstance(meshes, TriangleMesh) else list(meshes)
    vertices = [torch.as_tensor(m.vertices).to(device, dtype) for m in meshes]
    faces = [torch.as_tensor(m.faces).to(device) for m in meshes]
    return Meshes(vertices, faces, textures=_textures(meshes, dtype, device))


def _textures(meshes: list[TriangleMesh], dtype: torch.dtype, device: torch.device | str) -> Any:
    colors = [np.asarray(m.vertex_data["color"]) for m in meshes if "color" in m.vertex_data]
    if len(colors) < len(meshes) or len({c.shape[1:] for c in colors}) != 1 or colors[0].ndim != 2:
        return None
    try:
        from pytorch3d.renderer import TexturesVertex
    except ImportError as error:
        log.warning("colours are left out: this PyTorch3D has no renderer (%s)", error)
        return None
    real = [c if c.dtype.kind == "f" else c[:, :3] / 255 for c in colors]
    return TexturesVertex([torch.from_numpy(c).to(device, dtype) for c in real])
