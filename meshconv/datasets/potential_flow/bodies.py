"""Random smooth bodies in a stream, with pressure and velocity on their surface."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from meshconv.datasets.potential_flow.solver import Array, BodyFlow, SurfaceFlow
from meshconv.errors import InputError, PlaceError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.sphere.points import icosahedral_sphere
from meshconv.io.meshes.save import save_mesh
from meshconv.progress import Progress

# Waves on a body: so many directions, as multiples of the body's length and of its radius.
_WAVES, _FREQUENCY = 4, 1.3


@dataclass(frozen=True)
class PotentialFlowBodies:
    """A data set of bodies: each a ``.vtp`` with ``cp``, ``velocity`` and ``stream`` at its vertices.

    A body is an ellipsoid of half lengths 0.5 to 1 with a few smooth waves, turned at random, in a stream of random
    direction and speed 1 (:class:`~meshconv.datasets.potential_flow.solver.BodyFlow`). A body that is turned along with
    its stream has the same pressure and the turned velocity.

    Parameters
    ----------
    level : int
        Subdivisions of an icosahedron: 3 makes 642 vertices.
    roughness : float
        Height of the waves in radii, 0 for ellipsoids, up to 0.15.
    seed : int
        Body k depends on it and on k alone.

    Raises
    ------
    InputError
        Values out of range.
    """

    level: int = 3
    roughness: float = 0.08
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.level <= 5:
            raise InputError(f"level {self.level} is not between 2 and 5")
        if not 0 <= self.roughness <= 0.15:
            raise InputError(f"roughness {self.roughness} is not between 0 and 0.15")
        if self.seed < 0:
            raise InputError(f"seed {self.seed} is negative")

    def body(self, k: int) -> tuple[TriangleMesh, Array, SurfaceFlow]:
        """Body k, its stream ``[3]``, and the flow on it."""
        rng = np.random.default_rng([self.seed, k])
        points = icosahedral_sphere(self.level).xyz
        directions = rng.normal(size=(_WAVES, 3)) * _FREQUENCY
        waves = np.sin(points @ directions.T + rng.uniform(0, 2 * np.pi, _WAVES)).mean(axis=1)
        turn = Rotation.random(random_state=rng).as_matrix()
        vertices = (points * (1 + 2 * self.roughness * waves[:, None]) * rng.uniform(0.5, 1.0, 3)) @ turn.T
        faces = ConvexHull(points).simplices.astype(np.int64)
        a, b, c = points[faces].transpose(1, 0, 2)
        inward = np.einsum("fi,fi->f", a, np.cross(b, c)) < 0
        faces[inward] = faces[inward][:, ::-1]
        stream = rng.normal(size=3)
        stream /= np.linalg.norm(stream)
        return TriangleMesh(vertices, faces, f"body {k}"), stream, BodyFlow(vertices, faces)(stream)

    def write(self, output: Path, train: int, test: int) -> list[Path]:
        """Write bodies to ``output/train`` and ``output/test``, those that are not there yet; returns all files.

        Raises
        ------
        InputError
            Numbers that are not positive, or a folder with bodies of other options.
        """
        if train < 1 or test < 1:
            raise InputError(f"{train} bodies for training and {test} for testing; give at least one of each")
        about = output / "potential_flow.json"
        options = json.dumps(asdict(self), indent=1) + "\n"
        if about.is_file() and about.read_text() != options:
            raise InputError(f"{output}: holds bodies of other options ({about.name}); give another folder")
        # Bodies for testing are counted from far on: more of one kind never become those of the other.
        wanted = [("train", k, k) for k in range(train)] + [("test", k, 10**6 + k) for k in range(test)]
        paths = []
        try:
            for split in ("train", "test"):
                (output / split).mkdir(parents=True, exist_ok=True)
            about.write_text(options)
            with Progress(len(wanted), "potential flow", "body") as bar:
                for split, name, k in wanted:
                    path = output / split / f"{name:04}.vtp"
                    if not path.is_file():
                        mesh, stream, flow = self.body(k)
                        data = {"cp": flow.pressure, "velocity": flow.velocity,
                                "stream": np.tile(stream, (mesh.num_vertices, 1))}  # fmt: skip
                        data = {key: values.astype(np.float32) for key, values in data.items()}
                        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, mesh.name, data), path)
                    paths.append(path)
                    bar.update()
        except OSError as error:
            raise PlaceError.of(error) from error
        return paths
