"""The limits of this machine, GFLOP/s and GB/s of float32, by machine_peak.cpp, which is compiled at run time.

    python benchmarks/machine_peak.py --threads 2
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple


class Peak(NamedTuple):
    """Multiply-adds, counted as two operations each, and the triad's bandwidth; of processor time."""

    gflops: float
    gbytes: float

    def __str__(self) -> str:
        return f"{self.gflops:.0f} GFLOP/s of multiply-adds, {self.gbytes:.1f} GB/s of memory"


def machine_peak(threads: int) -> Peak | None:
    """None where there is no compiler, or it fails."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return None
    source = Path(__file__).with_suffix(".cpp")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "machine_peak")
        command = [compiler, "-O3", "-march=native", "-std=c++17", "-pthread", str(source), "-o", program]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        words = subprocess.run([program, str(threads)], capture_output=True, text=True, check=True).stdout.split()
    return Peak(*map(float, words))


def described(peak: Peak | None, threads: int) -> str:
    return f"this machine, {threads} thread(s): {peak or 'no C++ compiler (CXX or g++), so no limits'}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print(described(machine_peak(given.threads), given.threads))
