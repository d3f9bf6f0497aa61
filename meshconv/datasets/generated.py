"""Generated shapes: the same ridges and dents in every class, only their arrangement differs.

Each shape is a closed surface of genus 0 with four ridges and four dents. A family fixes how they
stand to each other: apart, a dent beside a ridge, ahead of it, ahead to the left or to the right,
two ridges side by side, or staggered to the left or right. What a vertex sees in its one-ring
(slopes, curvatures, areas) is distributed much alike in all families, and exactly alike in the two
pairs of mirror images: a model without neighbours cannot get beyond 3 in 4, and gets less. One
needs neighbours at several steps, and directions, since lengths alone do not tell left from right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

__all__ = ["FAMILIES", "generate_shape", "generate_shapes", "write_shapes"]

# A motif is a group of marks (x, y, kind) in the tangent plane, in radians; ridges run along x.
# A family is a list of motifs with four ridges and four dents in all.
_Motif = list[tuple[float, float, str]]


def _ridge(x: float = 0.0, y: float = 0.0) -> tuple[float, float, str]:
    return (x, y, "ridge")


def _dent(x: float = 0.0, y: float = 0.0) -> tuple[float, float, str]:
    return (x, y, "dent")


_DENTS: list[_Motif] = 4 * [[_dent()]]
#: Family -> its bumps.
MOTIFS: dict[str, list[_Motif]] = {
    "apart": 4 * [[_ridge()]] + _DENTS,
    "dent_beside": 4 * [[_ridge(), _dent(0.0, 0.52)]],
    "dent_ahead": 4 * [[_ridge(), _dent(0.75, 0.0)]],
    "dent_left": 4 * [[_ridge(), _dent(0.4, 0.42)]],
    "dent_right": 4 * [[_ridge(), _dent(0.4, -0.42)]],
    "ridges_abreast": 2 * [[_ridge(0.0, 0.31), _ridge(0.0, -0.31)]] + _DENTS,
    "ridges_left": 2 * [[_ridge(0.34, 0.28), _ridge(-0.34, -0.28)]] + _DENTS,
    "ridges_right": 2 * [[_ridge(0.34, -0.28), _ridge(-0.34, 0.28)]] + _DENTS,
}

#: Names of the families; the index of a name is its class label.
FAMILIES: tuple[str, ...] = tuple(MOTIFS)

LEAST_GAP = 0.85  # least distance, in radians, between marks of different motifs
_WIDTH = (
    0.21  # standard deviation of a dent, and of a ridge across, radians: 1.3 edges at 500 vertices
)
_LENGTH = 0.38  # standard deviation of a ridge along its direction, radians
_HEIGHT = 0.34  # of a ridge, and depth of a dent, in radii
_FORMATS = (".ply", ".obj", ".off")


def place_motifs(motifs: list[_Motif], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames [8, 3, 3] of the marks (rows: along, across, outward) and which of them are ridges.

    Motifs go one after the other to a random free place; an arrangement that is too close is drawn
    anew, a few times at most.
    """
    marks = [mark for motif in motifs for mark in motif]
    ridge = np.array([kind == "ridge" for *_, kind in marks])
    best, best_gap = np.empty((0, 3, 3)), -1.0
    for _ in range(30):
        placed, gap = np.empty((0, 3, 3)), np.pi
        for motif in motifs:
            local = np.stack([_frame(x, y) for x, y, _ in motif])
            candidates = np.einsum("mik,njk->nmij", local, Rotation.random(200, rng).as_matrix())
            pick = 0
            if len(placed):
                nearest = np.einsum("nmi,pi->nmp", candidates[:, :, 2], placed[:, 2]).max((1, 2))
                # A random place that is far enough: the farthest one would make all shapes alike.
                free = np.flatnonzero(nearest < np.cos(LEAST_GAP))
                pick = int(free[0] if len(free) else nearest.argmin())
                gap = min(gap, float(np.arccos(np.clip(nearest[pick], -1, 1))))
            placed = np.concatenate([placed, candidates[pick]])
        if gap > best_gap:
            best, best_gap = placed, gap
        if best_gap >= LEAST_GAP:
            break
    return best, ridge


