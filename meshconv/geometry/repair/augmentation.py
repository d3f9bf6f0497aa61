"""Augmentation of meshes: pose, size, noise, triangulation, missing parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from meshconv.errors import InputError
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.origin import Origin, first_of
from meshconv.geometry.repair.simplification import follow, refine, simplify, subdivide_at_random

Range = tuple[float, float]

# Larger displacements, in mean edge lengths, flip triangles.
_MOST_NOISE = 0.4
# A cut-out leaves at least this share of the area.
_LEAST_AREA = 0.5
_LIMITS = {
    "scale": (1e-3, 1e3),
    "noise": (0.0, 1.0),
    "decimate": (0.01, 1.0),
    "remesh": (0.0, 1.0),
    "subdivide": (0.0, 1.0),
    "uneven": (0.0, 1.0),
    "cutout": (0.0, 10.0),
}
# Probabilities, not ranges.
_CHANCES = ("remesh", "subdivide", "uneven")
# Least number of faces of a shape.
_FEWEST_FACES = 32
# Least and greatest share of the faces that are made finer.
_UNEVEN = (0.2, 0.8)


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of meshes before preparation; none by default.

    Ranges are pairs, from which a number is drawn uniformly for every variant. One number x is the range from the
    identity to x.

    Parameters
    ----------
    rotation : bool
        Uniformly random rotation.
    scale : range
        Scaling, log-uniform; x is the range 1/x to x.
    noise : range
        Standard deviation of Gaussian displacements of every vertex, in units of the square root of the surface area;
        at most 0.4 mean edge lengths. They are applied before or after the change of triangulation, at random.
    decimate : range
        Share of the faces kept by quadric edge collapse; x is the range x to 1.
    remesh : float
        Probability of another triangulation of the same surface: each triangle is subdivided into four at random points
        of its edges, then simplified to the required number of faces.
    subdivide : float
        Probability that every triangle is cut in four at the middles of its edges, after the steps above.
    uneven : float
        Probability that the triangles on one side of a random plane, 0.2 to 0.8 of all, are cut in four; those beside
        them are split, so that the triangulation is conforming.
    cutout : range
        Radius of a removed disc around a random vertex, along edges, in units of the square root of the surface area.
        Discs of more than half of the area are not removed.

    Raises
    ------
    InputError
        A value that is out of range, with its name.

    Notes
    -----
    ``tests/test_augmentation.py`` checks each of them, that labels follow and that results are valid meshes.

    Examples
    --------
    >>> Augmentation(noise=0.01, decimate=(0.4, 1)).ranges["noise"]
    (0.0, 0.01)
    """

    rotation: bool = False
    scale: float | Range = 1.0
    noise: float | Range = 0.0
    decimate: float | Range = 1.0
    remesh: float = 0.0
    subdivide: float = 0.0
    uneven: float = 0.0
    cutout: float | Range = 0.0

    def __post_init__(self) -> None:
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            pair = isinstance(value, list | tuple) and name not in _CHANCES
            numbers = list(value) if pair else [value]
            plain = all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers)
            if not plain or len(numbers) != 1 + pair or not least <= numbers[0] <= numbers[-1] <= most:
                wanted = f"a number from {least:g} to {most:g}" + ("" if name in _CHANCES else ", or two that ascend")
                raise InputError(f"augment: {name} {value!r} has to be {wanted}")
            if pair:
                object.__setattr__(self, name, tuple(float(x) for x in value))  # lists from files
        if not isinstance(self.rotation, bool):
            raise InputError(f"augment: rotation {self.rotation!r} has to be true or false")

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | Augmentation | None) -> Augmentation | None:
        """Augmentation from the plain values of configurations and checkpoints; None for none."""
        if spec is None or isinstance(spec, cls):
            return spec
        known = [f.name for f in fields(cls)]
        if not isinstance(spec, Mapping) or not set(spec) <= set(known):
            raise InputError(f"augment: {spec!r} has to give some of {', '.join(known)}")
        return cls(**spec)

    @property
    def spec(self) -> dict[str, Any]:
        """All options by name, in plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @property
    def ranges(self) -> dict[str, Range]:
        """Least and greatest value of everything that is drawn."""

        def pair(value: float | Range, one: float) -> Range:
            return value if isinstance(value, tuple) else (min(one, value), max(one, value))

        scale = self.scale if isinstance(self.scale, tuple) else (min(self.scale, 1 / self.scale),
                                                                 max(self.scale, 1 / self.scale))  # fmt: skip
        return {"scale": scale, "noise": pair(self.noise, 0.0), "decimate": pair(self.decimate, 1.0),
                "cutout": pair(self.cutout, 0.0)}  # fmt: skip

    def apply(self, mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
        """A variant of a repaired mesh.

        Parameters
        ----------
        mesh : TriangleMesh
        rng : numpy.random.Generator
            All randomness; equal states give equal results.

        Returns
        -------
        TriangleMesh
            Repaired, with an area. Its ``origin`` and data are those of the nearest vertices and faces of ``mesh``.
            A change that would leave no surface is omitted.
        """
        mesh.check_area()
        # Always the same draws, so that one option does not change the others.
        drawn = {name: rng.uniform(*bounds) for name, bounds in self.ranges.items() if name != "scale"}
        least, most = self.ranges["scale"]
        factor = math.exp(rng.uniform(math.log(least), math.log(most)))
        again, early, where = rng.uniform(size=3)
        turn, seed = _random_rotation(rng), rng.integers(2**63)
        rng = np.random.default_rng(seed)
        if drawn["cutout"] > 0:
            mesh = _cut_out(mesh, drawn["cutout"], where)
        wanted = max(round(drawn["decimate"] * mesh.num_faces), min(_FEWEST_FACES, mesh.num_faces), 4)
        if early < 0.5:
            mesh = _shake(mesh, drawn["noise"], rng)
        if again < self.remesh:
            fine = follow(mesh, *subdivide_at_random(mesh, rng))
            mesh = simplify(fine, wanted)
        elif wanted < mesh.num_faces:
            mesh = simplify(mesh, wanted)
        mesh = self._finer(mesh, np.random.default_rng([1, int(seed)]))
        if early >= 0.5:
            mesh = _shake(mesh, drawn["noise"], rng)
        vertices = mesh.vertices @ turn.T if self.rotation else mesh.vertices
        return mesh if vertices is mesh.vertices and factor == 1 else _moved(mesh, factor * vertices)

    def _finer(self, mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
        """All triangles or those on one side of a plane cut in four."""
        everywhere, here, share = rng.uniform(size=3)
        direction = rng.standard_normal(3)
        if everywhere < self.subdivide:
            mesh = refine(mesh, np.ones(len(mesh.surface.faces), dtype=bool))
        if here < self.uneven:
            height = mesh.vertices[mesh.surface.faces].mean(axis=1) @ direction
            mesh = refine(mesh, height <= np.quantile(height, _UNEVEN[0] + (_UNEVEN[1] - _UNEVEN[0]) * share))
        return mesh


def _moved(mesh: TriangleMesh, vertices: FloatArray) -> TriangleMesh:
    """The same triangles elsewhere; the same mesh if that would leave something to repair."""
    moved = replace(mesh, vertices=vertices)
    repaired = moved.repair()
    same = repaired.num_vertices == mesh.num_vertices and repaired.num_faces == mesh.num_faces
    return repaired if same and repaired.area > 0 else mesh


def _shake(mesh: TriangleMesh, noise: float, rng: np.random.Generator) -> TriangleMesh:
    """Gaussian displacement of every vertex, in units of the square root of the surface area."""
    edge = math.sqrt(4 / math.sqrt(3) * mesh.area / mesh.num_faces)  # of equilateral triangles
    deviation = min(noise * math.sqrt(mesh.area), _MOST_NOISE * edge)
    if not deviation > 0:
        return mesh
    return _moved(mesh, mesh.vertices + deviation * rng.standard_normal(mesh.vertices.shape))


def _random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation matrix, all equally likely."""
    from scipy.spatial.transform import Rotation  # which predictions do without

    return Rotation.random(None, rng).as_matrix()


