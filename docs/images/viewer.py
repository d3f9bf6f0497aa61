"""Views in one picture: a surface with labels, its frames, tangent arrows on a globe, zones of the Earth.

    python docs/images/viewer.py docs/images/viewer.png

Needs chromium.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

import meshconv
from meshconv.geometry import icosahedral_sphere
from meshconv.viz import View, show, view_file

WIDTH, HEIGHT = 600, 450


def views() -> list[View]:
    sphere = icosahedral_sphere(5)
    faces = sphere.surface_complex().faces.numpy()
    x, y, z = sphere.xyz.T
    bumps = 1 + 0.16 * np.sin(4 * x) * np.cos(5 * y) + 0.1 * np.sin(6 * z)
    mesh = meshconv.TriangleMesh(sphere.xyz * [1.5, 1.0, 0.9] * bumps[:, None], faces)
    part = np.digitize(mesh.vertices[:, 0], [-0.7, 0.2, 0.9])
    names = ["head", "thorax", "abdomen", "tail"]
    said = np.digitize(mesh.vertices[:, 0] + 0.2 * np.sin(7 * y), [-0.7, 0.2, 0.9])
    pair = mesh.show({"part": said}, truth={"part": part}, names=names, title="truth beside prediction")
    grid = meshconv.HealpixSphere(32)
    wind = np.cross([0.0, 0.0, 1.0], grid.xyz) * (12 * np.sin(3 * grid.theta) ** 2)[:, None]
    wind += 4 * np.sin(4 * grid.phi)[:, None] * grid.frames[:, 0]
    arrows = grid.show({"wind": wind}, unit="m/s", title="tangent vectors on a globe")
    frames = show(mesh, {"height": mesh.vertices[:, 2]}, unit="mm", frames=True, title="numbers and frames")
    return [pair, frames, arrows, view_file("koeppen_hp64.nc", field="koeppen_two_letter")]


def main() -> None:
    figure = Figure(figsize=(2 * WIDTH / 100, 2 * HEIGHT / 100), dpi=100)
    with tempfile.TemporaryDirectory() as folder:
        for k, view in enumerate(views()):
            page, shot = view.save(Path(folder) / "view.html"), Path(folder) / "view.png"
            subprocess.run(
                ["chromium", "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                 "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=8000",
                 f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True,
            )  # fmt: skip
            ax = figure.add_axes((k % 2 / 2, 0.5 - k // 2 / 2, 0.5, 0.5))
            ax.imshow(imread(shot), interpolation="none")
            ax.set_axis_off()
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png")
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
