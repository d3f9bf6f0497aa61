"""Time and memory of one gauge convolution, beside its limit, its peers and its torch reference.

    python benchmarks/gauge_conv.py                                   # meshconv and the limit
    python benchmarks/gauge_conv.py --gem_cnn PATH --escnn            # and peers that are installed
    python benchmarks/gauge_conv.py --csv now.csv --compare old.csv   # keep a table, compare with one

The limit is the time of the bare dense products: torch's own matrix products of the same sizes in blocks that stay in
cache, on the same machine in the same run; forward + backward does three times as many. Every entry runs in a process
of its own: seconds are the best of several repeats, memory is the peak over what the process held before.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import peers


@dataclass(frozen=True)
class Case:
    """One row: a surface, and a layer from and to ``channels`` fields of each order up to ``max_order``."""

    name: str
    surface: str  # "icosphere LEVEL", "icosphere LEVEL two rings", "healpix NSIDE"
    channels: int
    max_order: int
    rings: int = 2
    peers: tuple[str, ...] = ("meshconv", "limit", "gem_cnn", "escnn")
    repeats: int = 5


CASES = (
    Case("40,962 vertices, one ring, 64 x orders 0-2", "icosphere 6", 64, 2),
    Case("40,962 vertices, one ring, 16 x orders 0-2", "icosphere 6", 16, 2),
    Case("40,962 vertices, two rings, 64 x orders 0-2", "icosphere 6 two rings", 64, 2, repeats=3),
    Case("HEALPix nside 64, 16 x orders 0-1", "healpix 64", 16, 1, peers=("meshconv", "limit")),
    Case("HEALPix nside 256, 16 x orders 0-1", "healpix 256", 16, 1, peers=("meshconv", "limit"), repeats=3),
)


def measure(case: Case, peer: str, gem_cnn: str | None, threads: int) -> dict[str, float] | None:
    """Run one entry in a process of its own; None, with its last words, if it fails."""
    order = {"case": asdict(case), "peer": peer, "gem_cnn": gem_cnn, "threads": threads}
    command = [sys.executable, str(Path(peers.__file__)), json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{case.name:44} {peer:10} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gem_cnn", help="folder of a GEM-CNN checkout (needs torch-geometric)")
    parser.add_argument("--escnn", action="store_true", help="time escnn's planar 3x3 convolution of the same width")
    parser.add_argument("--reference", action="store_true", help="time the plain-torch reference")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="write the table here")
    parser.add_argument("--compare", type=Path, help="a table to compare with")
    given = parser.parse_args()
    wanted = {"meshconv", "limit"} | ({"gem_cnn"} if given.gem_cnn else set()) | ({"escnn"} if given.escnn else set())
    before = {}
    if given.compare:
        before = {(r["case"], r["peer"]): r for r in csv.DictReader(given.compare.open())}
    rows = []
    print(f"{'case':44} {'':10} forward  + backward   extra MB   time / meshconv")
    for case in CASES:
        names = [p for p in case.peers if p in wanted] + (["reference"] if given.reference else [])
        ours = None
        for peer in names:
            found = measure(case, peer, given.gem_cnn, given.threads)
            if found is None:
                continue
            ours = ours or found
            row = {"case": case.name, "peer": peer, **found}
            rows.append(row)
            line = f"{case.name:44} {peer:10} {found['forward']:7.3f} {found['both']:11.3f} {found['extra_mb']:10.0f}"
            line += f" {found['both'] / ours['both']:11.2f}x"
            old = before.get((case.name, peer))
            print(line + (f"   before {float(old['both']):.3f}" if old else ""), flush=True)
    if given.csv:
        with given.csv.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
