"""FreeSurfer's surfaces: ``lh.white``, ``rh.pial``, ``lh.inflated``, ``lh.sphere``, ``lh.sphere.reg``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.meshes.readers.libraries import in_one_line

#: Extensions of surfaces, which follow the hemisphere's name.
SURFACES = (".white", ".pial", ".inflated", ".sphere", ".reg", ".smoothwm", ".midthickness", ".orig", ".nofix",
            ".preaparc", ".qsphere")  # fmt: skip
_TRIANGLES = b"\xff\xff\xfe"
# Bytes of a point in files of quadrilaterals, which FreeSurfer wrote before; a corner takes three.
_QUADRILATERALS = {b"\xff\xff\xff": 6, b"\xff\xff\xfd": 12}


@in_one_line
def read_freesurfer(path: Path) -> PolygonFile:
    """Points and triangles of a surface, in millimetres of its own coordinates; quadrilaterals are two triangles."""
    import nibabel

    with path.open("rb") as stream:
        kind = stream.read(3)
        if kind == _TRIANGLES:
            stream.readline(), stream.readline()
            counts, widths = np.frombuffer(stream.read(8), ">i4").tolist(), [12, 12]
        elif kind in _QUADRILATERALS:
            counts, widths = [int.from_bytes(stream.read(3), "big") for _ in range(2)], [_QUADRILATERALS[kind], 12]
        else:
            raise ValueError("it is no surface by FreeSurfer")
        place, size = stream.tell(), path.stat().st_size
    if len(counts) < 2 or min(counts) < 0 or place + sum(n * w for n, w in zip(counts, widths, strict=True)) > size:
        raise ValueError(f"its {size} bytes are too few for what it promises, {counts} points and faces")
    points, faces = nibabel.freesurfer.read_geometry(str(path))
    faces = np.asarray(faces, dtype=np.int64)
    return PolygonFile(np.asarray(points, dtype=np.float64), faces.reshape(-1), np.full(len(faces), 3))


FORMATS = (MeshFormat("FreeSurfer", SURFACES, read_freesurfer, package="nibabel"),)
