"""Networks trained on the upright Earth, tested on a turned one: Koeppen zones from annual means.

    python benchmarks/turned_earth.py --out turned.jsonl --maps turned_maps
    python benchmarks/turned_earth.py --out turned.jsonl --print --maps turned_maps --picture turned_earth.png

Exact symmetries of HEALPix (90 degrees about the axis, 180 degrees about x) only renumber the pixels; random rotations
go through bilinear regridding. The networks on the sphere have geodesic neighbourhoods. Inputs are scalars, or the
scalars with their gradients as tangent vectors, which are turned as vectors in space. Scores are those of the held-out
fold, at the places where it comes to lie.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from koeppen import INPUTS as SCALARS, Zones
from map_training import NETWORKS, Results, count_weights, train, zone_scores
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from meshconv import FieldType, HealpixSphere
from meshconv.geometry import Regridder
from meshconv.nn import Gradient

METHODS: dict[str, dict[str, Any]] = {
    "SphereUNet": {"channels": [8, 16, 24], "width": 64, "aggregation": "quadrature"},
    "SphereUNet, mean": {"channels": [8, 16, 24], "width": 64, "aggregation": "mean"},
    "SphereUNet, 8 neighbours": {"channels": [8, 16, 24], "width": 64, "aggregation": "mean"},
    "SpinUNet": {"channels": [10, 16], "width": 64, "lmax": 64},
    "PlanarUNet": {"channels": [16, 28, 40], "width": 64},
    "IsotropicUNet": {"channels": [24, 48, 64], "width": 64},
}
# Of the neighbourhoods, in widths of a pixel: about 22 neighbours. The means of cos 2 theta and sin 2 theta over a
# neighbourhood vary by 0.03 and 0.02 over the sphere, for the nearest 8 by 0.09 and 0.15: these stand as the shape of
# the pixels has them, which tells the latitude.
RADIUS = 2.7
INPUTS = ("scalars", "vectors")
RANDOM = 3


def turns() -> dict[str, np.ndarray]:
    """Rotation matrices by name."""
    exact = {f"{a} degrees about z": Rotation.from_euler("z", a, degrees=True).as_matrix() for a in (90, 180)}
    exact["180 degrees about x"] = Rotation.from_euler("x", 180, degrees=True).as_matrix()
    drawn = Rotation.random(RANDOM, random_state=0).as_matrix()
    return exact | {f"random {k}": matrix for k, matrix in enumerate(drawn)}


class SeenTurned(HealpixSphere):
    """The points and frames that come to lie on HEALPix' own when the sphere is turned."""

    def __init__(self, nside: int, turn: np.ndarray):
        super().__init__(nside)
        self.turn = turn

    @property
    def xyz(self) -> np.ndarray:
        return super().xyz @ self.turn

    @property
    def frames(self) -> np.ndarray:
        return super().frames @ self.turn


def turned(x: Tensor, kind: FieldType, regrid: Regridder) -> Tensor:
    """Scalars ``[V, n]`` and tangent vectors of the upright Earth, on the turned one."""
    parts = [regrid(x[:, kind.slice(0)].double().numpy().T).T]
    if kind.max_order:
        vectors = x[:, kind.slice(1)].double().numpy().reshape(len(x), 2, -1)
        parts += [regrid.vectors(vectors.transpose(2, 0, 1)).transpose(1, 2, 0).reshape(len(x), -1)]
    return torch.from_numpy(np.concatenate(parts, axis=1)).float()


def prepare(data: Zones, inputs: str) -> tuple[Tensor, FieldType]:
    """Normalised scalars ``[V, 4]``, for vectors with their gradients, of mean square 1 over the training pixels."""
    if inputs == "scalars":
        return data.x, data.in_type
    slope = Gradient(data.in_type)(data.x, data.hierarchy.levels[0]).unflatten(-1, (2, -1))
    size = slope[data.masks["train"]].square().sum(1).mean(0).sqrt()
    return torch.cat([data.x, (slope / size).flatten(-2)], dim=-1), FieldType("4x0 + 4x1")


def run(method: str, inputs: str, data: Zones, given: Any, seed: int, maps: Path | None) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, kind = prepare(data, inputs)
    sphere = HealpixSphere.from_pixel_count(len(x))
    network = NETWORKS[method.split(",")[0]](kind, data.num_classes, **METHODS[method])
    radius = None if "8" in method else RADIUS * math.sqrt(4 * math.pi / len(x))
    surface = sphere.hierarchy(len(METHODS[method]["channels"]), radius).to(torch.float32)

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return itertools.repeat((x[None], data.target[None], data.masks["train"][None]))

    seconds = train(network, surface, batches, nn.CrossEntropyLoss(), given.steps, given.rate)

    def zones(x: Tensor) -> Tensor:
        with torch.no_grad():
            return network(x[None], surface)[0].argmax(-1)

    test, classes = data.masks["test"], data.num_classes
    predicted = {"upright": zones(x)}
    scores = {"upright": zone_scores(predicted["upright"][test], data.target[test], classes)}
    for name, turn in turns().items():
        seen = SeenTurned(sphere.nside, turn)
        method_of = given.regridding if name.startswith("random") else "nearest"
        there = torch.from_numpy(sphere.locate(seen.xyz))  # the pixel of the upright Earth that comes to lie here
        predicted[name] = zones(turned(x, kind, Regridder(sphere, seen, method_of)))
        scores[name] = zone_scores(predicted[name][test[there]], data.target[there][test[there]], classes)
    if maps is not None:
        maps.mkdir(parents=True, exist_ok=True)
        kept = {k: v.numpy().astype(np.int8) for k, v in predicted.items()}
        np.savez_compressed(maps / f"{method}_{inputs}.npz", land=data.target.numpy() >= 0, **kept)
    return {"scores": scores, "seconds": seconds, "weights": count_weights(network)}


