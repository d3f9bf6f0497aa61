"""``meshconv calibrate``: uncertainty of checkpoints."""

from __future__ import annotations

from meshconv.extras import require


def run(args: list[str]) -> None:
    require("meshconv calibrate", "train")
    from meshconv.train.loop.run import quiet
    from meshconv.uncertainty import command

    quiet()
    command.run(args[1:])
