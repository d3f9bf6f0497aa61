"""Unpack the remeshed TOSCA to the layout of its distribution: OFF meshes, 1-based .vts files, lists of test pairs.

    python benchmarks/tosca_files.py tosca_r.npz FOLDER

The archive holds ``<set>/<name>/v|f|corr|corrsym`` (0-based) and ``<set>/test_pairs``. Written are, in
``FOLDER/<set>/``, ``<name>.off``, ``corres/<name>.vts``, ``corres/<name>.sym.vts`` and ``test_pairs.txt``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from meshconv import TriangleMesh
from meshconv.io import save_mesh


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Write all sets; returns their folders."""
    content = np.load(archive)
    sets = sorted({key.split("/")[0] for key in content.files})
    for name in sets:
        (folder / name / "corres").mkdir(parents=True, exist_ok=True)
        pairs = content[f"{name}/test_pairs"]
        (folder / name / "test_pairs.txt").write_text("".join(f"{a} {b}\n" for a, b in pairs))
    for key in content.files:
        if not key.endswith("/v"):
            continue
        group, mesh, _ = key.split("/")
        vertices, faces = content[key].astype(np.float64), content[f"{group}/{mesh}/f"].astype(np.int64)
        save_mesh(TriangleMesh(vertices, faces), folder / group / f"{mesh}.off")
        for data, suffix in (("corr", ".vts"), ("corrsym", ".sym.vts")):
            if f"{group}/{mesh}/{data}" in content.files:
                samples = content[f"{group}/{mesh}/{data}"].astype(np.int64) + 1
                np.savetxt(folder / group / "corres" / f"{mesh}{suffix}", samples, fmt="%d")
    return [folder / name for name in sets]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    for path in unpack(given.archive, given.folder):
        print(path)
