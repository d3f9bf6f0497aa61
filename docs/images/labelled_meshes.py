"""Truth, prediction and error of labelled meshes that are turned at random first, the picture of docs/shapes.md.

    python docs/images/labelled_meshes.py runs/segment/last.ckpt MESH=LABELS... [--output OUTPUT.png]

Each mesh is labelled after a random rotation.
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
from scipy.spatial.transform import Rotation

from meshconv import Predictor, TriangleMesh
from meshconv.io import read_labels, read_mesh
from meshconv.viz import Categorical, draw_mesh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("meshes", nargs="+", metavar="MESH=LABELS")
    parser.add_argument("--output", type=Path, default=Path("docs/images/labelled_meshes.png"))
    given = parser.parse_args()
    predict = Predictor(given.checkpoint)
    figure = Figure(figsize=(8, 2.0 * len(given.meshes)), dpi=90, layout="compressed")
    axes = figure.subplots(len(given.meshes), 3, squeeze=False)
    for row, (pair, (left, middle, right)) in enumerate(zip(given.meshes, axes, strict=True)):
        path, labels = (Path(p) for p in pair.split("="))
        mesh, truth = read_mesh(path), read_labels(labels)
        turn = Rotation.random(rng=np.random.default_rng(row)).as_matrix()
        turned = TriangleMesh(mesh.vertices @ turn.T, mesh.faces, path.stem)
        predicted = predict(turned).labels
        values, both = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
        true, found = np.split(both, 2)
        # Labels in their order along a circle of colours, so that neighbours in a chain look alike.
        colors = [to_hex(colormaps["hsv"](k / len(values))) for k in range(len(values))]
        for ax, shown, palette in (
            (left, true, colors), (middle, found, colors), (right, (true != found).astype(int), ["#d9dfe3", "#aa3377"]),
        ):  # fmt: skip
            draw_mesh(ax, turned, shown, colors=Categorical(palette))
        left.set_title(f"{path.stem}: truth", fontsize=9)
        middle.set_title("prediction", fontsize=9)
        right.set_title(f"{np.mean(true == found):.1%} right", fontsize=9)
    whole = io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(128).save(given.output, optimize=True)


if __name__ == "__main__":
    main()
