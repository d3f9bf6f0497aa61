"""``meshconv compress``: smaller networks with the same symmetry."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.extras import require


def run(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv compress",
        description="A smaller network with the same symmetry: fields are pruned, weights are rounded. Writes a "
        "checkpoint for meshconv predict, and prints what it costs and how good it is, before and after.",
    )
    parser.add_argument("checkpoint", type=Path, help="written by meshconv fit, or a name of meshconv models")
    parser.add_argument("--prune", choices=("l0", "jeffreys", "magnitude"), help="how fields are chosen; default: none")
    parser.add_argument("--bits", type=int, help="of weights: 8 or 4; default: floats")
    parser.add_argument("--data", type=Path, metavar="CONFIG", help="configuration with the data, to train and to test")
    parser.add_argument("--sparsity", type=float, default=6.0, help="of l0 and jeffreys: weight of their cost")
    parser.add_argument("--keep", type=float, default=0.3, help="of magnitude: share of the fields that stays")
    parser.add_argument("--epochs", type=int, default=10, help="of training, with gates and after pruning together")
    parser.add_argument("--learning_rate", type=float, help="default: that of the checkpoint")
    parser.add_argument("--samples", type=int, default=0, help="training samples for rounding; 0: to the nearest")
    parser.add_argument("--bf16", action="store_true", help="features in bfloat16: the symmetry is no longer exact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("compressed.ckpt"))
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    given = vars(parser.parse_args(args[1:]))
    require("meshconv compress", "train")
    from meshconv.compress import Pruning, compress_checkpoint
    from meshconv.train.loop.run import quiet

    quiet()
    del given["debug"]
    method, how = given.pop("prune"), {f.name: given.pop(f.name) for f in fields(Pruning) if f.name != "method"}
    given |= {"config": given.pop("data"), "trust": given["trust"] or ()}
    given["pruning"] = None if method is None else Pruning(method, **how)
    print(compress_checkpoint(**given))
    print(given["output"])
