"""Segmentation of bodies triangulated otherwise than in training: the table of docs/discretisation.md.

    python benchmarks/triangulations.py --tosca tosca_r.npz --output runs/triangulations
    python benchmarks/triangulations.py --output runs/triangulations --config OTHER.yaml --name other

Trained once with a configuration of segmentation, a network labels the vertices of other bodies, and of the same ones
in other triangulations:

given     as the file has them, about 5,000 vertices
half      of the faces, by quadric edge collapse
fifth     of the faces
fourfold  every face cut in four, on the same surface
uneven    one half of the body four times as fine, with T-junctions between
noise     Gaussian displacements of every coordinate, 0.3 % of the square root of the surface area

With TOSCA (remeshed; the archive of benchmarks/tosca_files.py) bodies are David, Michael and Victoria in all poses;
every third pose is for testing. Parts are bands of the geodesic distance from head, hands and feet on the first pose,
carried along the common points. Without it, bodies are generated: deformed balls with a head, arms and legs. Labels of
new vertices follow from distances (heights) interpolated to them. Numbers are per cent of the vertices; counts by true
and predicted part lie beside the checkpoint (``confusion_CASE.csv``): 0 is the trunk, then come head, hands and feet.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.transform import Rotation

from meshconv import TriangleMesh
from meshconv.cli import main as meshconv
from meshconv.datasets.generated import deform
from meshconv.geometry import simplify, surface_distances
from meshconv.io import save_mesh
from meshconv.io.meshes.load import read_mesh
from meshconv.train import Predictor

Labels = NDArray[np.int64]
PEOPLE = ("david", "michael", "victoria")
# Ends of the bands of head, hands and feet, in shares of the way to the middle of the body.
BANDS = ((0.45,), (0.25, 0.45, 0.7), (0.2, 0.45, 0.75))
PARTS = 1 + sum(map(len, BANDS))
CASES = ("given", "half", "fifth", "fourfold", "uneven", "noise")


def part_labels(near: NDArray) -> Labels:
    """Part of each point, from its relative distances ``[V, 3]`` to head, hands and feet; 0 is the trunk."""
    limb = (near / [bands[-1] for bands in BANDS]).argmin(axis=1)
    label, first = np.zeros(len(near), dtype=np.int64), 1
    for k, bands in enumerate(BANDS):
        place = np.searchsorted(bands, near[:, k])
        here = (limb == k) & (place < len(bands))
        label[here] = first + place[here]
        first += len(bands)
    return label


def template_distances(mesh: TriangleMesh) -> NDArray:
    """Distances ``[V, 3]`` to head, hands and feet of a standing person, over those from them to the middle."""

    def far(*sources: int) -> NDArray:
        return surface_distances(mesh, sources, nearest=40)

    ends = [int(far(0)[0].argmax())]
    distance = far(*ends)
    while len(ends) < 4:  # hands and feet, as left and right
        ends.append(int(distance.min(axis=0).argmax()))
        distance = np.concatenate([distance, far(ends[-1])])
    best = (-np.inf, 0, (0, 1), (2, 3))
    for pair in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        hands, feet = pair, tuple({0, 1, 2, 3} - set(pair))
        # The head is farthest from the feet, arms aside.
        trunk = distance[list(hands)].min(axis=0) > 0.4 * distance[hands[0], ends[hands[1]]]
        height = np.where(trunk, distance[list(feet)].min(axis=0), -np.inf)
        best = max(best, (height.max(), int(height.argmax()), hands, feet))
    _, head, hands, feet = best
    distance = np.concatenate([far(head), distance[[*hands, *feet]]])
    relative = distance / distance[:, distance.max(axis=0).argmin()][:, None]
    return np.stack([relative[0], relative[1:3].min(axis=0), relative[3:].min(axis=0)], axis=1)


def tosca_bodies(archive: Path) -> Iterator[tuple[str, bool, TriangleMesh, NDArray]]:
    """Name, whether it is for testing, mesh and relative distances of every body."""
    content = np.load(archive)
    for person in PEOPLE:
        names = {key.split("/")[1] for key in content.files if key.startswith(f"TOSCA_Isometric/{person}")}
        known = None
        for k, name in enumerate(sorted(names, key=lambda n: int(n.removeprefix(person)))):
            v, f, samples = (content[f"TOSCA_Isometric/{name}/{q}"] for q in ("v", "f", "corr"))
            mesh = TriangleMesh(v.astype(np.float64), f.astype(np.int64), name)
            if known is None:
                known = template_distances(mesh)[samples]
            yield name, k % 3 == 1, mesh, known[cKDTree(mesh.vertices[samples]).query(mesh.vertices)[1]]


def generated_bodies(count: int = 36, num_vertices: int = 4000) -> Iterator[tuple[str, bool, TriangleMesh, NDArray]]:
    """As :func:`tosca_bodies`: balls with a head, two arms and two legs, bent by a smooth map of space."""
    index = np.arange(num_vertices) + 0.5
    height, turn = 1 - 2 * index / num_vertices, np.pi * (1 + 5**0.5) * index
    ball = np.stack([*(np.sqrt(1 - height**2) * [np.cos(turn), np.sin(turn)]), height], axis=1)
    faces = ConvexHull(ball).simplices.astype(np.int64)
    limbs = np.array([[0, 0, 1], [1, 0, 0.3], [-1, 0, 0.3], [0.45, 0, -0.9], [-0.45, 0, -0.9]])
    for k in range(count):
        rng = np.random.default_rng([18, k])
        toward = limbs + 0.15 * rng.standard_normal(limbs.shape)
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        bump = np.exp((ball @ toward.T - 1) / (0.07 * rng.uniform(0.8, 1.2, 5)))
        size = [0.4, 0.9, 0.9, 1.1, 1.1] * rng.uniform(0.85, 1.15, 5)
        points = deform(ball * (1 + bump @ size)[:, None], rng) @ Rotation.random(None, rng).as_matrix()
        near = 1 - np.stack([bump[:, 0], bump[:, 1:3].max(axis=1), bump[:, 3:].max(axis=1)], axis=1)
        yield f"body{k}", k % 3 == 1, TriangleMesh(points, faces, f"body{k}").repair(), near


def other_triangulations(mesh: TriangleMesh, near: NDArray) -> dict[str, tuple[TriangleMesh, NDArray]]:
    """The body in all cases, with distances at the vertices."""
    carried = replace(mesh, vertex_data={"near": near})
    rng = np.random.default_rng(list(mesh.name.encode()))
    shaken = mesh.vertices + 0.003 * np.sqrt(mesh.area) * rng.standard_normal(mesh.vertices.shape)
    cases = {"given": carried, "noise": replace(carried, vertices=shaken)}
    for name, share in (("half", 0.5), ("fifth", 0.2)):
        cases[name] = simplify(carried.repair(), round(share * mesh.num_faces))
    every = np.ones(mesh.num_faces, bool)
    along = mesh.vertices[mesh.faces].mean(axis=1) @ rng.standard_normal(3)
    for name, chosen in (("fourfold", every), ("uneven", along > np.median(along))):
        cases[name] = cut_in_four(carried, chosen)
    return {name: (replace(m, origin=None), np.asarray(m.vertex_data["near"])) for name, m in cases.items()}


def cut_in_four(mesh: TriangleMesh, chosen: NDArray[np.bool_]) -> TriangleMesh:
    """The chosen faces cut in four at the middles of their edges; others keep their edges."""
    a, b, c = mesh.faces[chosen].T
    edges = np.sort(np.concatenate([np.stack(e, axis=1) for e in ((a, b), (b, c), (c, a))]), axis=1)
    once, place = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = (mesh.num_vertices + place.ravel()).reshape(3, -1)
    new = [np.stack(f, axis=1) for f in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    middle = {k: np.concatenate([v, np.asarray(v)[once].mean(axis=1)]) for k, v in mesh.vertex_data.items()}
    vertices = np.concatenate([mesh.vertices, mesh.vertices[once].mean(axis=1)])
    return TriangleMesh(vertices, np.concatenate([mesh.faces[~chosen], *new]), mesh.name, middle)


def write_bodies(folder: Path, bodies: Iterator, labels: Callable[[NDArray], Labels]) -> None:
    """``training/train|test/NAME.ply`` with labels as attribute, and ``CASE/NAME.ply`` of the bodies for testing."""
    if (folder / "complete").exists():
        return
    for name, test, mesh, near in bodies:
        part = folder / "training" / ("test" if test else "train")
        for path in (part, *(folder / case for case in CASES)):
            path.mkdir(parents=True, exist_ok=True)
        save_mesh(replace(mesh, vertex_data={"label": labels(near).astype(np.int32)}), part / f"{name}.ply")
        for case, (other, there) in other_triangulations(mesh, near).items() if test else ():
            data = {"label": labels(there).astype(np.int32)}
            save_mesh(replace(other, vertex_data=data, face_data={}), folder / case / f"{name}.ply")
    (folder / "complete").touch()


def accuracy(checkpoint: Path, folder: Path) -> float:
    """Per cent of the vertices of all files, as ``meshconv predict`` labels them; counts beside the checkpoint."""
    paths = sorted(folder.glob("*.ply"))
    counts = np.zeros((PARTS, PARTS), dtype=int)
    for path, result in zip(paths, Predictor(checkpoint, device="cpu")(paths, strict=True), strict=True):
        np.add.at(counts, (np.asarray(read_mesh(path).vertex_data["label"]), result.labels), 1)
    np.savetxt(checkpoint.parent / f"confusion_{folder.name}.csv", counts, "%d", ",")
    return 100 * counts.trace() / counts.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tosca", type=Path, help="tosca_r.npz; without it bodies are generated")
    parser.add_argument("--config", default="segment")
    parser.add_argument("--name", default="segment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--output", type=Path, default=Path("runs/triangulations"))
    given, more = parser.parse_known_args()
    torch.set_num_threads(1)
    folder = given.output / ("tosca" if given.tosca else "generated")
    write_bodies(folder, tosca_bodies(given.tosca) if given.tosca else generated_bodies(), part_labels)
    name = f"{given.name}_{given.seed}"
    checkpoint = folder / "runs" / name / "last.ckpt"
    start = time.process_time()
    if not checkpoint.exists():
        arguments = ["fit", "--config", given.config, "--data.init_args.root", str(folder / "training"), "--runs"]
        arguments += [str(folder / "runs"), "--name", name, "--seed_everything", str(given.seed)]
        arguments += ["--trainer.max_epochs", str(given.epochs), "--data.init_args.val_fraction", "0", *more]
        if meshconv(arguments):
            raise SystemExit(2)
    row = {"name": name, "epochs": given.epochs, "seconds": round(time.process_time() - start)}
    row |= {case: round(accuracy(checkpoint, folder / case), 2) for case in CASES}
    print(json.dumps(row), flush=True)
    with (folder / "table.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    print("| name | epochs | seconds | " + " | ".join(CASES) + " |")
    for line in (folder / "table.jsonl").read_text().splitlines():
        print("| " + " | ".join(str(v) for v in json.loads(line).values()) + " |")


if __name__ == "__main__":
    main()
