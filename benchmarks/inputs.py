"""How far inputs depend on the triangulation: differences at common points of triangulations of one surface.

    python benchmarks/inputs.py [MESH ...] [--features surface default curvature hks wks] [--bodies 4]

half, fifth    quadric edge collapse to that share of the faces;
cut in four    every face at the middles of its edges;
uneven         the faces on one side cut in four, the T-junctions between the sides mended by the repair;
noise          Gaussian displacements of the vertices, 0.3 % of the square root of the area.

Common points are the vertices of the coarser mesh, on the finer one the nearest points with a similar normal. Tangent
vectors and tensors are compared in space, after the smallest rotation of their tangent plane to that of the surface:
perpendicular to the coarser mesh's normals averaged over 0.06 square roots of the area. A row is an input; numbers are
root mean squares of the difference, by area, over the standard deviation of the input on the given mesh (of vectors and
tensors: over their root mean square norm), as a mean over the meshes; the last row is the largest. Without meshes,
generated shapes of 2,562 vertices.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from meshconv import TriangleMesh, load_mesh
from meshconv.datasets.generated import generate_shapes
from meshconv.fields import FieldType
from meshconv.geometry import simplify, surface_feature_type, surface_features
from meshconv.geometry.features.laplacian import TuftedLaplacian
from meshconv.nn import to_ambient

_NEAR = 12
"""Nearest centres of faces and nearest vertices whose faces are tried."""


def triangulations(mesh: TriangleMesh, seed: int = 0) -> dict[str, TriangleMesh]:
    """The surface of a repaired mesh, triangulated otherwise."""
    side = mesh.vertices[mesh.faces].mean(axis=1)[:, np.ptp(mesh.vertices, axis=0).argmax()]
    upper = side > np.median(side)
    noise = 0.003 * np.sqrt(mesh.area) * np.random.default_rng(seed).standard_normal(mesh.vertices.shape)
    return {
        "half": simplify(mesh, mesh.num_faces // 2),
        "fifth": simplify(mesh, mesh.num_faces // 5),
        "cut in four": cut(mesh, np.ones(mesh.num_faces, bool)),
        "uneven": cut(mesh, upper),
        "noise": replace(mesh, vertices=mesh.vertices + noise).repair(),
    }


def cut(mesh: TriangleMesh, part: np.ndarray) -> TriangleMesh:
    """Those faces cut in four, their neighbours split where vertices lie on their edges."""
    vertices, faces = trimesh.remesh.subdivide(mesh.vertices, mesh.faces[part])
    return TriangleMesh(vertices, np.concatenate([mesh.faces[~part], faces]), mesh.name).repair(isolated="drop")


def places_on(mesh: TriangleMesh, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners ``[N, 3]`` and barycentric coordinates of the nearest points on faces with a similar normal."""
    corner = mesh.vertices[mesh.faces]
    across = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    near = cKDTree(corner.mean(axis=1)).query(points, _NEAR)[1]
    around = cKDTree(mesh.vertices).query(points, _NEAR)[1]
    face_of = np.full((mesh.num_vertices, _NEAR), -1)
    order = np.argsort(mesh.faces.ravel(), kind="stable")
    vertex = mesh.faces.ravel()[order]
    rank = np.arange(len(vertex)) - np.searchsorted(vertex, vertex)
    face_of[vertex[rank < _NEAR], rank[rank < _NEAR]] = order[rank < _NEAR] // 3
    tried = np.concatenate([near, face_of[around].reshape(len(points), -1)], axis=1)
    tried = np.where(tried < 0, near[:, :1], tried)
    row = np.repeat(np.arange(len(points)), tried.shape[1])
    foot = trimesh.triangles.closest_point(corner[tried.ravel()], points[row])
    far = np.linalg.norm(foot - points[row], axis=1) + 1e9 * ((across[tried.ravel()] * normals[row]).sum(1) < 0)
    best = far.reshape(tried.shape).argmin(axis=1)
    rows = np.arange(len(points))
    face, foot = tried[rows, best], foot.reshape(*tried.shape, 3)[rows, best]
    return mesh.faces[face], trimesh.triangles.points_to_barycentric(corner[face], foot)


