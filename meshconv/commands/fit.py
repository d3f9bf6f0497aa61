"""``meshconv fit``, ``test`` and ``validate``."""

from __future__ import annotations

from meshconv.extras import require


def run(args: list[str]) -> None:
    require(f"meshconv {args[0]}", "train")
    from meshconv.train.fit import RunCLI
    from meshconv.train.loop.run import quiet

    quiet()
    RunCLI(args)