def table(results: Results, regridding: str) -> None:
    """Accuracy and mean IoU upright, and their loss in points on the rotated Earth, means over runs.

    Random rotations have three columns: the mean, the worst rotation, and the worst single run."""
    names = list(turns())
    exact = [k for k in names if not k.startswith("random")]
    random = "random rotations | worst rotation | worst run"
    print(f"| inputs, network | runs | upright: accuracy, mean IoU | {' | '.join(exact)} | {random} |")
    print("| --- " * (len(exact) + 6) + "|")
    for inputs, method in itertools.product(INPUTS, METHODS):
        rows = results.select(method=method, inputs=inputs, regridding=regridding)
        if not rows:
            continue
        pairs = {k: np.array([[r["scores"][k][m] for m in ("accuracy", "mean_iou")] for r in rows])
                 for k in ("upright", *names)}  # fmt: skip
        lost = {k: 100 * (pairs["upright"] - pairs[k]) for k in names}
        drawn = np.stack([lost[k] for k in names if k not in exact])  # [turns, runs, 2]
        cells = [*(lost[k].mean(0) for k in exact), drawn.mean((0, 1)), drawn.mean(1).max(0), drawn.max((0, 1))]
        upright = ", ".join(f"{v:.3f}" for v in pairs["upright"].mean(0))
        print(f"| {inputs}, `{method}` | {len(rows)} | {upright} | "
              f"{' | '.join(f'{a:.1f}, {b:.1f}' for a, b in cells)} |")  # fmt: skip


def picture(maps: Path, file: Path, names: list[str], turn: str = "random 0", inputs: str = "scalars") -> None:
    """Zones upright, and those of the turned Earth turned back, of two networks."""
    from matplotlib.figure import Figure

    from meshconv.viz import Categorical, draw_healpix, zone_colors

    figure = Figure(figsize=(13, 4.9), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, method in zip(axes, ("SphereUNet", "PlanarUNet"), strict=True):
        found = np.load(maps / f"{method}_{inputs}.npz")
        sphere = HealpixSphere.from_pixel_count(len(found["land"]))
        back = sphere.locate(sphere.xyz @ turns()[turn].T)  # where each pixel of the upright Earth has gone
        upright, after = (np.where(found["land"], z, -1) for z in (found["upright"], found[turn][back]))
        changed = (upright != after) & found["land"]
        share = f"changed: {100 * changed.sum() / found['land'].sum():.1f} % of the land"
        titles = f"{method}, upright", "turned at random, answer turned back", share
        pictures = upright, after, np.where(found["land"], changed, -1)
        for ax, title, values in zip(row, titles, pictures, strict=True):
            colors = ["#d9dee3", "#c1121f"] if values is pictures[2] else zone_colors(names)
            draw_healpix(ax, values, colors=Categorical(colors))
            ax.set_title(title, fontsize=10)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of results, one line of JSON each")
    parser.add_argument("--maps", type=Path, help="folder for the predictions of the first fold and seed")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--inputs", nargs="*", default=list(INPUTS), choices=list(INPUTS))
    parser.add_argument("--folds", nargs="*", type=int, default=range(5))
    parser.add_argument("--seeds", nargs="*", type=int, default=range(3))
    parser.add_argument("--regridding", default="bilinear", choices=["bilinear", "nearest"], help="of random rotations")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--print", action="store_true", help="print the table of the results, run nothing")
    parser.add_argument("--picture", type=Path, help="draw the maps of --maps")
    given = parser.parse_args()
    results = Results(given.out)
    if not given.print:
        for seed, fold, inputs, method in itertools.product(given.seeds, given.folds, given.inputs, given.only):
            key = {"method": method, "inputs": inputs, "fold": fold, "seed": seed, "regridding": given.regridding}
            if not results.has(**key):
                data = Zones(SCALARS["annual"], fold, 2)
                maps = given.maps if fold == seed == 0 else None
                results.add(key | run(method, inputs, data, given, seed, maps))
    table(results, given.regridding)
    if given.picture:
        picture(given.maps, given.picture, Zones(SCALARS["annual"], 0, 1).class_names)


if __name__ == "__main__":
    main()
