"""Pressure and velocity of potential flow as computed and as predicted: the picture of docs/formats.md.

    python docs/images/potential_flow.py runs/potential_flow/last.ckpt ROOT/test/0000.vtp ROOT/test/0001.vtp ...

Colours are the pressure coefficient, arrows the velocity on the near side; the last row is the error in pressure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meshconv import Predictor, TriangleMesh
from meshconv.io import read_mesh
from meshconv.viz import Continuous, MeshView, draw_mesh
from meshconv.viz.relief import vertex_normals

_ERROR = 0.08
_VIEW = MeshView(np.eye(3), azimuth=30, elevation=20)


def _arrows(ax: Axes, mesh: TriangleMesh, velocity: np.ndarray) -> None:
    """Velocities at the vertices of the near side, in the frame of ``draw_mesh``."""
    turn = _VIEW.of(mesh.vertices, mesh.faces)
    points, seen = mesh.vertices @ turn.T, velocity @ turn.T
    low, high = points.min(0), points.max(0)
    points = (points - (low + high) / 2) / (high - low)[:2].max()
    near = np.flatnonzero((vertex_normals(mesh.vertices, mesh.faces)[0] @ turn.T)[:, 2] > 0.15)
    ax.quiver(
        *points[near, :2].T, *seen[near, :2].T, angles="xy", scale_units="xy", scale=14, width=0.006, color="#222"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("meshes", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images/potential_flow.png"))
    given = parser.parse_args()
    predict = Predictor(given.checkpoint)
    figure = Figure(figsize=(2.4 * len(given.meshes) + 1, 7), dpi=80, layout="compressed")
    rows = figure.subplots(3, len(given.meshes), squeeze=False)
    pressures, errors = Continuous("viridis", (-1.5, 1.0)), Continuous("RdBu_r", (-_ERROR, _ERROR))
    for axes, path in zip(rows.T, given.meshes, strict=True):
        mesh = read_mesh(path)
        assert isinstance(mesh, TriangleMesh)
        found = predict(path).fields
        cp = mesh.vertex_data["cp"]
        for ax, fields in zip(axes, (mesh.vertex_data, found), strict=False):
            draw_mesh(ax, mesh, fields["cp"], colors=pressures, view=_VIEW)
            _arrows(ax, mesh, fields["velocity"])
        draw_mesh(axes[2], mesh, found["cp"] - cp, colors=errors, view=_VIEW)
        axes[0].set_title(path.stem, fontsize=9)
        axes[2].set_title(f"{np.linalg.norm(found['cp'] - cp) / np.linalg.norm(cp):.1%}", fontsize=9)
    for axes, colors, label in (
        (rows[:2], pressures, "pressure coefficient: computed, predicted"),
        (rows[2:], errors, "predicted - computed"),
    ):
        figure.colorbar(colors.mappable(np.zeros(0)), ax=list(axes.flat), label=label, shrink=0.8)
    figure.savefig(given.output, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
