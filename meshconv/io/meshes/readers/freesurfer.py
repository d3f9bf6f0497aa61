"""FreeSurfer's surfaces: ``lh.white``, ``rh.pial``, ``lh.inflated``, ``lh.sphere``, ``lh.sphere.reg``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meshconv.io.meshes.polygons import MeshFormat, PolygonFile
from meshconv.io.meshes.readers.libraries import in_one_line

#: Extensions of surfaces, which follow the hemisphere's name.
SURFACES = (".white", ".pial", ".inflated", ".sphere", ".reg", ".smoothwm", ".midthickness")
_TRIANGLES = b"\xff\xff\xfe"


@in_one_line
def read_freesurfer(path: Path) -> PolygonFile:
    """Points and triangles of a surface, in millimetres of its own coordinates."""
    import nibabel

    with path.open("rb") as stream:
        if stream.read(3) != _TRIANGLES:
            raise ValueError("it is no surface of triangles by FreeSurfer")
        stream.readline(), stream.readline()
        place, size = stream.tell() + 8, path.stat().st_size
        counts = np.frombuffer(stream.read(8), ">i4").tolist()
    if len(counts) < 2 or min(counts) < 0 or place + 12 * sum(counts) > size:
        raise ValueError(f"its {size} bytes are too few for what it promises, {counts} points and triangles")
    points, faces = nibabel.freesurfer.read_geometry(str(path))
    faces = np.asarray(faces, dtype=np.int64)
    return PolygonFile(np.asarray(points, dtype=np.float64), faces.reshape(-1), np.full(len(faces), 3))


FORMATS = (MeshFormat("FreeSurfer", SURFACES, read_freesurfer, package="nibabel"),)
