"""Pictures of gauge graphs: geodesic polar coordinates, and frames transported along geodesics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.viz.raster import rasterize
from meshconv.viz.relief import vertex_normals

__all__ = ["geodesic_picture"]

_CLAY = np.array([0.80, 0.815, 0.83])
_LINE, _EDGE = np.array([0.10, 0.13, 0.20]), np.array([0.45, 0.48, 0.52])
_TINTS = np.array([[0.99, 0.80, 0.55], [0.66, 0.84, 0.95], [0.76, 0.90, 0.66], [0.93, 0.74, 0.86], [0.98, 0.92, 0.60],
                   [0.80, 0.78, 0.95]])  # fmt: skip
_FIRST, _SECOND = np.array([0.80, 0.08, 0.10]), np.array([0.05, 0.30, 0.75])
_LIGHT = np.array([-0.398, 0.597, 0.697])
# Half-way between the light and the eye.
_GLOSS = np.array([-0.216, 0.324, 0.921])
_RINGS, _RAYS = 5, 12
# Samples of a pixel along each side: edges and thin lines come out smooth.
_SAMPLES = 3
_LINE_WIDTH = 1.6  # pixels


def geodesic_picture(
    mesh: TriangleMesh,
    graph: GaugeGraph,
    centres: Sequence[int],
    *,
    rotation: np.ndarray,
    width: int = 1000,
    height: int = 700,
) -> np.ndarray:
    """Discs of geodesic polar coordinates round some vertices, with the frame of each carried through its disc.

    Dark circles are level sets of ``log_radius``, rays those of ``log_angle``, both read from the graph. At the centre
    stand the frame's e1 (red) and e2 (blue); the red arrows all round are e1, carried there by the transporters.

    Parameters
    ----------
    mesh : TriangleMesh
    graph : GaugeGraph
        Geodesic neighbourhoods of this mesh, ``mesh.gauge_graph(Neighbourhood(radius=...))``: the discs are as large.
    centres : sequence of int
        Vertices; where discs meet, the later one is on top.
    rotation : float64 [3, 3]
        Rows right, up and towards the eye.
    width, height : int
        Pixels.

    Returns
    -------
    uint8 [height, width, 3]
        On white.

    Raises
    ------
    InputError
        A centre that is no vertex, or has no neighbours.
    """
    bad = [c for c in centres if not 0 <= c < mesh.num_vertices or graph.dst_ptr[c] == graph.dst_ptr[c + 1]]
    if bad or not len(centres):
        raise InputError(f"centres: {bad or 'none given'}; choose vertices that have neighbours")
    faces, discs = mesh.surface.faces, _discs(mesh, graph, centres)
    arrows = [_carried_frames(mesh, graph, c, r) for c, r in zip(centres, discs.radius, strict=True)]
    starts = np.cumsum([0, *(len(points) for points, _, _ in arrows[:-1])])
    arrow_points = np.concatenate([points for points, _, _ in arrows])
    arrow_faces = np.concatenate([f + start for (_, f, _), start in zip(arrows, starts, strict=True)])
    arrow_colors = np.concatenate([colors for _, _, colors in arrows])
    every = np.concatenate([faces, arrow_faces + mesh.num_vertices])
    normals = np.concatenate([mesh.vertex_normals, vertex_normals(arrow_points, arrow_faces)[0]]) @ rotation.T

    points = np.concatenate([mesh.vertices, arrow_points]) @ rotation.T
    low, high = points.min(axis=0), points.max(axis=0)
    wide, tall = width * _SAMPLES, height * _SAMPLES
    zoom = 0.97 * min(wide / (high - low)[0], tall / (high - low)[1])
    screen = (points - (low + high) / 2) * [zoom, -zoom, zoom] + [wide / 2, tall / 2, 0.0]
    raster = rasterize(screen, every, wide, tall)

    color = np.empty((len(raster.pixel), 3))
    ground = raster.face < len(faces)
    color[~ground] = arrow_colors[raster.face[~ground] - len(faces)]
    color[ground] = _paint(mesh, discs, raster.face[ground], raster.weight[ground], _LINE_WIDTH * _SAMPLES / zoom)
    normal = raster.interpolate(normals, every)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    shade, gloss = 0.5 + 0.5 * np.clip(normal @ _LIGHT, 0, 1), 0.12 * np.clip(normal @ _GLOSS, 0, 1) ** 40
    image = np.ones((wide * tall, 3))
    image[raster.pixel] = np.clip(1.08 * color * shade[:, None] + gloss[:, None], 0, 1)
    image = image.reshape(height, _SAMPLES, width, _SAMPLES, 3).mean(axis=(1, 3))
    return (image * 255 + 0.5).astype(np.uint8)


class _Discs(NamedTuple):
    """Disc of each face (-1: none), log map ``[F, 3, 2]`` of its corners, and radius of each disc."""

    of_face: np.ndarray
    log_map: np.ndarray
    radius: np.ndarray


def _discs(mesh: TriangleMesh, graph: GaugeGraph, centres: Sequence[int]) -> _Discs:
    faces = mesh.surface.faces
    found = _Discs(np.full(len(faces), -1), np.zeros((len(faces), 3, 2)), np.zeros(len(centres)))
    for k, centre in enumerate(centres):
        part = slice(int(graph.dst_ptr[centre]), int(graph.dst_ptr[centre + 1]))
        radius, angle = graph.log_radius[part].numpy(), graph.log_angle[part].numpy()
        place = np.full((mesh.num_vertices, 2), np.nan)
        place[graph.src[part].numpy()] = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        place[centre] = 0.0
        corners = place[faces]
        whole = np.isfinite(corners).all(axis=(1, 2))
        found.of_face[whole], found.log_map[whole] = k, corners[whole]
        # Of the faces that reach to the full radius not all have all corners in the neighbourhood.
        edge = corners[whole] - corners[whole][:, [1, 2, 0]]
        found.radius[k] = radius.max() - 1.5 * np.median(np.hypot(edge[..., 0], edge[..., 1]))
    return found


def _paint(mesh: TriangleMesh, discs: _Discs, face: np.ndarray, weight: np.ndarray, line: float) -> np.ndarray:
    """Colours of points of the surface: circles and rays inside the discs, faint triangles everywhere.

    ``line`` is the width of a thin line in the mesh's unit: lines lie on the surface and are foreshortened with it.
    """
    corner = mesh.vertices[mesh.surface.faces]
    opposite = np.linalg.norm(corner[:, [2, 0, 1]] - corner[:, [1, 2, 0]], axis=2)
    altitude = 2 * mesh.face_areas[:, None] / np.maximum(opposite, 1e-300)
    on_edge = (weight * altitude[face]).min(axis=1) < 0.25 * line
    color = _blend(np.tile(_CLAY, (len(face), 1)), _EDGE, 0.4 * on_edge)

    place = np.einsum("nk,nki->ni", weight, discs.log_map[face])
    # Interpolated is the log map, not the radius, whose cone would turn the inner circles into polygons.
    radius = np.hypot(place[:, 0], place[:, 1])
    inside = np.flatnonzero((discs.of_face[face] >= 0) & (radius <= discs.radius[discs.of_face[face]] + 0.5 * line))
    which, radius, place, base = discs.of_face[face[inside]], radius[inside], place[inside], color[inside]
    step = discs.radius[which] / _RINGS
    sector, ring = np.arctan2(place[:, 1], place[:, 0]) * _RAYS / (2 * np.pi), radius / step
    odd = (np.floor(sector) + np.floor(ring)) % 2
    tint = _TINTS[which % len(_TINTS)] * np.where(odd > 0, 0.88, 1.0)[:, None]
    base = _blend(tint, _EDGE, 0.3 * on_edge[inside])
    from_ray = np.abs(sector - np.rint(sector)) * (2 * np.pi / _RAYS) * radius
    base = _blend(base, _LINE, 0.4 * (from_ray < 0.3 * line))
    nearest = np.clip(np.rint(ring), 1, _RINGS)
    thick = np.where(nearest == _RINGS, 1.0, 0.55) * line
    color[inside] = _blend(base, _LINE, 0.95 * (np.abs(ring - nearest) * step < thick))
    return color


def _blend(color: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return color + share[:, None] * (other - color)


def _carried_frames(
    mesh: TriangleMesh, graph: GaugeGraph, centre: int, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrows as points, faces and colours of faces: the frame at the centre, and its e1 along two circles."""
    part = slice(int(graph.dst_ptr[centre]), int(graph.dst_ptr[centre + 1]))
    member, frames = graph.src[part].numpy(), graph.frames.numpy()
    distance, angle = graph.log_radius[part].numpy(), graph.log_angle[part].numpy()
    place = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    first, second, normal = frames[centre]
    start = mesh.vertices[centre]
    arrows = [(start, first, normal, 0.3 * radius, _FIRST), (start, second, normal, 0.3 * radius, _SECOND)]
    for share, count in ((0.5, 6), (0.9, 12)):
        turn = 2 * np.pi * (np.arange(count) + 0.5) / count
        wanted = share * radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        for k in np.unique(np.linalg.norm(place[None] - wanted[:, None], axis=2).argmin(axis=1)):
            e1, e2, n = frames[member[k]]
            # The transporter turns components at the member into components at the centre; here e1 goes back.
            back = -float(graph.transporter[part][k])
            direction = np.cos(back) * e1 + np.sin(back) * e2
            arrows.append((mesh.vertices[member[k]], direction, n, 0.21 * radius, _FIRST))
    shapes = [_arrow(*arrow[:4]) for arrow in arrows]
    size = len(shapes[0][0])
    return (
        np.concatenate([points for points, _ in shapes]),
        np.concatenate([faces + i * size for i, (_, faces) in enumerate(shapes)]),
        np.concatenate([np.tile(arrow[4], (len(f), 1)) for arrow, (_, f) in zip(arrows, shapes, strict=True)]),
    )


def _arrow(
    start: np.ndarray, direction: np.ndarray, normal: np.ndarray, length: float, sides: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Surface of revolution: a shaft and a cone, a little above the tangent plane."""
    profile = np.array([[0, 0], [0, 0.05], [0.62, 0.05], [0.62, 0.13], [1, 0]]) * length
    turn = 2 * np.pi * np.arange(sides) / sides
    across = np.cross(normal, direction)
    round_about = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * normal
    points = profile[:, None, :1] * direction + profile[:, None, 1:] * round_about
    points = points + start + 0.09 * length * normal
    ring = np.arange(len(profile) * sides).reshape(len(profile), sides)
    a, b, c, d = ring[:-1], ring[1:], np.roll(ring[1:], -1, axis=1), np.roll(ring[:-1], -1, axis=1)
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    return points.reshape(-1, 3), faces
