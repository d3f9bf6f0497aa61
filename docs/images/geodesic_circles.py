"""Geodesic circles and transported frames on a bumpy torus of uneven triangles, the picture of docs/geometry.md.

    python docs/images/geodesic_circles.py [OUTPUT.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from meshconv import Neighbourhood, TriangleMesh
from meshconv.viz import geodesic_picture

LONG, SHORT = 150, 68


def surface(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Torus with bumps at longitude u, latitude v."""
    thick = 0.82 + 0.16 * np.sin(3 * u + 0.4) * np.cos(2 * v) + 0.10 * np.cos(5 * u - 2 * v) + 0.07 * np.sin(4 * v)
    r = 2 + thick * np.cos(v)
    return np.stack([r * np.cos(u), r * np.sin(u), thick * np.sin(v) + 0.25 * np.cos(2 * u)], axis=-1)


def bumpy_torus() -> TriangleMesh:
    """Jittered grid, each cell cut along a diagonal drawn by lot."""
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(LONG), np.arange(SHORT), indexing="ij")
    u, v = (n + 0.3 * rng.uniform(-1, 1, n.shape) for n in (i, j))
    vertices = surface(u * 2 * np.pi / LONG, v * 2 * np.pi / SHORT).reshape(-1, 3)

    def vertex(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a % LONG * SHORT + b % SHORT

    a, b, c, d = vertex(i, j), vertex(i + 1, j), vertex(i + 1, j + 1), vertex(i, j + 1)
    one = [np.stack([a, b, c], -1), np.stack([a, c, d], -1)]
    other = [np.stack([a, b, d], -1), np.stack([b, c, d], -1)]
    lot = (rng.random(i.shape) < 0.5)[..., None]
    faces = np.concatenate([np.where(lot, x, y).reshape(-1, 3) for x, y in zip(one, other, strict=True)])
    return TriangleMesh(vertices, faces, "bumpy torus")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).with_suffix(".png")
    parser.add_argument("output", type=Path, nargs="?", default=default)
    output = parser.parse_args().output
    mesh = bumpy_torus()
    graph = mesh.gauge_graph(Neighbourhood(radius=0.12))
    places = [(-1.62, 0.55), (-2.7, 1.1), (-0.5, 1.1), (0.62, 1.0), (2.55, 1.3), (1.6, 2.2)]
    wanted = np.stack([surface(np.array(u), np.array(v)) for u, v in places])
    centres = [int(np.linalg.norm(mesh.vertices - w, axis=1).argmin()) for w in wanted]
    rotation = Rotation.from_euler("x", -46, degrees=True).as_matrix()
    picture = geodesic_picture(mesh, graph, centres, rotation=rotation)
    output.parent.mkdir(parents=True, exist_ok=True)
    # A palette makes the file a third as large.
    Image.fromarray(picture).quantize(256, kmeans=3, dither=Image.Dither.NONE).save(output, optimize=True)
    print(output)


if __name__ == "__main__":
    main()
