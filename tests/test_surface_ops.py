"""The operators on triangle meshes: compiled against reference, any number of threads, wrong arguments."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from defective import DAMAGES, damaged
from meshes import DEFECTIVE, MANIFOLD, blob, flat_sheet, icosphere, torus

from meshconv import TriangleMesh
from meshconv.geometry.repair.defects import duplicates, repeated_corners
from meshconv.ops import surface
from meshconv.ops.references import surface as surface_reference


def random_soup(seed: int) -> TriangleMesh:
    """Few vertices, many coordinates alike, any faces."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 30))
    points = rng.normal(size=(size, 3)).round(int(rng.integers(0, 3)))
    return TriangleMesh(points, rng.integers(0, size, (int(rng.integers(1, 60)), 3)))


CASES: dict[str, Callable[[], TriangleMesh]] = {
    **{name: build for name, (build, _) in MANIFOLD.items()},
    **DEFECTIVE,
    **{f"damaged {name}": lambda name=name: damaged(name) for name in DAMAGES},
    **{f"soup {seed}": lambda seed=seed: random_soup(seed) for seed in range(20)},
    "one_triangle": lambda: TriangleMesh(np.eye(3), np.array([[2, 0, 1]])),
    "no_faces": lambda: TriangleMesh(np.eye(3), np.zeros((0, 3), dtype=np.int64)),
}


def steps(mesh: TriangleMesh) -> Iterator[tuple[str, tuple]]:
    """Every operator with the arguments it gets on the way to a graph."""
    h, points = mesh.half_edges, mesh.surface.points
    yield "half_edges", (mesh.faces, mesh.num_vertices)
    yield "half_edges", (h.faces, mesh.num_vertices)
    yield "signed_volume", (points, h.faces)
    yield "face_geometry", (points, h.faces)
    corners, face_geometry = mesh.corner_angles.reshape(-1), surface.face_geometry(points, h.faces)[1:]
    yield "vertex_geometry", (h.twin, h.irregular, h.vertex_ptr, h.outgoing, corners, *face_geometry)
    fans, ring = mesh.fans, mesh.surface.ring
    yield "one_ring", (h.faces, h.twin, h.edge_halfedge, corners, fans.angle, fans.scale)
    normals = mesh.vertex_normals
    yield "aligned_frames", (points, normals, h.faces, fans.reference, fans.regular, ring.ptr, ring.src, ring.direction)
    yield "levi_civita", (points, mesh.frames, fans.regular, *ring)
    dst = np.repeat(np.arange(mesh.num_vertices), np.diff(ring.ptr))
    yield "normal_aligning", (points, mesh.frames, ring.src, dst)


def parts(found: object) -> list[np.ndarray]:
    return [np.asarray(part) for part in (found if isinstance(found, tuple) else (found,))]


def angle_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(np.remainder(a - b + np.pi, 2 * np.pi) - np.pi)


@pytest.mark.parametrize("name", CASES)
def test_both_implementations_agree(name: str, compiled: None) -> None:
    mesh = CASES[name]()
    h, fans = mesh.half_edges, mesh.fans
    for operator, arguments in steps(mesh):
        fast = parts(getattr(surface, operator)(*arguments))
        slow = parts(getattr(surface_reference, operator)(*arguments))
        assert len(fast) == len(slow)
        for k, (a, b) in enumerate(zip(fast, slow, strict=True)):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            if a.dtype.kind != "f":
                assert np.array_equal(a, b), (operator, k)
                continue
            good = np.ones(len(a) if a.ndim else 1, dtype=bool)
            if (operator, k) == ("vertex_geometry", 1):
                good = fans.regular[h.origin]  # the others have no angle
            elif operator == "one_ring":
                good = np.repeat(fans.regular, np.diff(mesh.surface.ring.ptr))
            elif operator in ("levi_civita", "normal_aligning") and k > 0:
                # An edge along the normal has no direction: rounding makes one.
                good = ~vertical_edges(mesh)
            difference = angle_difference(a, b) if good.shape == a.shape and k > 0 else np.abs(a - b)
            assert difference[good if a.ndim else ...].max(initial=0) < 1e-12, (operator, k)


def vertical_edges(mesh: TriangleMesh) -> np.ndarray:
    """Edges that look like a point from one of their ends."""
    ring = mesh.surface.ring
    dst = np.repeat(np.arange(mesh.num_vertices), np.diff(ring.ptr))
    chord = mesh.surface.points[ring.src] - mesh.surface.points[dst]
    seen = np.linalg.norm(np.einsum("eki,ei->ek", mesh.frames[dst, :2], chord), axis=1)
    lost = seen < 1e-4 * np.linalg.norm(chord, axis=1)
    return lost | lost[ring.reverse]


@pytest.mark.parametrize("name", ["blob", "soup", "torn"])
def test_the_number_of_threads_changes_no_bit(name: str, compiled: None) -> None:
    build = icosphere if name == "blob" else DEFECTIVE[name]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            mesh = build(5) if name == "blob" else build()  # 10,242 vertices: several tasks
            results.append([part for op, a in steps(mesh) for part in parts(getattr(surface, op)(*a))])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("seed", range(10))
