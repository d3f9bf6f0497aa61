"""Pressure and velocity on new bodies, learned by networks with directions, by distances alone, and point by point.

    meshconv generate potential_flow ROOT --level 2 --train 200 --test 50
    python benchmarks/potential_flow_training.py ROOT --network field         # FieldUNet
    python benchmarks/potential_flow_training.py ROOT --network isotropic     # distances, and coordinates as inputs
    python benchmarks/potential_flow_training.py ROOT --network pointwise     # no neighbours, coordinates as inputs

Each prints a row: network, seed, parameters, relative L2 errors of pressure and velocity over all test vertices as they
are, and turned at random with their stream, and seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import FieldType, TriangleMesh, fit
from meshconv.geometry import Hierarchy
from meshconv.io import read_mesh
from meshconv.models import FieldUNet
from meshconv.models.invariants import InvariantLayers
from meshconv.nn import from_ambient, to_ambient


class CoordinateNetwork(nn.Module):
    """Scalars alone inside: vectors enter and leave as their three coordinates, beside position and normal."""

    def __init__(self, in_type: str, out_type: str, kind: str = "isotropic", width: int = 128):
        super().__init__()
        self.in_type, self.kind, self.num_levels = FieldType(in_type), kind, 3
        count = self.in_type.multiplicities
        scalars = FieldType.from_multiplicities([count[0] + 3 * count[1] + sum(count[2:]) + 6])
        if kind == "isotropic":
            # As many numbers a point as fields of orders 0 and 1 have.
            self.body: nn.Module = FieldUNet(scalars, "4x0", (48, 96, 192), 0, width=width)
        else:
            self.body = InvariantLayers(scalars, width, 4)
            self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        graph, parts = surface.finest, self.in_type.split(x)
        vectors = to_ambient(parts[1], graph, f"{self.in_type.multiplicities[1]}x1").flatten(-2)
        lengths = [p.unflatten(-1, (2, -1)).norm(dim=-2) for m, p in parts.items() if m > 1]
        places = [graph.positions.to(x.dtype), graph.frames[:, 2].to(x.dtype)]
        seen = torch.cat([parts[0], vectors, *lengths, *places], dim=-1)
        y = self.body(seen, surface) if self.kind == "isotropic" else self.head(self.body(seen))
        return torch.cat([y[:, :1], from_ambient(y[:, None, 1:], graph, "1x1")], dim=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--network", choices=("field", "isotropic", "pointwise"), default="field")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    options = {"channels": [16, 32, 64], "max_order": 1} if args.network == "field" else {"kind": args.network}
    name = "FieldUNet" if args.network == "field" else "potential_flow_training.CoordinateNetwork"
    start = time.perf_counter()
    predict = fit("potential_flow", root=str(args.root), **{
        "model.init_args.network": name, "model.init_args.options": options, "trainer.max_epochs": args.epochs,
        "trainer.accelerator": "cpu", "seed_everything": args.seed, "trainer.enable_progress_bar": False,
    })  # fmt: skip
    seconds = time.perf_counter() - start
    rng, errors = np.random.default_rng(0), []
    for turned in (False, True):
        sums = np.zeros((2, 2))
        for path in sorted((args.root / "test").glob("*.vtp")):
            mesh = read_mesh(path)
            turn = Rotation.random(random_state=rng).as_matrix() if turned else np.eye(3)
            data = {key: v @ turn.T if v.ndim == 2 else v for key, v in mesh.vertex_data.items()}
            given = replace(mesh, vertices=mesh.vertices @ turn.T, vertex_data={"stream": data["stream"]}, origin=None)
            assert isinstance(given, TriangleMesh)
            found = predict(given).fields
            for k, key in enumerate(("cp", "velocity")):
                sums[k] += ((found[key] - data[key]) ** 2).sum(), (data[key] ** 2).sum()
        errors += [f"{100 * (error / size) ** 0.5:.1f} %" for error, size in sums]
    count = sum(p.numel() for p in predict.task.parameters())
    print(f"| {args.network} | {args.seed} | {count:,} | {' | '.join(errors)} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
