"""Small labelled meshes: bumpy spheres whose halves have labels of vertices, faces or edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from meshes import icosphere
from numpy.typing import NDArray

from meshconv import TriangleMesh
from meshconv.datasets.meshes.transfer.elements import edges_of
from meshconv.io import save_mesh


def body(seed: int) -> TriangleMesh:
    """A sphere with a large bump on one side: the side that is to be found, whichever way the body is turned."""
    rng = np.random.default_rng(seed)
    sphere = icosphere(2)
    side = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x = sphere.vertices @ side.T
    radius = 1 + 0.8 * np.exp(-4 * (1 - sphere.vertices[:, 2])) + 0.02 * rng.normal(size=len(x))
    return TriangleMesh(x * radius[:, None], sphere.faces, f"body {seed}")


def halves(mesh: TriangleMesh, kind: str, first: int = 0) -> NDArray[np.int64]:
    """Label of each element: ``first`` far from the bump, ``first + 1`` near it."""
    place = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    bump = place[np.linalg.norm(mesh.vertices, axis=1).argmax()]
    middle = place if kind == "vertices" else place[mesh.faces if kind == "faces" else edges_of(mesh.faces)].mean(1)
    return first + (middle @ bump > 0.4).astype(np.int64)


def write_mesh(path: Path, seed: int) -> TriangleMesh:
    """One body in a file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_mesh(body(seed), path)
    return body(seed)


def write_labels(path: Path, labels: NDArray) -> None:
    """One label a line, or an array; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, labels)
    else:
        path.write_text("".join(f"{label}\n" for label in labels.tolist()))


def write_bodies(root: Path, kind: str = "faces", count: int = 4, suffix: str = ".txt", first: int = 0) -> Path:
    """``root/meshes/k.off`` and ``root/labels/k<suffix>``."""
    for k in range(count):
        mesh = write_mesh(root / "meshes" / f"{k}.off", k)
        write_labels(root / "labels" / f"{k}{suffix}", halves(mesh, kind, first))
    return root
