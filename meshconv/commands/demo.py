"""``meshconv demo``: both trainings and a report."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.extras import require


def run(args: list[str]) -> None:
    parser = Parser(prog="meshconv demo", description="Training of both tasks, with a report.")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder of the report")
    parser.add_argument("--climate", type=Path, default=Path("koeppen_hp64.nc"), help="default: the set that ships")
    parser.add_argument("--climate_steps", type=int, help="training steps of each climate network, else as configured")
    parser.add_argument("--shape_epochs", type=int, default=20, help="training epochs of each mesh network")
    given = parser.parse_args(args[1:])
    require("meshconv demo", "train", "climate")
    from meshconv.demo.run import run_demo
    from meshconv.train.loop.run import quiet

    quiet()
    print(f"report: {run_demo(given.output, given.climate, given.climate_steps, given.shape_epochs)}")
