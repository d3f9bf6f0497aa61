"""Koeppen zones over the five spatial folds: networks with and without neighbours, and a random forest per pixel.

    python benchmarks/koeppen.py --out koeppen.jsonl            # all; hours. Stopped, it goes on where it was
    python benchmarks/koeppen.py --out koeppen.jsonl --only SphereUNet --inputs annual --seeds 0
    python benchmarks/koeppen.py --out koeppen.jsonl --print    # the tables of docs/climate.md

Each is trained on 14 zones; the 5 main classes (A to E, the first letters of the zones) are scored with the same
networks, by the summed probabilities of the zones of a class. All networks see the land and ``--margin`` pixels around
it, but the planar and the spin-weighted one the whole sphere. The forest needs scikit-learn. ``--validation`` scores
a fifth of the training blocks, held out to select options.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from map_training import NETWORKS, Results, count_weights, train, zone_scores
from torch import Tensor, nn

from meshconv import FieldType, HealpixSphere
from meshconv.datasets import SphereMaps
from meshconv.datasets.maps.domain import widened
from meshconv.shipped import find_config

SHIPPED = yaml.safe_load(find_config("climate_koeppen").read_text())["data"]["init_args"]
MONTHS = {"month": [1, 7]}
INPUTS: dict[str, list[Any]] = {
    "annual": SHIPPED["scalars"],
    "january+july": [
        {"name": "t2m", "select": MONTHS},
        {"name": "tp", "select": MONTHS, "function": "log1p"},
    ],
}
METHODS: dict[str, dict[str, Any]] = {
    "forest": {},
    "PixelwiseNetwork": {"width": 128},
    "IsotropicUNet": {"channels": [48, 72]},
    "PlanarUNet": {"channels": [28, 40]},
    "SphereUNet": {"channels": [16, 24], "aggregation": "quadrature"},
    # The direction to the north as an input, which the map of the planar network implies; with it comes the latitude.
    "SphereUNet+north": {"channels": [16, 24], "north": True, "aggregation": "quadrature"},
    "SphereUNet, 8 neighbours": {"channels": [16, 24], "aggregation": "mean"},
    "SphereUNet+north, 8 neighbours": {"channels": [16, 24], "north": True, "aggregation": "mean"},
    "SpinUNet": {"channels": [10, 16], "lmax": 64},
    "SpinUNet+north": {"channels": [10, 16], "lmax": 64, "north": True},
    "PixelwiseNetwork+latitude": {"width": 128},
    "forest+latitude": {},
}


class Zones:
    """The data that ships, as the configuration ``climate_koeppen`` has them but for what is given; the whole sphere.

    Attributes
    ----------
    x : Tensor [V, n]
        Normalised inputs.
    target : int64 Tensor [V]
        Zone, -1 in the sea.
    masks : dict of bool Tensor [V]
        Land for ``train``, ``val`` and ``test``.
    """

    def __init__(
        self,
        scalars: Sequence[Any],
        fold: int,
        num_levels: int,
        val_fraction: float = 0.0,
        seed: int = 0,
        radius: float | None = None,
    ):
        splits = {"variable": "fold", "test": fold, "val_fraction": val_fraction, "seed": seed}
        given = {"scalars": scalars, "splits": splits, "num_levels": num_levels, "radius": radius, "domain": None}
        data = SphereMaps(**(SHIPPED | given))
        self.x, self.target, _ = data.sample(0, "train")
        self.masks = {split: data.sample(0, split)[2] for split in ("train", "val", "test")}
        self.class_names, self.in_type, self.hierarchy = data.class_names, data.in_type, data.hierarchy

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def forest(data: Zones, split: str, seed: int) -> Tensor:
    """Probabilities of the zones at the pixels of ``split``."""
    from sklearn.ensemble import RandomForestClassifier

    train_mask, mask = data.masks["train"], data.masks[split]
    model = RandomForestClassifier(200, random_state=seed)
    model.fit(data.x[train_mask].numpy(), data.target[train_mask].numpy())
    probability = torch.zeros(int(mask.sum()), data.num_classes, dtype=torch.float64)
    probability[:, model.classes_] = torch.from_numpy(model.predict_proba(data.x[mask].numpy()))
    return probability


def scores(probability: Tensor, target: Tensor, zones: list[str]) -> dict[str, float]:
    """Of the zones, and of the main classes."""
    letters = sorted({zone[0] for zone in zones})
    main_of = torch.tensor([letters.index(zone[0]) for zone in zones])
    main = torch.zeros(len(probability), len(letters), dtype=probability.dtype).index_add_(1, main_of, probability)
    found = zone_scores(probability.argmax(1), target, len(zones))
    merged = zone_scores(main.argmax(1), main_of[target], len(letters))
    return found | {f"main_{name}": value for name, value in merged.items()}


def run(method: str, options: dict[str, Any], data: Zones, split: str, given: Any, seed: int) -> dict:
    """One training: scores on the pixels of ``split``."""
    torch.manual_seed(seed)
    mask, names = data.masks[split], data.class_names
    latitude = data.hierarchy.levels[0].positions[:, 2:]  # its sine
    if method.endswith("+latitude"):
        data.x = torch.cat([data.x, latitude], dim=-1)
    if method.startswith("forest"):
        return scores(forest(data, split, seed), data.target[mask], names)
    surface, kind = data.hierarchy, str(FieldType.from_multiplicities([data.x.shape[1]]))
    near = torch.ones_like(mask)
    name = re.split("[+,]", method)[0]
    if name not in ("PlanarUNet", "SpinUNet"):
        sphere = HealpixSphere.from_pixel_count(len(mask))
        near = torch.from_numpy(widened((data.target >= 0).numpy(), sphere, given.margin))
        surface = surface.subset(near)
    x, target, learnt, mask = (t[near] for t in (data.x, data.target, data.masks["train"], mask))
    network = NETWORKS[name](kind, len(names), **options)

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return itertools.repeat((x[None], target[None], learnt[None]))

    loss = nn.CrossEntropyLoss()
    seconds = train(network, surface, batches, loss, given.steps, given.rate, given.decay, given.noise)
    with torch.no_grad():
        probability = network(x[None], surface)[0, mask].softmax(-1)
    return scores(probability, target[mask], names) | {"seconds": seconds, "weights": count_weights(network)}


def tables(results: Results) -> None:
    """Mean over the folds; spread: standard deviation over the seeds of that mean, and over the folds."""
    for inputs, (title, prefix) in itertools.product(INPUTS, (("14 zones", ""), ("5 main classes", "main_"))):
        lines = []
        for method in dict.fromkeys(row["method"] for row in results.rows):
            rows = results.select(inputs=inputs, method=method, split="test")
            by_seed = [[r for r in rows if r["seed"] == s] for s in sorted({r["seed"] for r in rows})]
            full = [sorted(part, key=lambda r: r["fold"]) for part in by_seed if len(part) == 5]
            if full:
                acc, iou = (
                    np.array([[r[prefix + k] for r in part] for part in full]) for k in ("accuracy", "mean_iou")
                )
                seconds = np.mean([r.get("seconds", np.nan) for r in rows])
                lines.append(f"| {method} | {rows[0].get('weights', '')} | {acc.mean():.3f} | {iou.mean():.3f} "
                             f"| {iou.mean(1).std():.3f} | {iou.mean(0).std():.3f} | {len(full)} "
                             f"| {seconds:.0f} |")  # fmt: skip
        if lines:
            print(f"\n{inputs}, {title}\n")
            print("| method | weights | accuracy | mean IoU | over seeds | over folds | seeds | seconds |")
            print("\n".join(["| --- " * 8 + "|", *lines]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of results, one line of JSON each")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--inputs", nargs="*", default=list(INPUTS), choices=list(INPUTS))
    parser.add_argument("--folds", nargs="*", type=int, default=range(5))
    parser.add_argument("--seeds", nargs="*", type=int, default=range(3))
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--decay", type=float, default=1e-2)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--margin", type=int, default=3, help="pixels of sea around the land")
    parser.add_argument("--radius", type=float, default=SHIPPED["radius"], help="pixels, of discs of quadrature")
    parser.add_argument("--validation", action="store_true", help="score blocks of the training folds")
    parser.add_argument("--options", type=ast.literal_eval, default={}, help="instead of the methods' own, for tuning")
    parser.add_argument("--print", action="store_true", help="print tables of the results, run nothing")
    given = parser.parse_args()
    results = Results(given.out)
    if given.print:
        tables(results)
        return
    split, held = ("val", 0.2) if given.validation else ("test", 0.0)
    for seed, inputs, method, fold in itertools.product(given.seeds, given.inputs, given.only, given.folds):
        key = {"inputs": inputs, "method": method, "seed": seed, "fold": fold, "split": split}
        options = METHODS[method] | given.options
        if given.validation:
            schedule = ("steps", "rate", "decay", "noise", "margin", "radius")
            key |= {"options": options} | {k: getattr(given, k) for k in schedule}
        if not results.has(**key):
            levels = len(options.get("channels", [1]))
            radius = given.radius if options.get("aggregation") == "quadrature" else None
            data = Zones(INPUTS[inputs], fold, levels, held, seed=fold, radius=radius)
            results.add(key | run(method, options, data, split, given, seed))


if __name__ == "__main__":
    main()