def _cut_out(mesh: TriangleMesh, radius: float, where: float) -> TriangleMesh:
    """The mesh without the faces that meet a disc around a vertex, given by its share of all."""
    half_edges, v = mesh.half_edges, mesh.num_vertices
    i, j = half_edges.origin, half_edges.tip
    length = np.linalg.norm(mesh.vertices[j] - mesh.vertices[i], axis=1)
    ends = np.concatenate([i, j]), np.concatenate([j, i])
    twice = coo_array((np.tile(length, 2), ends), shape=(v, v)).tocsr()
    often = coo_array((np.ones(2 * len(length)), ends), shape=(v, v)).tocsr()
    twice.data /= often.data  # an edge is listed once for each of its faces
    centre = int(half_edges.faces.ravel()[int(where * half_edges.faces.size)])
    limit = radius * math.sqrt(mesh.area)
    inside = np.isfinite(dijkstra(twice, indices=centre, limit=limit))
    keep = ~inside[mesh.surface.faces].any(axis=1)
    if mesh.face_areas[keep].sum() < _LEAST_AREA * mesh.area or keep.all():
        return mesh
    used = np.unique(mesh.surface.faces[keep])
    faces = np.flatnonzero(keep)
    step = Origin(used, first_of(used, v), faces, first_of(faces, mesh.num_faces))
    start = mesh.origin or Origin.identity(v, mesh.num_faces)
    return TriangleMesh(
        mesh.vertices[used],
        np.searchsorted(used, mesh.surface.faces[keep]),
        mesh.name,
        {k: np.asarray(values)[used] for k, values in mesh.vertex_data.items()},
        {k: np.asarray(values)[keep] for k, values in mesh.face_data.items()},
        start.then(step),
    ).repair(isolated="drop")
