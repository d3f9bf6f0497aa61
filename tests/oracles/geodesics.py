"""Make ``tests/data/geodesics.npz``: exact polyhedral distances, computed by pygeodesic (Mitchell, Mount,
Papadimitriou; https://pypi.org/project/pygeodesic, 0.1.11). Run in an environment that has it:

    PYTHONPATH=tests python tests/oracles/geodesics.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from geodesic_cases import UNEVEN
from pygeodesic import geodesic

RADIUS = 0.2  # in units of sqrt(area)
SOURCES = 40


def main() -> None:
    out = {}
    for name, build in UNEVEN.items():
        mesh = build()
        exact = geodesic.PyGeodesicAlgorithmExact(mesh.vertices, mesh.surface.faces.astype(np.int32))
        sources = np.random.default_rng(0).choice(mesh.num_vertices, SOURCES, replace=False)
        rows = []
        for source in sources:
            distance, _ = exact.geodesicDistances(np.array([source], dtype=np.int32))
            near = np.flatnonzero((distance < RADIUS * np.sqrt(mesh.area)) & (distance > 0))
            rows.append(np.stack([np.full(len(near), source), near, distance[near]]))
        source, target, distance = np.concatenate(rows, axis=1)
        out |= {
            f"{name}.source": source.astype(np.int16),
            f"{name}.target": target.astype(np.int16),
            f"{name}.distance": distance.astype(np.float32),
            f"{name}.checksum": np.array(mesh.vertices.sum()),
        }
    path = Path(__file__).resolve().parents[1] / "data" / "geodesics.npz"
    np.savez_compressed(path, **out)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
