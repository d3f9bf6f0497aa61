"""Truth, prediction and error of Koeppen zones, the picture of docs/climate.md.

meshconv fit --config climate_koeppen
python docs/images/koeppen_maps.py runs/climate_koeppen/last.ckpt [OUTPUT.png]
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from meshconv.datasets import SphereMaps
from meshconv.shipped import find_config
from meshconv.train import load_task
from meshconv.viz import Categorical, draw_healpix, zone_colors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=Path("docs/images/koeppen_maps.png"))
    given = parser.parse_args()
    config = yaml.safe_load(find_config("climate_koeppen").read_text())
    data, task = SphereMaps(**config["data"]["init_args"]), load_task(given.checkpoint)
    (batch,) = data.test_dataloader()
    with torch.no_grad():
        predicted = data.surface.everywhere(task(batch)[0].argmax(-1).numpy(), -1)
    truth = data.surface.everywhere(batch.target[0].numpy(), -1)
    held_out = data.surface.everywhere(batch.mask[0].numpy(), False)
    land = truth >= 0
    names, colors = list(data.class_names), zone_colors(data.class_names)
    wrong = np.where(land, np.where(predicted == truth, 0, 1), -1)
    share = float((predicted == truth)[held_out].mean())

    figure = Figure(figsize=(7, 11.5), dpi=90, layout="compressed")
    panels = (
        ("truth (bright: the held-out blocks)", truth, names, colors),
        ("SphereUNet, from annual means", np.where(land, predicted, -1), names, colors),
        (f"error: {share:.0%} of the held-out land is right", wrong, ["right", "wrong"], ["#bcd4c2", "#aa3377"]),
    )
    for k, (title, values, labels, palette) in enumerate(panels):
        ax = figure.add_subplot(3, 1, k + 1)
        draw_healpix(
            ax, values.astype(float), colors=Categorical(palette, labels), columns=640, pale=land & ~held_out,
        )  # fmt: skip
        ax.set_title(title, fontsize=10)
    whole = io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(256).save(given.output, optimize=True)


if __name__ == "__main__":
    main()
