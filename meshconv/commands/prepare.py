"""``meshconv prepare``: the cache filled ahead of a training."""

from __future__ import annotations

import sys
from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.errors import InputError
from meshconv.extras import require


def run(args: list[str]) -> int:
    parser = Parser(
        prog="meshconv prepare",
        description="Fill the cache with the meshes of a configuration and their variants, ahead of fit, test and "
        "validate. Meshes that are there already stay: after an interruption the same command goes on. Further "
        "options are those of fit, as --data.init_args.nearest 8. Exit status: 1 if a mesh cannot be used.",
    )
    parser.add_argument("root", type=Path, help="folder of the meshes, the configuration's data.init_args.root")
    parser.add_argument("--config", required=True, help="of the training: a path, or a name that ships")
    parser.add_argument("--workers", type=int, help="processes; 0: this one; default: one for each core")
    parser.add_argument("--scheduler", help="of dask.distributed, tcp://HOST:8786: its workers compute instead")
    given, more = parser.parse_known_args(args[1:])
    require("meshconv prepare", "train")
    from meshconv.datasets.meshes.module import MeshData
    from meshconv.train.fit import RunCLI
    from meshconv.train.loop.run import quiet

    quiet()
    workers = [] if given.workers is None else [f"--data.init_args.workers={given.workers}"]
    data = RunCLI(["--config", str(given.config), f"--data.init_args.root={given.root}", *workers, *more], run=False)
    if not isinstance(data.datamodule, MeshData):
        kind = type(data.datamodule).__name__
        raise InputError(f"{given.config}: {kind} has no meshes to prepare; fit reads its files")
    made, there, problems = data.datamodule.fill_cache(given.scheduler)
    for problem in problems:
        print(f"cannot be used: {problem}", file=sys.stderr)
    print(f"{data.datamodule.cache.folder}: {made} prepared, {there} were there, {len(problems)} cannot be used")
    return 1 if problems else 0
