"""A small mesh of finite elements, which tests write in the formats of programs."""

from __future__ import annotations

import numpy as np

# A roof over a square floor, a line and a point; two tetrahedra below one another.
PLACES = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 1.5]])
ROOF: list[tuple[int, list[list[int]], int]] = [  # kind of Gmsh, corners, group
    (15, [[0]], 3), (1, [[0, 1], [1, 2]], 4), (2, [[0, 1, 4], [1, 2, 4]], 7), (2, [[2, 3, 4], [3, 0, 4]], 8),
    (3, [[0, 3, 2, 1]], 9),
]  # fmt: skip
SOLID = [(4, [[0, 1, 2, 4], [0, 2, 3, 4]], 7)]
