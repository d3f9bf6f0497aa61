"""Segmentations of one body in several triangulations, side by side: the picture of docs/discretisation.md.

    python docs/images/triangulations.py runs/triangulations/tosca/runs/segment_0/last.ckpt \
        runs/triangulations/tosca/given/michael4.ply runs/triangulations/tosca/uneven/michael4.ply ...

Meshes are those of benchmarks/triangulations.py, with labels as vertex attribute, in the view of the first.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from meshconv import Predictor
from meshconv.io import read_mesh
from meshconv.viz import Categorical, MeshView, draw_mesh
from meshconv.viz.mesh import view_rotation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("meshes", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images/triangulations.png"))
    given = parser.parse_args()
    predict = Predictor(given.checkpoint)
    first = read_mesh(given.meshes[0])
    along, across, towards = view_rotation(first.vertices, first.faces)
    view = np.stack([across, -along, towards])  # upright
    figure = Figure(figsize=(2.6 * len(given.meshes), 3.4), dpi=110, layout="compressed")
    axes = figure.subplots(1, len(given.meshes), squeeze=False)[0]
    for ax, path in zip(axes, given.meshes, strict=True):
        mesh = read_mesh(path)
        found, truth = predict(path).labels, np.asarray(mesh.vertex_data["label"])
        colors = [to_hex(colormaps["tab10"](k)) for k in range(int(max(truth.max(), found.max())) + 1)]
        drawn = draw_mesh(ax, mesh, found, colors=Categorical(colors), view=MeshView(view))
        drawn.set_edgecolor("#00000040")
        drawn.set_linewidth(0.1)
        title = f"{path.parent.name}: {len(truth):,} vertices\n{np.mean(found == truth):.1%} right"
        ax.set_title(title, fontsize=9)
    whole = io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(128).save(given.output, optimize=True)


if __name__ == "__main__":
    main()
