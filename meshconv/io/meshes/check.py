"""Defects of mesh files: table, JSON and repaired files of ``meshconv check``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.repair.counts import Defects
from meshconv.geometry.repair.origin import Changes
from meshconv.geometry.repair.repair import Isolated
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.save import save_formats, save_mesh

_COLUMNS = {
    "vertices": "vertices",
    "faces": "faces",
    "comp.": "components",
    "Euler": "euler_characteristic",
    "genus": "genus",
    "loops": "boundary_loops",
    "nm.edg": "nonmanifold_edges",
    "nm.vtx": "nonmanifold_vertices",
    "dupl.": "duplicate_faces",
    "degen.": "degenerate_faces",
    "unref.": "unreferenced_vertices",
    "seams": "seam_edges",
    "T-jun.": "t_junctions",
    "confl.": "orientation_conflicts",
    "orient.": "orientable",
    "angle": "smallest_angle",
    "spread": "edge_spread",
}
LEGEND = (
    "comp.: components; Euler: Euler characteristic; loops: boundary loops; nm.edg, nm.vtx: non-manifold edges and "
    "vertices;\ndupl., degen.: duplicate and degenerate faces; unref.: vertices without faces; seams: open edges that "
    "lie on each other;\nT-jun.: vertices on the inside of open edges; confl.: neighbours turned the other way; "
    "orient.: orientable; angle: smallest, degrees;\nspread: longest over shortest edge; -: has no meaning here"
)


@dataclass(frozen=True)
class FileCheck:
    """The outcome for one file: its defects, or the error if it cannot be read.

    ``problems`` are those of the file, ``left`` those of the repaired one; ``left`` is None where nothing was written.
    """

    path: Path
    defects: Defects | None = None
    problems: tuple[str, ...] = ()
    error: str = ""
    repaired: Path | None = None
    changes: Changes | None = None
    left: tuple[str, ...] | None = None

    @property
    def status(self) -> int:
        """0 clean or repaired, 1 needs repair (or cannot be repaired), 2 unreadable."""
        return 2 if self.error else int(bool(self.problems if self.left is None else self.left))


def check_files(paths: list[Path], output: Path | None = None, isolated: Isolated = "drop") -> list[FileCheck]:
    """Check mesh files one by one, and write them repaired.

    Parameters
    ----------
    paths : list of Path
    output : Path, optional
        Where repaired meshes go: a file for one mesh, else a folder. Formats that cannot be written become PLY, which
        also keeps the number of each vertex and face in its file (``original_vertex``, ``original_face``).
    isolated : "drop" | "keep"
        Whether vertices without faces are a defect to remove.

    Raises
    ------
    InputError
        If repaired files cannot be written there. What is wrong with an input is in its :class:`FileCheck`.
    """
    targets = _targets(paths, output) if output else [None] * len(paths)
    return [_check(path, target, isolated) for path, target in zip(paths, targets, strict=True)]


def _targets(paths: list[Path], output: Path) -> list[Path | None]:
    if len(paths) == 1 and not output.is_dir():
        if output.suffix.lower().lstrip(".") not in save_formats():
            raise InputError(f"{output}: cannot be written; give an extension of {', '.join(save_formats())}")
        output.parent.mkdir(parents=True, exist_ok=True)
        return [output]
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; {len(paths)} repaired meshes need a folder")
    output.mkdir(parents=True, exist_ok=True)
    known = save_formats()
    names = [p.name if p.suffix.lower().lstrip(".") in known else f"{p.stem}.ply" for p in paths]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"{output}: several repaired meshes would be called {twice[0]}; repair each folder on its own")
    return [output / name for name in names]


def _check(path: Path, target: Path | None, isolated: Isolated) -> FileCheck:
    try:
        mesh = read_mesh(path)
        mesh.check_area()
    except InputError as error:
        return FileCheck(path, error=str(error))
    problems = (*_problems_of_file(mesh), *mesh.defects.problems(isolated == "drop"))
    result = FileCheck(path, mesh.defects, problems)
    if target is None:
        return result
    repaired = mesh.repair(isolated=isolated)
    save_mesh(_with_numbers(repaired), target)
    changes = repaired.origin.changes if repaired.origin else Changes()
    left = tuple(repaired.defects.problems(isolated == "drop"))
    return replace(result, repaired=target, changes=changes, left=left)


def _problems_of_file(mesh: TriangleMesh) -> list[str]:
    """What the reader had to leave out."""
    small = mesh.origin.changes.small_polygons if mesh.origin else 0
    return [f"{small} faces of fewer than three corners"] if small else []


def _with_numbers(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh with the number that each vertex and face had in the file as data."""
    if mesh.origin is None:
        return mesh
    vertex = {**mesh.vertex_data, "original_vertex": mesh.origin.vertex_from.astype(np.int32)}
    face = {**mesh.face_data, "original_face": mesh.origin.face_from.astype(np.int32)}
    return replace(mesh, vertex_data=vertex, face_data=face)


def as_json(checks: list[FileCheck]) -> str:
    """One object a file."""
    rows = []
    for check in checks:
        row: dict[str, object] = {"file": str(check.path), "status": check.status}
        if check.defects is None:
            row["error"] = check.error
        else:
            row |= {"defects": check.defects.as_dict(), "problems": list(check.problems)}
        if check.changes is not None:
            row |= {"repaired": str(check.repaired), "changes": asdict(check.changes), "left": list(check.left or ())}
        rows.append(row)
    return json.dumps(rows, indent=1, allow_nan=False)


def as_table(checks: list[FileCheck]) -> str:
    """A row of counts for each file, then in words what is wrong and what was done, and how many are clean."""
    shown = [c for c in checks if c.defects is not None]
    width = max([len("file"), *(len(str(c.path)) for c in shown)])
    rows = [list(_COLUMNS), *([_cell(getattr(c.defects, name)) for name in _COLUMNS.values()] for c in shown)]
    widths = [max(6, *(len(cell) for cell in column)) + 1 for column in zip(*rows, strict=True)]
    lines = [
        name.ljust(width) + "".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
        for name, row in zip(["file", *(str(c.path) for c in shown)], rows, strict=True)
    ]
    lines = [*lines, LEGEND, ""] if shown else []
    for check in checks:
        if check.error or check.problems:
            lines.append(check.error or f"{check.path}: {', '.join(check.problems)}")
        if check.changes is not None:
            rest = f"; left: {', '.join(check.left)}" if check.left else ""
            lines.append(f"{check.path}: written to {check.repaired}: {check.changes}{rest}")
    clean = sum(not (check.error or check.problems) for check in checks)
    lines.append(f"{clean} of {len(checks)} files clean")
    if any(check.status == 1 and check.left is None for check in checks):
        lines[-1] += "; --repair OUT writes the others mended"
    return "\n".join(lines)


def _cell(value: int | float | bool | None) -> str:
    if isinstance(value, float):
        # Three digits without an exponent: 27700, not 2.77e+04.
        return f"{float(f'{value:.3g}'):.10g}" if math.isfinite(value) else "inf"
    return {None: "-", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)
