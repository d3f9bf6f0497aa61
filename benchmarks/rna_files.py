"""Unpack RNA surfaces (Poulenard et al. 2019), decimated and packed as npz, to the layout of the original data set.

python benchmarks/rna_files.py PATH/rna_surfaces OUT -> OUT/off/*.off, OUT/labels/*.txt, OUT/train.txt, OUT/test.txt

PATH holds ``rna_dec8k_npz.tar.xz`` (an archive of npz files with ``v`` or ``vq, lo, scale``, ``f``, ``label``) and the
lists of the split. Labels run from -1 (no class of the alignment fits) to 258, as in the original.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def unpack(source: Path, target: Path) -> int:
    """Write all meshes and labels; the number of meshes."""
    for folder in ("off", "labels"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    count = 0
    with tarfile.open(source / "rna_dec8k_npz.tar.xz") as archive:
        for member in archive:
            if not member.name.endswith(".npz"):
                continue
            data = np.load(io.BytesIO(archive.extractfile(member).read()))  # type: ignore[union-attr]
            vertices = data["v"] if "v" in data else data["lo"] + data["scale"] * data["vq"]
            stem = Path(member.name).stem
            _write_off(target / "off" / f"{stem}.off", vertices, data["f"])
            np.savetxt(target / "labels" / f"{stem}.txt", data["label"], fmt="%d")
            count += 1
    for name in ("train.txt", "test.txt"):
        shutil.copyfile(source / name, target / name)
    return count


def _write_off(path: Path, vertices: NDArray, faces: NDArray) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(f"OFF\n{len(vertices)} {len(faces)} 0\n")
        np.savetxt(file, vertices, fmt="%.7g")
        np.savetxt(file, np.insert(faces.astype(np.int64), 0, 3, axis=1), fmt="%d")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of the archive and the lists")
    parser.add_argument("target", type=Path, help="folder to write to")
    given = parser.parse_args()
    print(f"{unpack(given.source, given.target)} meshes written to {given.target}")
