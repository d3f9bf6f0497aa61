"""Time and memory of whole networks as the configurations have them, beside other people's of as many weights.

    python benchmarks/networks.py                                          # ours, and peers that are installed
    python benchmarks/networks.py --diffusion_net PATH --gem_cnn PATH      # and those of clones
    python benchmarks/networks.py --only ShapeUNet "nside 64" --repeats 5  # rows whose case or network has these words
    python benchmarks/networks.py --large                                  # and nside 256

Each row has a process of its own. A training step is forward pass, cross-entropy, backward pass and AdamW; a
prediction is one forward pass in eval mode without gradients. Seconds are processor time, the least of the repeats;
preparation is from the mesh, or the grid, to what the network takes. Memory is the peak of each over what the process
held with surface and network built; training includes gradients and the optimiser's moments. The last line is what the
machine can do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import harmonic_networks
import network_entries
from entries import asked_for
from machine_peak import described, machine_peak

PEERS = {
    "DiffusionNet": "as published: 4 blocks, 128 eigenfunctions, 16 heat kernel signatures; one mesh after another",
    "GEM-CNN": "4 of its residual blocks, as published, on our graph; not checkpointed, which its experiments do",
    "GMMConv": "torch-geometric's: 4 residual blocks of two with 3 Gaussians each, on the finest graph; no frames",
    "PlanarUNet": "3 x 3 convolutions on a latitude-longitude grid of the spacing at the equator, as many levels",
    "torch-harmonics": "LocalSphericalNeuralOperator, 4 local blocks at the resolution of its grid; no levels",
}


@dataclass(frozen=True)
class Case:
    """A configuration that ships, a size, and networks: ours first."""

    name: str
    config: str
    size: int
    networks: tuple[str, ...]
    large: bool = False


MAPS = ("SphereUNet", "PlanarUNet", "torch-harmonics")
CASES = (
    Case("classify, 16 generated meshes", "classify", 16, ("ShapeClassifier", "GEM-CNN", "DiffusionNet")),
    Case("segment, 10,000 vertices", "segment", 10_000, ("ShapeUNet", "DiffusionNet", "GMMConv")),
    Case("segment, 100,000 vertices", "segment", 100_000, ("ShapeUNet", "DiffusionNet")),
    Case("sphere_maps, one map of nside 64", "sphere_maps", 64, MAPS),
    Case("sphere_maps, one map of nside 256", "sphere_maps", 256, MAPS, large=True),
)


def chosen(given: argparse.Namespace) -> list[tuple[Case, str]]:
    """Case and network of the rows that were asked for and can be measured here."""
    missing = {
        "DiffusionNet": not given.diffusion_net,
        "GEM-CNN": not given.gem_cnn,
        "GMMConv": find_spec("torch_geometric") is None,
        "torch-harmonics": not harmonic_networks.AVAILABLE,
    }
    pairs = [(case, name) for case in CASES if given.large or not case.large for name in case.networks]
    return [(case, name) for case, name in pairs if not missing.get(name) and asked_for(given.only, case.name, name)]


def main() -> None:
    peers = "\n".join(f"  {name:15} {what}" for name, what in PEERS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\npeers:\n{peers}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--diffusion_net", metavar="PATH", help="clone of nmwsharp/diffusion-net")
    parser.add_argument("--gem_cnn", metavar="PATH", help="folder of a GEM-CNN checkout (needs torch-geometric)")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="rows whose case or network contains one of these")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="also nside 256")
    given = parser.parse_args()
    print("| case | network | points | weights | training step, s | prediction, s | extra MB, training | prediction "
          "| preparation, s (eigenvectors) | training / ours |")  # fmt: skip
    print("| --- " * 10 + "|", flush=True)
    steps: dict[str, float] = {}
    for case, network in chosen(given):
        order = {"config": case.config, "size": case.size, "network": network, **vars(given)}
        command = [sys.executable, str(Path(network_entries.__file__)), json.dumps(order)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            words = (run.stderr.strip().splitlines() or [f"ended with {run.returncode}"])[-1]
            print(f"| {case.name} | {network} | not measured: {words} |" + " |" * 7, flush=True)
            continue
        row = json.loads(run.stdout.splitlines()[-1])
        if network == case.networks[0]:
            steps[case.name] = row["training"]
        ratio = f"{row['training'] / steps[case.name]:.2f}" if case.name in steps else ""
        before = "of ours" if row["preparation"] is None else f"{row['preparation']:.2f}"
        before += "" if row["eigenvectors"] is None else f" ({row['eigenvectors']:.2f})"
        numbers = [row["points"], row["weights"]], [row["training_mb"], row["prediction_mb"]]
        cells = [*(f"{n:,}" for n in numbers[0]), f"{row['training']:.3f}", f"{row['prediction']:.3f}",
                 *(f"{n:.0f}" for n in numbers[1]), before, ratio]  # fmt: skip
        print(f"| {case.name} | {network} | {' | '.join(cells)} |", flush=True)
    print(f"\n{described(machine_peak(given.threads), given.threads)}")


if __name__ == "__main__":
    main()
