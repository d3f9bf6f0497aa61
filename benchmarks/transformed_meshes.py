"""Predict test meshes as they are, and turned, moved and scaled at random; compare mesh for mesh.

    python benchmarks/transformed_meshes.py runs/shrec11/last.ckpt shrec_16
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from meshconv.datasets.mesh_data import collate
from meshconv.datasets.mesh_folder import find_mesh_files, split_class
from meshconv.datasets.preparation import MeshSample, Preparation
from meshconv.geometry.mesh import TriangleMesh
from meshconv.io.meshes import load_mesh
from meshconv.train import load_task


def sample(mesh: TriangleMesh, label: int, how: Preparation) -> MeshSample:
    return MeshSample(*how.inputs(mesh), torch.tensor(label), mesh.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    task, rng = load_task(given.checkpoint), np.random.default_rng(given.seed)
    names, how = task.hparams["class_names"], Preparation.from_spec(task.hparams["spec"])
    results = {"as given": [], "transformed": []}
    labels = []
    for name, parts in find_mesh_files(given.root).items():
        for path in split_class(parts, 0.0, 0.0, random.Random(0))["test"]:
            mesh = load_mesh(path, how.on_defect)
            turn = Rotation.random(rng=rng).as_matrix()
            moved = mesh.vertices @ turn.T * np.exp(rng.uniform(-3, 3)) + rng.normal(size=3) * 10
            labels.append(names.index(name))
            for kind, vertices in (("as given", mesh.vertices), ("transformed", moved)):
                turned = TriangleMesh(vertices, mesh.faces, name=str(path))
                batch = collate([sample(turned, labels[-1], how)])
                with torch.no_grad():
                    results[kind].append(task(batch).softmax(-1)[0])
    target = torch.tensor(labels)
    given_p, moved_p = (torch.stack(results[k]) for k in ("as given", "transformed"))
    for kind, p in (("as given", given_p), ("transformed", moved_p)):
        print(f"{kind:12} accuracy {100 * (p.argmax(1) == target).float().mean():.2f} % of {len(target)} meshes")
    print(f"predicted class differs on {int((given_p.argmax(1) != moved_p.argmax(1)).sum())} meshes, "
          f"probabilities by at most {float((given_p - moved_p).abs().max()):.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
