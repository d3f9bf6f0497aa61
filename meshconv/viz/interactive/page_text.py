"""HTML of views: data, library and script in one file that loads nothing."""

from __future__ import annotations

import base64
import functools
import json
import re
import zipfile
import zlib
from html import escape
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError

__all__ = ["library", "pack", "page", "root"]


def pack(values: NDArray) -> dict[str, Any]:
    """Numbers as JSON: deflated, in base64; of integers the differences, which are small for faces and rasters.

    Example
    -------
    >>> sorted(pack(np.arange(3)))
    ['data', 'differences', 'type']
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype == np.uint8:
        kind, differences = "uint8", False
    elif flat.dtype.kind in "iub":
        kind, differences = "int32", True
        flat = np.diff(flat.astype(np.int64), prepend=0).astype("<i4")
    else:
        kind, differences = "float32", False
        flat = flat.astype("<f4")
    data = base64.b64encode(zlib.compress(flat.tobytes(), 6)).decode("ascii")
    return {"type": kind, "differences": differences, "data": data}


@functools.cache
def library() -> str:
    """Style and scripts that views need, once a page: three.js as trimesh brings it, and what draws with it."""
    own = files("meshconv.viz.interactive") / "page"
    style, script = ((own / name).read_text(encoding="utf-8") for name in ("view.css", "view.js"))
    return f"<style>{style}</style>\n<script>{_three()}</script>\n<script>{script}</script>\n"


def _three() -> str:
    """The library three.js out of the page of trimesh's viewer, of which it is the first line of script."""
    home = Path(str(find_spec("trimesh").origin)).parent  # type: ignore[union-attr]  # its import takes half a second
    with zipfile.ZipFile(home / "resources" / "templates" / "viewer.zip") as archive:
        text = archive.read("viewer.html.template").decode("utf-8")
    found = re.search(r"<script>(\s*/\*\*.*?Three\.js Authors.*?__esModule[^\n]*)\n", text, re.DOTALL)
    if found is None:
        raise InputError(f"trimesh {version('trimesh')} brings no three.js that views know; install trimesh 5.2")
    return found[1]


def root(content: dict[str, Any], height: str) -> str:
    """Element of a view; the page needs :func:`library` after the last one."""
    # Of "<" in names nothing can begin, neither markup nor the end of the script.
    text = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    return f'<div class="view" style="height:{escape(height)}"><script type="application/json">{text}</script></div>'


def page(title: str, body: str) -> str:
    """Document that is a view and nothing else."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>body {{ margin: 0; }}</style>\n</head>\n<body>\n"
        f"{body}\n{library()}</body>\n</html>\n"
    )
