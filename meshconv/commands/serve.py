"""``meshconv serve``: predictions over HTTP."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.extras import require


def run(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv serve", description="Predictions over HTTP, and a page to try them, see docs/deployment.md."
    )
    parser.add_argument("network", type=Path, help="checkpoint, name of meshconv models, or file of meshconv export")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default: this machine alone")
    parser.add_argument("--name", action="append", default=[], help="further host name that clients call it by")
    parser.add_argument("--template", type=Path, help="mesh that others are matched to")
    parser.add_argument("--megabytes", type=float, default=50.0, help="largest upload")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest prediction")
    parser.add_argument("--memory_gigabytes", type=float, default=16.0, help="of the process that predicts; 0: any")
    parser.add_argument("--waiting", type=int, default=64, help="requests that wait; further ones are refused")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    given = parser.parse_args(args[1:])
    require("meshconv serve", "serve")
    from meshconv.serve import Limits, Worker, run as listen

    limits = Limits(given.megabytes, given.seconds, given.memory_gigabytes, given.waiting)
    listen(Worker(given.network, limits, given.trust or (), given.template), given.host, given.port, given.name)
