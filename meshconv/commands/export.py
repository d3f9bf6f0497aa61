"""``meshconv export``: networks for other programs."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.extras import require


def run(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv export",
        description="A trained network for other programs, with preprocess.json, which describes inputs and output.",
    )
    parser.add_argument("checkpoint", type=Path, help="written by meshconv fit, or a name of meshconv models")
    parser.add_argument("--to", nargs="+", required=True, choices=("torch", "aoti", "onnx"))
    parser.add_argument("--output", type=Path, default=Path("exported"), help="folder of the files")
    parser.add_argument("--like", type=Path, help="of maps: a file whose points the network works on")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    given = parser.parse_args(args[1:])
    if "onnx" in given.to:
        require("meshconv export --to onnx", "export")
    from meshconv import __version__
    from meshconv.export import export_network
    from meshconv.train import load_inference

    trained = load_inference(given.checkpoint, given.trust or ())
    for found in export_network(trained, trained.task_path, __version__, given.to, given.output, given.like):
        print(found)
