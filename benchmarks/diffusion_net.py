"""DiffusionNet (Sharp et al. 2022) on the bodies of benchmarks/triangulations.py, trained on the same meshes.

    git clone https://github.com/nmwsharp/diffusion-net
    python benchmarks/diffusion_net.py diffusion-net --bodies runs/triangulations/tosca

Network and operators are those of the clone: 4 blocks of 128 channels on 16 heat kernel signatures, 128 eigenfunctions,
cotangent Laplacian (written out here, in place of the package potpourri3d that the clone takes it from). Adam with one
cycle up to a rate of 0.003, one mesh a step, no variants. Prints per cent of the vertices of each case.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from torch import Tensor
from triangulations import CASES

from meshconv.io.meshes.load import read_mesh

WIDTH, BLOCKS, EIGENFUNCTIONS, SIGNATURES = 128, 4, 128, 16


def cotan_laplacian(vertices: NDArray, faces: NDArray, denom_eps: float = 0.0) -> csc_matrix:
    """Positive semidefinite ``[V, V]``."""
    rows, columns, values = [], [], []
    for k in range(3):
        at, i, j = (faces[:, (k + n) % 3] for n in range(3))
        a, b = vertices[i] - vertices[at], vertices[j] - vertices[at]
        weight = 0.5 * (a * b).sum(-1) / (np.linalg.norm(np.cross(a, b), axis=-1) + denom_eps)
        rows += [i, j, i, j]
        columns += [j, i, i, j]
        values += [-weight, -weight, weight, weight]
    place = np.concatenate(rows), np.concatenate(columns)
    return csc_matrix((np.concatenate(values), place), shape=(len(vertices), len(vertices)))


def vertex_areas(vertices: NDArray, faces: NDArray) -> NDArray:
    """A third of the area of the faces around each vertex."""
    corner = vertices[faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=-1) / 2
    return np.bincount(faces.ravel(), np.repeat(area / 3, 3), len(vertices))


def load(clone: Path) -> Any:
    """The package of the clone."""
    needed: Any = types.ModuleType("potpourri3d")
    needed.cotan_laplacian, needed.vertex_areas = cotan_laplacian, vertex_areas
    sys.modules["potpourri3d"] = needed
    sys.path.insert(0, str(clone / "src"))
    sys.modules.pop("diffusion_net", None)  # this script, where another one imports it
    return importlib.import_module("diffusion_net")


def samples(package: Any, folder: Path, kept: Path) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Arguments of the network, and labels, of every mesh in a folder."""
    for path in sorted(folder.glob("*.ply")):
        place = kept / f"{folder.name}_{path.stem}.pt"
        if not place.exists():
            mesh = read_mesh(path)
            used = np.unique(mesh.faces)
            number = np.zeros(mesh.num_vertices, dtype=np.int64)
            number[used] = np.arange(len(used))
            points = torch.from_numpy(mesh.vertices[used]).float()
            points = package.geometry.normalize_positions(points)
            faces = torch.from_numpy(number[mesh.faces])
            _, mass, _, values, vectors, x, y = package.geometry.compute_operators(points, faces, EIGENFUNCTIONS)
            signature = package.geometry.compute_hks_autoscale(values, vectors, SIGNATURES)
            given = {"x_in": signature, "mass": mass, "evals": values, "evecs": vectors, "gradX": x, "gradY": y}
            label = torch.from_numpy(np.asarray(mesh.vertex_data["label"])[used]).long()
            place.parent.mkdir(parents=True, exist_ok=True)
            torch.save((given, label), place)
        yield torch.load(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--bodies", type=Path, required=True, help="what benchmarks/triangulations.py wrote")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    package, kept = load(given.clone), given.bodies / "diffusion_net"
    training = list(samples(package, given.bodies / "training" / "train", kept))
    classes = 1 + max(int(label.max()) for _, label in training)
    torch.manual_seed(given.seed)
    network = package.layers.DiffusionNet(SIGNATURES, classes, C_width=WIDTH, N_block=BLOCKS)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=given.epochs * len(training))
    start = time.process_time()
    for epoch in range(given.epochs):
        total = 0.0
        for k in torch.randperm(len(training)).tolist():
            inputs, label = training[k]
            loss = torch.nn.functional.cross_entropy(network(**inputs), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / len(training)
        print(f"epoch {epoch}: loss {total:.3f}", flush=True)
    row: dict[str, Any] = {"name": f"DiffusionNet_{given.seed}", "epochs": given.epochs}
    row["seconds"] = round(time.process_time() - start)
    network.eval()
    for case in CASES:
        right = torch.zeros(2, dtype=torch.int64)
        for inputs, label in samples(package, given.bodies / case, kept):
            with torch.no_grad():
                right += torch.tensor([int((network(**inputs).argmax(-1) == label).sum()), len(label)])
        row[case] = round(100 * float(right[0] / right[1]), 2)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
