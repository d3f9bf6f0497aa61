"""Input features of meshes by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.fields import FieldType, Group, concatenate_fields
from meshconv.geometry.features.curvature import GAUSS_CURVATURE, SHAPE_OPERATOR, gauss_curvature, shape_operator
from meshconv.geometry.features.laplacian import TuftedLaplacian
from meshconv.geometry.features.moments import MESH_FEATURES, centred_points, log_areas, mesh_features, shorten_fields
from meshconv.geometry.features.smoothed import SMOOTHED_FEATURES, smoothed_features
from meshconv.geometry.features.spectral import (
    Spectrum,
    heat_kernel_signature,
    laplacian_spectrum,
    wave_kernel_signature,
)
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh


class _Surface:
    """A mesh with its graph, and quantities that several features share."""

    def __init__(self, mesh: TriangleMesh, graph: GaugeGraph):
        self.mesh, self.graph = mesh, graph

    @cached_property
    def spectrum(self) -> Spectrum:
        return laplacian_spectrum(self.mesh, laplacian=self.laplacian)

    @cached_property
    def laplacian(self) -> TuftedLaplacian:
        return TuftedLaplacian.of(self.mesh)


def _areas(surface: _Surface) -> Tensor:
    return torch.from_numpy(log_areas(surface.mesh.vertex_areas)[:, None])


def _curvature(surface: _Surface) -> Tensor:
    # As multiples of what a sphere of the same area has.
    length = np.sqrt(surface.mesh.area / (4 * np.pi))
    gauss, _ = gauss_curvature(surface.mesh)
    shape, _ = shape_operator(surface.mesh, surface.graph)
    both = concatenate_fields([GAUSS_CURVATURE, SHAPE_OPERATOR], [gauss * length**2, shape * length])
    x = shorten_fields(GAUSS_CURVATURE + SHAPE_OPERATOR, both)
    if surface.graph.reflected is not None:
        # From the other side the operator has the opposite sign. Rotated by 45 degrees, its traceless part is a
    # field whose sine component alone changes sign under reflection of the frame.
        x = torch.stack([x[:, 0], x[:, 1], -x[:, 3], x[:, 2]], dim=1)
    return x


def _smoothed(surface: _Surface) -> Tensor:
    return smoothed_features(surface.mesh, surface.graph, surface.laplacian)


def _heat(surface: _Surface) -> Tensor:
    return torch.asinh(heat_kernel_signature(surface.spectrum, 16)[0] - 1)


def _wave(surface: _Surface) -> Tensor:
    return torch.asinh(wave_kernel_signature(surface.spectrum, 16)[0] - 1)


def _coordinates(surface: _Surface) -> Tensor:
    return torch.from_numpy(centred_points(surface.mesh, surface.mesh.vertex_areas > 0))


def _normals(surface: _Surface) -> Tensor:
    return surface.graph.frames[:, 2].double().cpu()


class _Feature(NamedTuple):
    """A named feature; ``unoriented`` is None where the values need an orientation."""

    type: FieldType
    unoriented: FieldType | None
    compute: Callable[[_Surface], Tensor]


_FEATURES = {
    "surface": _Feature(SMOOTHED_FEATURES, None, _smoothed),
    "default": _Feature(MESH_FEATURES, None, lambda surface: mesh_features(surface.mesh, surface.graph)),
    "areas": _Feature(FieldType("1x0"), FieldType("O(2): 1x0"), _areas),
    "curvature": _Feature(GAUSS_CURVATURE + SHAPE_OPERATOR, FieldType("O(2): 1x0 + 1x0- + 1x2"), _curvature),
    "hks": _Feature(FieldType("16x0"), FieldType("O(2): 16x0"), _heat),
    "wks": _Feature(FieldType("16x0"), FieldType("O(2): 16x0"), _wave),
    "coordinates": _Feature(FieldType("3x0"), FieldType("O(2): 3x0"), _coordinates),
    "normals": _Feature(FieldType("3x0"), FieldType("O(2): 3x0-"), _normals),
}

SURFACE_FEATURES = tuple(_FEATURES)
"""Names of :func:`surface_features`."""


def surface_feature_type(names: Sequence[str] = ("default",), group: Group = "SO(2)") -> FieldType:
    """Field type of the named features, without a mesh.

    Parameters
    ----------
    names : sequence of str
        Some of :data:`SURFACE_FEATURES`, each once.
    group : "SO(2)" | "O(2)"
        ``"O(2)"`` for graphs made with ``unoriented=True``.

    Raises
    ------
    InputError
        An unknown or repeated name, no name, or a feature that non-orientable surfaces do not have.

    Examples
    --------
    >>> surface_feature_type(["curvature", "hks"])
    FieldType('18x0 + 1x2')
    """
    return reduce(add, (t for t, _ in _chosen(names, group)))


def _chosen(names: Sequence[str], group: Group) -> list[tuple[FieldType, Callable[[_Surface], Tensor]]]:
    names = [names] if isinstance(names, str) else list(names)
    known = [name for name, feature in _FEATURES.items() if group == "SO(2)" or feature.unoriented]
    if not names or len(set(names)) < len(names):
        raise InputError(f"features: {names} has to name some of {', '.join(known)}, each once")
    chosen = []
    for name in names:
        if name not in known:
            where = " on non-orientable surfaces" if name in _FEATURES else ""
            raise InputError(f"features: {name!r} is not available{where}; choose from {', '.join(known)}")
        feature = _FEATURES[name]
        field_type = feature.type if group == "SO(2)" else feature.unoriented
        assert field_type is not None  # checked above; for the type checker
        chosen.append((field_type, feature.compute))
    return chosen


def surface_features(
    mesh: TriangleMesh, graph: GaugeGraph, names: Sequence[str] = ("default",)
) -> tuple[Tensor, FieldType]:
    r"""Input features of a mesh by name, concatenated.

    ===============  ===============  ===============================================================================
    name             type             fields
    ===============  ===============  ===============================================================================
    ``surface``      7x0 + 5x1 +      ``smoothed.smoothed_features``: shape at three physical scales, the same for
                     4x2              every triangulation of a surface
    ``default``      10x0 + 7x1 +     ``moments.mesh_features``: shape from one ring to half
                     4x2              of the body; tells the triangulation
    ``areas``        1x0              log of the vertex area over the mean
    ``curvature``    2x0 + 1x2        Gaussian and mean curvature (1 on a sphere) and traceless shape operator, each
                                      shortened from length x to arsinh(x)
    ``hks``          16x0             heat kernel signature h as arsinh(h - 1)
    ``wks``          16x0             wave kernel signature, likewise
    ``coordinates``  3x0              x, y, z from the centroid in units of the square root of the surface area
    ``normals``      3x0              x, y, z of the outward normal
    ===============  ===============  ===============================================================================

    All are invariant under translation and scaling, and all but the last two under rotation of the mesh. **Coordinates
    and normals are three scalars each, which rotate with the mesh**: a network on them remains gauge-equivariant, but
    its predictions depend on the pose. The signatures are invariant under isometries.

    On graphs made with ``unoriented=True`` types are of O(2): mean curvature and normals, whose signs depend on the
    side, are odd scalars, and ``surface`` and ``default`` are not available.

    Parameters
    ----------
    mesh : TriangleMesh
    graph : GaugeGraph
        Of this mesh, in any gauge.
    names : sequence of str
        Some of :data:`SURFACE_FEATURES`, each once.

    Returns
    -------
    x : float64 Tensor [V, type.dim]
        In the frames of ``graph``; finite for every mesh with an area. Fields are sorted by order (angular frequency),
        within an order as in ``names``.
    type : FieldType
        The sum of the types, what :func:`surface_feature_type` gives.

    Raises
    ------
    InputError
        See :func:`surface_feature_type`.
    ValueError
        The graph has another number of vertices than the mesh.

    Notes
    -----
    ``tests/test_inputs.py`` checks the invariances, the change of gauge and defective meshes.

    Examples
    --------
    >>> import trimesh
    >>> box = trimesh.creation.box().subdivide()
    >>> mesh = TriangleMesh(box.vertices, box.faces)
    >>> x, field_type = surface_features(mesh, mesh.gauge_graph(), ["curvature", "coordinates"])
    >>> tuple(x.shape), str(field_type)
    ((26, 7), '5x0 + 1x2')
    """
    chosen = _chosen(names, "SO(2)" if graph.reflected is None else "O(2)")
    if graph.num_vertices != mesh.num_vertices:
        raise ValueError(f"graph has {graph.num_vertices} vertices, the mesh {mesh.num_vertices}")
    surface = _Surface(mesh, graph)
    types = [field_type for field_type, _ in chosen]
    x = concatenate_fields(types, [compute(surface) for _, compute in chosen])
    x[torch.from_numpy(mesh.vertex_areas <= 0)] = 0.0
    return x, reduce(add, types)
