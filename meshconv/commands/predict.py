"""``meshconv predict``: outputs of a trained network for files."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser, folder, truth
from meshconv.extras import require


def run(args: list[str]) -> None:
    parser = Parser(prog="meshconv predict", description="Prediction for meshes or maps by a trained network.")
    parser.add_argument("checkpoint", type=Path, help="of meshconv fit, export, or a name of meshconv models")
    parser.add_argument("files", nargs="+", help="meshes or folders of them, or NetCDF files with maps")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="path without suffix")
    parser.add_argument("--strict", action="store_true", help="stop at the first unusable input")
    parser.add_argument("--template", type=Path, help="mesh to which the others are matched; default: the first")
    parser.add_argument("--pixel_order", choices=("nest", "ring"), help="pixel order of maps without the attribute")
    parser.add_argument("--join", action="store_true", help="map files together are one input (a variable in each)")
    parser.add_argument("--select", nargs="+", default=[], metavar="NAME=VALUE", help="of maps: member=3 level=850")
    parser.add_argument("--dimension", nargs="+", help="of maps: predict along these; default: that of the training")
    parser.add_argument("--maps", type=truth, default=True, help="false: no pictures of predicted maps")
    parser.add_argument("--step", type=int, nargs="+", help="steps to draw, from 0; default: the first and the last")
    parser.add_argument("--steps", type=int, help="of a forecast from the last time of a file")
    parser.add_argument("--probability", help="class whose probability is drawn too")
    parser.add_argument("--uncertainty", action="store_true", help="of a calibrated checkpoint (meshconv calibrate)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:1; auto: the GPU if there is one")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    parser.add_argument("--cache", type=folder, default=True, help="folder of prepared meshes; false: none")
    parser.add_argument("--workers", type=int, help="processes that prepare meshes; 0: this one")
    given = parser.parse_args(args[1:])
    from meshconv.train import MapOptions, MapPictures, Predictor

    if given.uncertainty:
        require("meshconv predict --uncertainty", "train")
        from meshconv.uncertainty import UncertainPredictor as Predictor

    if given.select:  # of maps alone
        from meshconv.io.maps.selection import parse_selection

        given.select = parse_selection(given.select)
    predictor = Predictor(given.checkpoint, given.device, given.trust or (), given.cache, given.workers)
    for path in predictor.save(
        given.files, given.output, strict=given.strict, template=given.template,
        maps=MapOptions(given.pixel_order, given.select, given.dimension, given.join),
        pictures=MapPictures(given.step, given.probability) if given.maps else None, horizon=given.steps,
    ):  # fmt: skip
        print(path)
