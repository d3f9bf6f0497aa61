"""``meshconv view``: pages and pictures of meshes and maps."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.extras import require


def run(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv view",
        description="A page with meshes or globes that turn, in one file that loads nothing; or a picture.",
    )
    parser.add_argument("files", nargs="+", help="meshes or maps, also of meshconv predict; side by side")
    parser.add_argument("--labels", type=Path, action="append", help="label file of the mesh; one for each")
    parser.add_argument("--field", default="", help="array or variable that is shown first; the page has all")
    parser.add_argument("--truth", default="", help="another array, or label file, to show beside the field")
    parser.add_argument("--select", nargs="+", default=[], metavar="NAME=VALUE", help="of maps: member=3 level=850")
    parser.add_argument("--output", type=Path, default=Path("view.html"), help=".html, or a picture: .png, .pdf, .svg")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    given = parser.parse_args(args[1:])
    require("meshconv view", "viz")
    from meshconv.viz.interactive.files import view_files

    selection = {}
    if given.select:  # of maps alone
        require("meshconv view --select", "climate")
        from meshconv.io.maps.selection import parse_selection

        selection = parse_selection(given.select)
    view = view_files(given.files, given.labels or (), given.field, given.truth, selection)
    print(view.save(given.output))
    if given.open:
        import webbrowser

        webbrowser.open(given.output.absolute().as_uri())
