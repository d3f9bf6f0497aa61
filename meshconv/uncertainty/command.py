"""The command ``meshconv calibrate``."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import yaml
from jsonargparse import ArgumentParser, Namespace

from meshconv.errors import InputError, behind, first_line, parser_says
from meshconv.train.checkpoints.load import load_task
from meshconv.train.predict.predictor import device_of
from meshconv.uncertainty.calibrated import save_calibrated
from meshconv.uncertainty.calibration import calibrate, evaluate, uncertain


def run(args: list[str]) -> None:
    """Calibrate checkpoints, write one file, and print how it holds on a split."""
    parser = ArgumentParser(
        prog="meshconv calibrate",
        description="Calibrate a trained network, or an ensemble of several, for meshconv predict --uncertainty.",
        exit_on_error=False,
    )
    parser.add_argument("checkpoints", type=Path, nargs="+", help="written by meshconv fit; several are an ensemble")
    parser.add_argument("--config", type=Path, required=True, help="of the training: runs/NAME/config.yaml")
    parser.add_argument("--output", type=Path, default=Path("calibrated.ckpt"), help="the calibrated checkpoint")
    parser.add_argument("--method", choices=("ensemble", "dropout", "laplace"), default="ensemble",
                        help="of one checkpoint, ensemble is the network itself")  # fmt: skip
    parser.add_argument("--samples", type=int | None, help="of dropout (16) and laplace (32)")
    parser.add_argument("--dropout", type=float | None, help="probability of dropping a field copy")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="calibration data")
    parser.add_argument("--level", type=float, default=0.9, help="probability that sets hold the truth")
    parser.add_argument("--unit", choices=("surface", "point"), default="surface",
                        help="what is exchangeable: meshes or maps; or points, of a single map")  # fmt: skip
    parser.add_argument("--share", type=float | None, help="sets for whole surfaces: cover this share of each")
    parser.add_argument("--evaluate", choices=("val", "test"), help="print measures on this split")
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:1; auto: the GPU if there is one")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    try:
        given = parser.parse_args(args)
    except ArgumentError as error:
        said = parser_says(str(error))
        raise InputError(f"calibrate: {said}; meshconv calibrate --help lists the options") from error
    tasks = [load_task(path, given.trust or ()) for path in given.checkpoints]
    data = data_of(given.config)
    for task in tasks:
        task.to(device_of(given.device))
    task = uncertain(tasks, given.method, data, given.samples, given.dropout).to(device_of(given.device))
    calibration = calibrate(task, data, given.split, given.level, given.unit, given.share)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    save_calibrated(given.output, given.checkpoints, task, calibration)
    if given.evaluate is not None:
        print(as_table(evaluate(task, data, given.evaluate, calibration)))
    print(given.output)


def data_of(config: Path) -> lightning.LightningDataModule:
    """The data module of a training's configuration.

    Raises
    ------
    InputError
        The file is no such configuration.
    """
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InputError(f"{config}: no configuration ({first_line(error)}); give runs/NAME/config.yaml") from error
    if not isinstance(content, Mapping) or "data" not in content:
        raise InputError(f"{config}: it has no data; give runs/NAME/config.yaml")
    parser: Any = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(lightning.LightningDataModule, "data")
    try:
        parsed: Namespace = parser.parse_object({"data": content["data"]})
        return parser.instantiate_classes(parsed)["data"]
    except ArgumentError as error:
        raise InputError(f"{config}: {parser_says(str(error))}") from error
    except ValueError as error:  # the parser wraps what is raised on the way
        found = behind(error)
        if found is None:
            raise
        raise found from error


def as_table(measures: Mapping[str, Mapping[str, float]]) -> str:
    """Measures as rows, what they are of as columns."""
    rows = list(dict.fromkeys(name for column in measures.values() for name in column))
    width = max(map(len, [*rows, "measure"]))
    lines = ["  ".join([f"{'measure':{width}}", *(f"{name:>12}" for name in measures)])]
    for row in rows:
        cells = [f"{column[row]:12.4f}" if row in column else f"{'':12}" for column in measures.values()]
        lines.append("  ".join([f"{row:{width}}", *cells]).rstrip())
    return "\n".join(lines)
