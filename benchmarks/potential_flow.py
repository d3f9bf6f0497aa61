"""Errors of the solver of potential flow against the closed form of ellipsoids.

    python benchmarks/potential_flow.py
"""

from __future__ import annotations

import time

import numpy as np
from scipy.spatial import ConvexHull

from meshconv.datasets.potential_flow.solver import BodyFlow, ellipsoid_velocity
from meshconv.geometry import icosahedral_sphere

STREAM = np.array([1.0, 0.5, -0.3])


def main() -> None:
    """Print a row for each ellipsoid and number of vertices."""
    print("| axes | vertices | velocity | pressure | seconds |\n| --- | ---: | ---: | ---: | ---: |")
    for axes in ((1, 1, 1), (2, 1, 1), (1, 0.6, 0.4), (1, 1, 0.3)):
        for level in (2, 3, 4):
            ball = icosahedral_sphere(level).xyz
            faces = ConvexHull(ball).simplices
            a, b, c = ball[faces].transpose(1, 0, 2)
            inward = np.einsum("fi,fi->f", a, np.cross(b, c)) < 0
            faces[inward] = faces[inward][:, ::-1]
            start = time.perf_counter()
            flow = BodyFlow(ball * axes, faces)(STREAM)
            seconds = time.perf_counter() - start
            wanted = ellipsoid_velocity(axes, ball * axes, STREAM)
            pressure = 1 - (wanted**2).sum(axis=1)
            errors = [np.linalg.norm(f - w) / np.linalg.norm(w)
                      for f, w in ((flow.velocity, wanted), (flow.pressure, pressure))]  # fmt: skip
            name = " : ".join(f"{v:g}" for v in axes)
            print(f"| {name} | {len(ball)} | {100 * errors[0]:.2f} % | {100 * errors[1]:.2f} % | {seconds:.1f} |")


if __name__ == "__main__":
    main()
