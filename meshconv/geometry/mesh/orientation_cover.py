"""Non-orientable surfaces: gauge graphs with reflecting transporters, by the orientation double cover."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.edge_graph import edge_graph
from meshconv.geometry.mesh.geodesics import surface_graph
from meshconv.geometry.mesh.halfedges import HalfEdges, IntArray
from meshconv.geometry.mesh.neighbourhood import Neighbourhood
from meshconv.geometry.mesh.surface import Surface
from meshconv.geometry.mesh.transport import Transport
from meshconv.geometry.repair.defects import edge_faces


class OrientationCover(NamedTuple):
    """Orientation double cover: both sides of every face of non-orientable components, other faces once.

    Attributes
    ----------
    faces : int64 [F', 3]
        Consistently oriented, of vertices of the cover.
    base : int64 [V']
        The surface's vertex below each vertex of the cover.
    sheets : int64 [V, 2]
        Vertices of the cover above each vertex, first the one that represents it; the same twice where there is one.
    """

    faces: IntArray
    base: IntArray
    sheets: IntArray


def orientation_cover(faces: IntArray, num_vertices: int, name: str = "") -> OrientationCover:
    """Orientation double cover: two copies of every face, one flipped, glued consistently along edges.

    Parameters
    ----------
    faces : int64 [F, 3]
        No repeated corners and no duplicates; of any orientation.
    num_vertices : int
    name : str
        Prefix of error messages.

    Raises
    ------
    InputError
        An edge of three faces or more, or a vertex where two fans meet: the cover is not a surface.
    """
    where = f"{name}: " if name else ""
    edges = edge_faces(faces, num_vertices)
    if (edges.size > 2).any():
        raise InputError(f"{where}{int((edges.size > 2).sum())} edges have three faces or more; repair the mesh first")
    num_faces, origin = len(faces), faces.ravel()
    left, right = edges.pairs
    # Faces that traverse their edge in the same direction are inconsistent: the sheets cross there.
    crossed = origin[left] == origin[right]
    copy = _components(*_doubled(left // 3, right // 3, crossed, num_faces))
    component = _components(left // 3, right // 3, num_faces)
    seed = np.unique(component, return_index=True)[1]
    kept = copy == np.tile(copy[seed][component], 2)

    one, two = np.concatenate([left, HalfEdges.next(left)]), np.concatenate([HalfEdges.next(right), right])
    two = np.where(np.tile(crossed, 2), np.concatenate([right, HalfEdges.next(right)]), two)
    label = _components(*_doubled(one, two, np.tile(crossed, 2), faces.size)).reshape(2, num_faces, 3)
    turned = np.concatenate([label[0], label[1][:, ::-1]])[kept]
    lifts, cover = np.unique(turned, return_inverse=True)
    base = np.empty(len(lifts), dtype=np.int64)
    base[cover.ravel()] = np.concatenate([faces, faces[:, ::-1]])[kept].ravel()

    # The mirror image of a corner is the same corner of the other copy.
    mirror = np.arange(len(lifts))
    whole = kept.reshape(2, -1).all(axis=0)
    here, there = (np.searchsorted(lifts, part[whole].ravel()) for part in label)
    mirror[here], mirror[there] = there, here
    alone = np.setdiff1d(np.arange(num_vertices), base)
    base = np.concatenate([base, alone])
    mirror = np.concatenate([mirror, len(lifts) + np.arange(len(alone))])
    first = np.unique(base, return_index=True)[1]
    sheets = np.stack([first, mirror[first]], axis=1)
    expected = 1 + (sheets[:, 0] != sheets[:, 1])
    bad = int((np.bincount(base, minlength=num_vertices) != expected).sum())
    if bad:
        raise InputError(f"{where}several fans of faces meet in {bad} vertices; repair the mesh first")
    return OrientationCover(cover.reshape(-1, 3), base, sheets)


def unoriented_graph(
    surface: Surface, neighbourhood: Neighbourhood, transport: Transport, name: str = ""
) -> GaugeGraph:
    """Gauge graph of a non-orientable surface, with reflecting transporters, see
    :meth:`~meshconv.geometry.mesh.triangle_mesh.TriangleMesh.gauge_graph`.

    The cover is an oriented mesh. The frames of the two lifts of a vertex are mirror images of
    each other, so features at the second lift are those at the first, reflected, and the edges into first lifts
    form the graph.
    """
    cover = orientation_cover(surface.faces, surface.num_vertices, name)
    double = Surface.from_faces(surface.vertices[cover.base], cover.faces)
    size = np.sqrt(surface.area / double.area)
    if neighbourhood.radius is not None:  # in units of the square root of the area
        neighbourhood = replace(neighbourhood, radius=neighbourhood.radius * size)
        size = 1.0
    else:
        size *= np.sqrt(double.has_face.sum() / surface.has_face.sum())
    graph = surface_graph(double, neighbourhood, transport)
    graph = graph.change_gauge(_mirroring_gauge(edge_graph(double), cover.sheets))
    first, base = torch.from_numpy(cover.sheets[:, 0]), torch.from_numpy(cover.base)
    is_first = torch.zeros(len(base), dtype=torch.bool)
    is_first[first] = True
    edges = is_first[graph.dst].nonzero()[:, 0]
    src, dst = graph.src[edges], graph.dst[edges]
    return GaugeGraph.from_edges(
        base[src],
        base[dst],
        graph.log_radius[edges],
        graph.log_angle[edges],
        graph.transporter[edges],
        frames=graph.frames[first],
        positions=graph.positions[first],
        areas=graph.areas[first],
        scale=graph.scale[first] * size,
        reflected=~is_first[src],
    )


def _mirroring_gauge(ring: GaugeGraph, sheets: IntArray) -> Tensor:
    """Rotations of the second lifts after which a direction and its mirror image have opposite angles."""
    alpha = torch.zeros(ring.num_vertices, dtype=torch.float64)
    lifts = torch.from_numpy(sheets[sheets[:, 0] != sheets[:, 1]])
    first, second = lifts.unbind(dim=1)
    mirror = torch.arange(ring.num_vertices)
    mirror[first], mirror[second] = second, first
    # The first neighbour of every first lift, and its image among the neighbours of the second.
    edge = ring.dst_ptr[first]
    key = ring.dst * ring.num_vertices + ring.src
    image = torch.searchsorted(key, second * ring.num_vertices + mirror[ring.src[edge]])
    alpha[second] = ring.log_angle[edge] + ring.log_angle[image]
    return alpha


def _doubled(one: IntArray, two: IntArray, crossed: NDArray[np.bool_], size: int) -> tuple[IntArray, IntArray, int]:
    """Links within each of two copies of ``size`` nodes, or, where ``crossed``, between them."""
    jump = crossed * size
    return np.concatenate([one, one + size]), np.concatenate([two + jump, two + size - jump]), 2 * size


def _components(one: IntArray, two: IntArray, size: int) -> IntArray:
    links = coo_array((np.ones(len(one), dtype=np.int8), (one, two)), shape=(size, size))
    return connected_components(links, directed=False)[1].astype(np.int64)
