"""OBJ files read as arrays and line by line are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshconv.io.meshes.readers.obj import read_obj
from meshconv.io.meshes.readers.obj_arrays import read_plain_obj

POINTS = "v 0 0 0\nv 1 0 -1e-3\nv\t0 1.5 0\nv 2 2. .5\n"
COLOURED = "v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\n"
PLAIN = {
    "polygons": POINTS + "f 1 2 3\nf 1 2 3 4\nf 4 3 2 \n",
    "slashes": POINTS + "vt 0 0\nvn 0 0 1\nf 1/1 2/1 3/1\nf 1//1 2//1 3//1\nf 1/1/1 4/1/1 2/1/1",
    "states": "# made\nmtllib a.mtl\no one\n" + POINTS + "g left # side\nf 1 2 3\nusemtl red\ns off\nf 1 2 4\n",
    "no group": "g one\n" + POINTS + "f 1 2 3\ng\nf 2 3 4\n",
    "windows": (POINTS + "\nf 1 2 3\n").replace("\n", "\r\n"),
    "colours": COLOURED + "f 1 2 3\n",
    "points": POINTS,
}
UNUSUAL = {
    "back": POINTS + "f -1 -2 -3\n",
    "continued": POINTS + "f 1 2 \\\n3\n",
    "indented": POINTS + "  f 1 2 3\n",
    "comment in a line": POINTS + "f 1 2 3 # first\n",
    "old faces": POINTS + "fo 1 2 3\n",
    "mixed": POINTS + COLOURED + "f 1 2 3\n",
    "zero": POINTS + "f 0 1 2\n",
    "too large": POINTS + "f 1 2 99999999999999999999\n",
    "no number": POINTS + "f 1-2 2 3\n",
    "nothing": "\n\n",
}


@pytest.mark.parametrize("name", PLAIN)
def test_arrays_are_those_of_the_lines(name: str, tmp_path: Path) -> None:
    plain, lines = tmp_path / "plain.obj", tmp_path / "lines.obj"
    plain.write_bytes(PLAIN[name].encode())
    lines.write_bytes(PLAIN[name].encode() + b"\n  # not at the start of its line\n")
    assert read_plain_obj(plain) is not None
    assert read_plain_obj(lines) is None
    found, expected = read_obj(plain), read_obj(lines)
    for a, b in ((found.vertices, expected.vertices), (found.corners, expected.corners), (found.sizes, expected.sizes)):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    for left, right in ((found.vertex_data, expected.vertex_data), (found.polygon_data, expected.polygon_data)):
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_read_by_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.obj"
    path.write_text(UNUSUAL[name])
    assert read_plain_obj(path) is None
