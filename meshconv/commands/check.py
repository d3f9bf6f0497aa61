"""``meshconv check``: defects of meshes, and their repair."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser


def run(args: list[str]) -> int:
    parser = Parser(
        prog="meshconv check",
        description="Defects of meshes. Exit status: 0 clean or repaired, 1 a mesh needs repair, 2 one is unreadable.",
    )
    parser.add_argument("files", type=Path, nargs="+", help="mesh files")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repair", type=Path, metavar="OUT", help="write repaired: a file for one mesh, else a folder")
    parser.add_argument("--isolated", choices=("drop", "keep"), default="drop", help="vertices without faces")
    given = parser.parse_args(args[1:])
    from meshconv.io.meshes.check import as_json, as_table, check_files

    checks = check_files(given.files, given.repair, given.isolated)
    print(as_json(checks) if given.json else as_table(checks))
    return max(check.status for check in checks)
