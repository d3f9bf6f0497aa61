"""Time and memory of the operators, beside their limits, their peers and their plain-torch references.

    python benchmarks/gauge_conv.py                                   # meshconv and the limits
    python benchmarks/gauge_conv.py --peers --gem_cnn PATH            # and every peer that is installed
    python benchmarks/gauge_conv.py --only fourier "nside 256"        # some rows, by words of the case or the peer
    python benchmarks/gauge_conv.py --csv now.csv --compare old.csv   # keep a table, compare with one
    python benchmarks/gauge_conv.py --device cuda --tf32              # larger surfaces, on a GPU

The limit of a convolution is the time of its bare dense products: torch's own matrix products of the same sizes in
blocks that stay in cache; the limit of transport and reduction is a copy of as many bytes as have to move. Both on the
same machine in the same run; forward + backward counts three times as much. `of peak` is operations of the convolution
(docs/benchmarks.md) over time and the multiply-adds that benchmarks/machine_peak.cpp measures on as many threads;
without a C++ compiler it is left out. On the CPU every entry has its own process: seconds are the best of several
repeats, `extra` is the peak of one forward + backward over what the process held before (features, weights, gradients
and graph), `peak` that of the whole process; on a GPU, of what torch allocated.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import entries
from machine_peak import described, machine_peak

PEERS = {
    "gem_cnn": "GEM-CNN's layer as published, self-loop weights of zero",
    "escnn": "3 x 3 convolution, or Fourier nonlinearity, of the same fields on a square grid of as many points",
    "pyg": "torch-geometric's GMMConv with as many Gaussians as moments; has no frames",
    "e3nn": "FullyConnectedTensorProduct with the edges' spherical harmonics, summed; fields of SO(3)",
}


@dataclass(frozen=True)
class Case:
    """One row: an operator, a surface, and ``channels`` fields of each order up to ``max_order``."""

    name: str
    surface: str  # "icosphere LEVEL", "icosphere LEVEL two rings", "healpix NSIDE"
    channels: int
    max_order: int
    peers: tuple[str, ...] = ()
    operator: str = "conv"
    num_radial: int = 2
    repeats: int = 5


CASES = (
    Case("40,962 vertices, one ring, 64 x orders 0-2", "icosphere 6", 64, 2, ("gem_cnn", "escnn")),
    Case("40,962 vertices, one ring, 16 x orders 0-2", "icosphere 6", 16, 2, ("gem_cnn", "escnn", "pyg", "e3nn")),
    Case("40,962 vertices, two rings, 64 x orders 0-2", "icosphere 6 two rings", 64, 2, ("gem_cnn",), repeats=3),
    Case("HEALPix nside 64, 16 x orders 0-1", "healpix 64", 16, 1),
    Case("HEALPix nside 256, 16 x orders 0-1", "healpix 256", 16, 1, repeats=3),
    Case("Fourier nonlinearity, 64 x orders 0-2", "icosphere 6", 64, 2, ("reference", "escnn"), "fourier"),
    Case("transported sum, 64 x orders 0-2", "icosphere 6", 64, 2, ("reference",), "sum"),
    Case("transported maximum, 64 x orders 0-2", "icosphere 6", 64, 2, ("reference",), "max"),
    Case("inner products, 64 x orders 0-2", "icosphere 6", 64, 2, ("reference",), "dot"),
    Case("softmax of 8 heads over neighbours", "icosphere 6", 64, 2, ("reference",), "softmax"),
)

GPU_CASES = (
    Case("655,362 vertices, one ring, 64 x orders 0-2", "icosphere 8", 64, 2, ("gem_cnn",), repeats=20),
    Case("655,362 vertices, one ring, 16 x orders 0-2", "icosphere 8", 16, 2, ("gem_cnn",), repeats=20),
    Case("Fourier nonlinearity, 64 x orders 0-2", "icosphere 8", 64, 2, ("reference",), "fourier", repeats=20),
    Case("transported sum, 64 x orders 0-2", "icosphere 8", 64, 2, ("reference",), "sum", repeats=20),
    Case("transported maximum, 64 x orders 0-2", "icosphere 8", 64, 2, (), "max", repeats=20),
    Case("inner products, 64 x orders 0-2", "icosphere 8", 64, 2, ("reference",), "dot", repeats=20),
    Case("softmax of 8 heads over neighbours", "icosphere 8", 64, 2, ("reference",), "softmax", repeats=20),
    Case("HEALPix nside 512, 32 x orders 0-1", "healpix 512", 32, 1, repeats=20),
)


def measure(wanted: list[tuple[Case, str]], given: argparse.Namespace) -> Iterator[tuple[Case, str, dict[str, float]]]:
    """Entries with their measures; those that fail are reported and left out.

    Memory of the CPU is that of a process, so each entry has its own; a GPU's is counted by torch, and one process
    builds each surface once.
    """
    groups = [wanted] if given.device == "cuda" else [[one] for one in wanted]
    for group in groups:
        order = {name: getattr(given, name) for name in ("gem_cnn", "threads", "device", "tf32")}
        order["entries"] = [(asdict(case), peer) for case, peer in group]
        command = [sys.executable, str(Path(entries.__file__)), json.dumps(order)]
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout is not None
            answered = 0
            for (case, peer), line in zip(group, process.stdout, strict=False):
                answered += 1
                found = json.loads(line)
                if "error" in found:
                    print(f"{case.name:44} {peer:10} not measured: {found['error']}", flush=True)
                else:
                    yield case, peer, found
            process.wait()
            errors.seek(0)
            words = (errors.read().strip().splitlines() or [f"ended with {process.returncode}"])[-1]
        for case, peer in group[answered:]:
            print(f"{case.name:44} {peer:10} not measured: {words}", flush=True)


def chosen(given: argparse.Namespace) -> list[tuple[Case, str]]:
    """Case and peer of the entries that were asked for."""
    wanted = []
    for case in CASES if given.device == "cpu" else GPU_CASES:
        peers = [p for p in case.peers if p in PEERS and (given.gem_cnn if p == "gem_cnn" else given.peers)]
        limit = ["limit"] if case.operator in ("conv", "sum", "max", "dot") else []
        slow = ["reference"] if given.reference or "reference" in case.peers else []
        for peer in ["meshconv", *limit, *slow, *peers]:
            if entries.asked_for(given.only, case.name, peer):
                wanted.append((case, peer))
    return wanted


def main() -> None:
    peers = "\n".join(f"  {name:8} {what}" for name, what in PEERS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\npeers:\n{peers}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gem_cnn", metavar="PATH", help="folder of a GEM-CNN checkout (needs torch-geometric)")
    parser.add_argument("--peers", action="store_true", help="also escnn, torch-geometric, e3nn if installed")
    parser.add_argument("--reference", action="store_true", help="also the plain-torch reference of the convolutions")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="entries whose case or peer contains one of these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--tf32", action="store_true", help="dense products of float32 in TF32, for everybody")
    parser.add_argument("--csv", type=Path, help="write the table here")
    parser.add_argument("--compare", type=Path, help="a table to compare with")
    given = parser.parse_args()
    before = {}
    if given.compare:
        before = {(r["case"], r["peer"]): r for r in csv.DictReader(given.compare.open())}
    rows: list[dict[str, object]] = []
    ours: dict[str, float] = {}
    limits = machine_peak(given.threads) if given.device == "cpu" else None
    if given.device == "cpu":
        print(described(limits, given.threads))
    of_peak = f"{'of peak':>8}" if limits else ""
    heads = f"{'forward':>8} {'+ back':>8} {'us/point':>9} {'extra MB':>9} {'peak MB':>8}  x meshconv{of_peak}"
    print(f"{'case':44} {'':10} {heads}")
    for case, peer, found in measure(chosen(given), given):
        if peer == "meshconv":
            ours[case.name] = found["both"]
        rows.append({"case": case.name, "peer": peer, **found})
        ratio = f"{found['both'] / ours[case.name]:10.2f}x" if case.name in ours else " " * 11
        if limits:
            ratio += f"{100 * found['gflops'] / limits.gflops:6.0f} %" if found["gflops"] else " " * 8
        old = before.get((case.name, peer))
        change = f"   before {float(old['both']):.4f}, {found['both'] / float(old['both']):.2f}x" if old else ""
        print(
            f"{case.name:44} {peer:10} {found['forward']:8.4f} {found['both']:8.4f} {found['us_point']:9.3f} "
            f"{found['extra_mb']:9.0f} {found['peak_mb']:8.0f} {ratio}{change}",
            flush=True,
        )
    if given.csv and rows:
        with given.csv.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
