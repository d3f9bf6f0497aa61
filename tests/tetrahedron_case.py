"""A tetrahedron, to be written by hand in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshconv.io.meshes.load import load_mesh

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
STRIP = [0, 2, 1, 3, 0, 2]
LINES = ["0 0 0", "1 0 0", "0 1 0", "0 0 1"]


def is_tetrahedron(path: Path) -> None:
    mesh = load_mesh(path)
    assert (mesh.num_vertices, mesh.num_faces) == (4, 4)
    assert mesh.area == pytest.approx(1.5 + np.sqrt(3) / 2)
    assert mesh.defects.problems() == []
    assert mesh.origin is not None
    assert mesh.origin.changes.turned_faces == 0  # the winding is right as read