def in_space(x: Tensor, frames: Tensor, field_type: FieldType) -> list[np.ndarray]:
    """Every field by itself, ``[V, k]``, the same whatever the gauge."""
    parts = [x[:, [i]].numpy() for i in range(field_type.slice(0).stop or 0)]
    for order in (m for m in field_type.orders if m):
        one = FieldType(f"{field_type.multiplicities[order]}x{order}")
        values = to_ambient(x[:, field_type.slice(order)], SimpleNamespace(frames=frames), one)
        parts += list(values.flatten(2).permute(1, 0, 2).numpy())
    return parts


def tilted(frames: Tensor, normals: Tensor) -> Tensor:
    """Frames after the smallest rotation that makes their normals these."""
    old = frames[:, 2]
    along = (frames @ normals[:, :, None]) / (1 + (old * normals).sum(1))[:, None, None]
    return torch.cat([(frames - along * (old + normals)[:, None])[:, :2], normals[:, None]], dim=1)


def mean_normals(mesh: TriangleMesh) -> Tensor:
    """Normals of the surface at a scale that no triangle has."""
    whole = TuftedLaplacian.of(mesh)
    integrals = mesh.vertex_normals[whole.vertices] * mesh.vertex_areas[whole.vertices, None] / mesh.area
    normals = mesh.vertex_normals.copy()
    normals[whole.vertices] = whole.flow(0.001).solve(integrals)
    return torch.from_numpy(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def differences(mesh: TriangleMesh, names: list[str]) -> dict[str, np.ndarray]:
    """By triangulation, differences of all fields in standard deviations."""
    graph, weight = mesh.gauge_graph(), mesh.vertex_areas / mesh.area
    x, field_type = surface_features(mesh, graph, names)
    given = in_space(x, graph.frames, field_type)
    scale = [np.sqrt(weight @ ((g - (weight @ g if g.shape[1] == 1 else 0)) ** 2).sum(axis=1)) for g in given]
    found = {}
    for what, other in triangulations(mesh).items():
        at = other.gauge_graph()
        both = [(mesh, graph, x), (other, at, surface_features(other, at, names)[0])]
        (coarse, its, y), (fine, own, z) = both if other.num_vertices > mesh.num_vertices else both[::-1]
        corner, share = places_on(fine, coarse.vertices, coarse.vertex_normals)
        normals = mean_normals(coarse)
        there = in_space(y, tilted(its.frames, normals), field_type)
        frames = tilted(own.frames[corner.ravel()], normals.repeat_interleave(3, dim=0))
        moved = in_space(z[corner.ravel()], frames, field_type)
        moved = [np.einsum("nc,nck->nk", share, m.reshape(len(share), 3, -1)) for m in moved]
        off = [((m - f) ** 2).sum(axis=1) for m, f in zip(moved, there, strict=True)]
        weight = coarse.vertex_areas / coarse.area
        found[what] = np.array([np.sqrt(weight @ d) / s for d, s in zip(off, scale, strict=True)])
    return found


def sample_bodies(count: int) -> list[TriangleMesh]:
    """Generated shapes of 2,562 vertices."""
    shapes = generate_shapes(max(count // 8, 1), num_vertices=2562)
    return [shape.repair() for shape, _ in shapes[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", nargs="*", type=Path)
    parser.add_argument("--features", nargs="+", default=["surface", "default", "curvature", "hks", "wks"])
    parser.add_argument("--bodies", type=int, default=4, help="number of generated shapes")
    given = parser.parse_args()
    bodies = [load_mesh(path, isolated="drop") for path in given.meshes] or sample_bodies(given.bodies)
    with torch.no_grad():
        for name in given.features:
            rows = [differences(body, [name]) for body in bodies]
            table = np.stack([np.mean([row[what] for row in rows], axis=0) for what in rows[0]], axis=1)
            print(name.ljust(14) + "".join(what.rjust(13) for what in rows[0]))
            field_type = surface_feature_type([name])
            label = [f"order {m}, {k}" for m in field_type.orders for k in range(field_type.multiplicities[m])]
            for text, row in zip([*label, "largest"], [*table, table.max(axis=0)], strict=True):
                print(text.ljust(14) + "".join(f"{value:13.3f}" for value in row))


if __name__ == "__main__":
    main()