def test_twins_are_those_of_a_dictionary(seed: int) -> None:
    mesh = random_soup(seed)
    faces = mesh.faces[~repeated_corners(mesh.faces)]
    faces = faces[~duplicates(faces)]
    users = defaultdict(list)
    for h, (a, b) in enumerate(zip(faces.ravel().tolist(), faces[:, [1, 2, 0]].ravel().tolist(), strict=True)):
        users[min(a, b), max(a, b)].append((h, a))
    twin, edge, irregular, ptr, outgoing, proper = surface.half_edges(faces, mesh.num_vertices)
    assert proper
    assert edge.tolist() == [users[key][0][0] for key in sorted(users)]
    lost = set()
    for key, found in users.items():
        paired = len(found) == 2 and found[0][1] != found[1][1]
        lost |= set() if paired or len(found) == 1 else set(key)
        assert [twin[h] for h, _ in found] == ([found[1][0], found[0][0]] if paired else [-1] * len(found))
    assert np.flatnonzero(irregular).tolist() == sorted(lost)
    for v in range(mesh.num_vertices):
        assert outgoing[ptr[v] : ptr[v + 1]].tolist() == np.flatnonzero(faces.ravel() == v).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_improper_faces_are_noticed(seed: int) -> None:
    mesh = random_soup(seed)
    repeated = repeated_corners(mesh.faces)
    without = mesh.faces[~repeated]
    rest = without[~duplicates(without)]
    assert surface.half_edges(mesh.faces, mesh.num_vertices)[-1] == (len(rest) == len(mesh.faces))
    assert surface.half_edges(without, mesh.num_vertices)[-1] == (len(rest) == len(without))
    assert surface.half_edges(rest, mesh.num_vertices)[-1]


def test_many_faces_on_one_edge_or_vertex_take_linear_time(compiled: None) -> None:
    """A fan and a book of 100,000 faces: seconds if anything were quadratic in the faces of an edge or vertex."""
    n = 100_000
    rim = np.arange(n) + 1
    fan = np.stack([np.zeros(n, dtype=np.int64), rim, np.roll(rim, -1)], axis=1)
    book = np.stack([np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64), rim + 1], axis=1)
    twin, _, irregular, _, _, proper = surface.half_edges(fan, n + 1)
    assert proper
    assert not irregular.any()
    assert (twin >= 0).sum() == 2 * n
    twin, edge, irregular, _, _, proper = surface.half_edges(book, n + 2)
    assert proper
    assert np.flatnonzero(irregular).tolist() == [0, 1]
    assert (len(edge), (twin >= 0).sum()) == (2 * n + 1, 0)


def test_volumes() -> None:
    for mesh, expected in ((icosphere(4), 4 * math.pi / 3), (torus(), None)):
        volume = surface.signed_volume(mesh.vertices, mesh.surface.faces)
        assert volume > 0
        assert surface.signed_volume(mesh.vertices, mesh.surface.faces[:, ::-1]) == pytest.approx(-volume, rel=1e-14)
        assert surface.signed_volume(mesh.vertices + 1e6, mesh.surface.faces) == pytest.approx(volume, rel=1e-8)
        if expected:
            assert volume == pytest.approx(expected, rel=0.01)


def test_the_transpose_of_a_one_ring_is_its_reverse() -> None:
    for mesh in (blob(), flat_sheet(), DEFECTIVE["isolated_vertices"]()):
        graph = mesh.gauge_graph()
        graph.validate()
        assert torch.equal(graph.src[graph.src_edge], graph.dst)
        assert torch.equal(graph.dst[graph.src_edge], graph.src)


def test_arrays_that_cannot_be_written_to_are_fine() -> None:
    mesh = blob()
    vertices, faces = mesh.vertices.copy(), np.array(mesh.faces)
    vertices.flags.writeable = faces.flags.writeable = False
    graph = TriangleMesh(vertices, faces).gauge_graph()
    assert torch.equal(graph.transporter, mesh.gauge_graph().transporter)


@pytest.mark.parametrize(
    ("name", "index", "value", "says"),
    [
        ("half_edges", 0, np.array([[0, 1, 9]]), "faces[2] is 9, expected 0 to 2"),
        ("half_edges", 0, np.array([0, 1, 2]), "faces has shape [3]"),
        ("face_geometry", 0, np.eye(3, dtype=np.float32), "points have to be float64"),
        ("face_geometry", 1, np.array([[0, -1, 2]]), "faces[1] is -1"),
        ("vertex_geometry", 0, np.array([-1, -1, 3]), "twin[2] is 3"),
        ("vertex_geometry", 1, np.zeros(3), "irregular has to be bool"),
        ("vertex_geometry", 2, np.array([0, 2, 1, 3]), "ptr does not ascend from 0 to 3"),
        ("vertex_geometry", 3, np.array([0, 1, 5]), "outgoing[2] is 5"),
        ("one_ring", 2, np.array([0, 1, 7]), "edge[2] is 7"),
        ("aligned_frames", 3, np.array([0, 1, 8]), "reference[2] is 8"),
        ("levi_civita", 5, np.array([0, 1, 2, 3, 4, 6]), "reverse[5] is 6"),
        ("levi_civita", 2, np.ones(2, dtype=bool), "regular has shape [2]"),
        ("normal_aligning", 2, np.array([0, 1, 2, 0, 1, 3]), "src[5] is 3"),
    ],
)
def test_wrong_arguments_are_named(name: str, index: int, value: np.ndarray, says: str, compiled: None) -> None:
    arguments = list(dict(steps(CASES["one_triangle"]()))[name])
    arguments[index] = value
    with pytest.raises(RuntimeError) as caught:
        getattr(surface, name)(*arguments)
    assert says in str(caught.value)