def _frame(x: float, y: float) -> np.ndarray:
    """Frame of a mark at the exponential map of (x, y) from the pole."""
    return Rotation.from_rotvec([-y, x, 0.0]).as_matrix().T


def relief(points: np.ndarray, family: str, rng: np.random.Generator) -> np.ndarray:
    """Height [V] over the unit sphere at ``points``."""
    frames, ridge = place_motifs(MOTIFS[family], rng)
    local = np.einsum("mij,vj->vmi", frames, points)
    width = _WIDTH * rng.uniform(0.93, 1.07)
    along = np.where(ridge, _LENGTH * rng.uniform(0.93, 1.07), width)
    # 2 (1 - cos) is the squared distance near the mark; its part along a ridge counts less.
    square = 2 * (1 - local[..., 2])
    stretched = square / width**2 + local[..., 0] ** 2 * (1 / along**2 - 1 / width**2)
    heights = np.where(ridge, _HEIGHT, -_HEIGHT) * rng.uniform(0.9, 1.1, len(ridge))
    return np.exp(-stretched / 2) @ heights


def _triangulated_sphere(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Jittered Fibonacci points and their convex hull: the Delaunay triangulation on the sphere."""
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    points = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
    points += 0.15 * np.sqrt(4 * np.pi / count) * rng.uniform(-1, 1, points.shape)
    points = Rotation.random(None, rng).apply(points)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    hull = ConvexHull(points)
    faces = hull.simplices.astype(np.int64)
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward][:, ::-1]
    return points, faces


def deform(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth map of space that preserves orientation and is one to one.

    A stretch, then two waves x + push sin(wave . x + phase) with |wave| |push| < 1.
    """
    stretch = np.exp(rng.normal(0, 0.1, 3))
    turn = Rotation.random(None, rng).as_matrix()
    points = points @ turn * (stretch / np.cbrt(stretch.prod())) @ turn.T
    for _ in range(2):
        wave = rng.normal(size=3)
        wave *= rng.uniform(1.0, 2.0) / np.linalg.norm(wave)
        push = rng.normal(size=3)
        push *= rng.uniform(0.05, 0.22) / (np.linalg.norm(push) * np.linalg.norm(wave))
        points = points + np.sin(points @ wave + rng.uniform(0, 2 * np.pi))[:, None] * push
    return points


def generate_shape(
    family: str, rng: np.random.Generator, num_vertices: int | None = None
) -> TriangleMesh:
    r"""Draw one shape of a family.

    Over directions u of the sphere stands the surface

    .. math:: r(u) = 1 + \sum_i h_i \exp(-x_i^2 / 2 l_i^2 - y_i^2 / 2 w^2)

    with x_i along mark i and y_i across; l_i is larger than w for a ridge, h_i is negative for a
    dent. Then come a smooth random deformation of space, a little noise, and a random rotation,
    scale and translation. Every shape is triangulated anew.

    Parameters
    ----------
    family : str
        One of ``FAMILIES``.
    rng : numpy.random.Generator
        Source of all randomness: the same state gives the same shape.
    num_vertices : int, optional
        Number of vertices, at least 200; by default drawn from 420 to 580.

    Returns
    -------
    TriangleMesh
        Closed, genus 0, faces counter-clockwise seen from outside.

    Raises
    ------
    InputError
        If the family is unknown or there are too few vertices to show a mark.

    Example
    -------
    >>> import numpy as np
    >>> mesh = generate_shape("dent_left", np.random.default_rng(0), num_vertices=400)
    >>> mesh.vertices.shape, mesh.faces.shape
    ((400, 3), (796, 3))
    """
    if family not in MOTIFS:
        raise InputError(f"family: {family!r} is not known, choose one of {', '.join(FAMILIES)}")
    count = int(rng.integers(420, 581)) if num_vertices is None else int(num_vertices)
    if count < 200:
        raise InputError(f"num_vertices: {count} is too few to show the bumps, use 200 or more")
    points, faces = _triangulated_sphere(count, rng)
    vertices = deform(points * (1 + relief(points, family, rng)[:, None]), rng)
    vertices += 0.005 * np.sqrt(4 * np.pi / count) * rng.normal(size=vertices.shape)
    vertices = Rotation.random(None, rng).apply(vertices)
    vertices = vertices * np.exp(rng.uniform(-1, 1)) + rng.normal(0, 2, 3)
    return TriangleMesh(vertices, faces, name=family)


def generate_shapes(
    per_class: int, seed: int = 0, num_vertices: int | None = None
) -> list[tuple[TriangleMesh, int]]:
    """Draw ``per_class`` shapes of every family, with labels.

    Shape i of a family depends on (seed, family, i) alone, so more shapes per class only append.

    Parameters
    ----------
    per_class : int
        Shapes of each family.
    seed : int
        Not negative.
    num_vertices : int, optional
        Of each shape, as in :func:`generate_shape`.

    Returns
    -------
    list of (TriangleMesh, int)
        Family by family in the order of ``FAMILIES``; the label is the index of the family.

    Example
    -------
    >>> [label for _, label in generate_shapes(1)] == list(range(len(FAMILIES)))
    True
    """
    return [
        (generate_shape(family, np.random.default_rng([seed, label, i]), num_vertices), label)
        for label, family in enumerate(FAMILIES)
        for i in range(per_class)
    ]


def _text(mesh: TriangleMesh, suffix: str) -> str:
    points = [" ".join(f"{x:.9g}" for x in row) for row in mesh.vertices]
    first = 1 if suffix == ".obj" else 0
    corners = [" ".join(str(i + first) for i in row) for row in mesh.faces]
    if suffix == ".obj":
        lines = [f"v {p}" for p in points] + [f"f {c}" for c in corners]
    elif suffix == ".off":
        lines = ["OFF", f"{len(points)} {len(corners)} 0", *points, *(f"3 {c}" for c in corners)]
    else:
        lines = ["ply", "format ascii 1.0", f"element vertex {len(points)}"]
        lines += [f"property double {axis}" for axis in "xyz"]
        lines += [f"element face {len(corners)}", "property list uchar int vertex_indices"]
        lines += ["end_header", *points, *(f"3 {c}" for c in corners)]
    return "\n".join(lines) + "\n"


def write_shapes(folder: str | Path, train: int = 24, test: int = 8, seed: int = 0) -> list[Path]:
    """Write generated shapes as a folder of meshes, ``folder/family/train|test/file``.

    PLY, OBJ and OFF take turns, so that reading the folder exercises all three.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist; files of the same name are replaced.
    train, test : int
        Shapes of each family in each part.
    seed : int
        Handed to :func:`generate_shapes`.

    Returns
    -------
    list of Path
        The files, in the order of :func:`generate_shapes`.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_shapes(folder, train=1, test=1)
    ...     [f.relative_to(folder).as_posix() for f in files[:2]]
    ['apart/train/apart_000.ply', 'apart/test/apart_001.obj']
    """
    per_class = train + test
    files = []
    for position, (mesh, label) in enumerate(generate_shapes(per_class, seed)):
        i = position % per_class
        suffix = _FORMATS[i % len(_FORMATS)]
        part = Path(folder) / FAMILIES[label] / ("train" if i < train else "test")
        part.mkdir(parents=True, exist_ok=True)
        files.append(part / f"{FAMILIES[label]}_{i:03d}{suffix}")
        files[-1].write_text(_text(mesh, suffix), encoding="ascii")
    return files
