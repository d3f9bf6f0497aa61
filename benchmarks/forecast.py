"""Forecasts of the shallow-water planet: networks of one size on the same data and schedule.

    meshconv generate shallow_water planet --days 20 --runs 24 --truncation 31
    meshconv generate shallow_water turned --days 20 --runs 4 --truncation 31 --axis 1 1 0.5 --seed 1
    meshconv generate shallow_water upright --days 20 --runs 4 --truncation 31 --seed 1
    python benchmarks/forecast.py planet --also turned upright --out forecast.jsonl   # stopped, it goes on where it was
    python benchmarks/forecast.py planet --out forecast.jsonl --print                 # the tables of docs/forecast.md

Each predicts the change over a step of 6 hours and is trained on that step alone; the last runs are the test: rollouts
from every fifth day. ``components`` takes the wind as two numbers, towards south and east, instead of as a vector;
``mean`` sums over the eight pixels around each with equal weights; ``four levels`` has one more than the others.
Planets of ``--also`` are for testing only: upright and turned are the same weather, once with its axis and Coriolis
parameter turned. Networks of torch-harmonics run where it is installed.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import harmonic_networks
import numpy as np
import torch
from harmonic_networks import HarmonicNetwork
from map_training import Results, count_weights
from torch import Tensor, nn

from meshconv import FieldType, Hierarchy
from meshconv.datasets import SphereMaps
from meshconv.models import FieldUNet, IsotropicUNet, PixelwiseNetwork, PlanarUNet
from meshconv.train import ForecastTask
from meshconv.train.metrics.forecast_errors import ForecastErrors

TARGETS = {"scalars": ["h"], "vectors": [["u", "v"]], "lead": "6h", "steps": 1, "test_steps": 20}
RATE = 4e-3
# Steps of a rollout in the last part of a training, with --rolled.
ROLLED_STEPS = 2
FIELDS = {"channels": [12, 16, 24], "max_order": 1, "context": 0, "width": 48}
QUADRATURE = {"aggregation": "quadrature"}
# Options that give about 90,000 weights.
METHODS: dict[str, dict[str, Any]] = {
    "FieldUNet": FIELDS | QUADRATURE,
    "FieldUNet, components": FIELDS | QUADRATURE,
    "FieldUNet, mean": FIELDS,
    "FieldUNet, four levels": FIELDS | QUADRATURE | {"channels": [10, 12, 16, 18]},
    "PlanarUNet": {"channels": [20, 28, 40], "width": 48, "dropout": 0.0},
    "PlanarUNet, four levels": {"channels": [14, 20, 28, 32], "width": 48, "dropout": 0.0},
    "IsotropicUNet": {"channels": [32, 48, 64], "width": 48, "dropout": 0.0},
    "PixelwiseNetwork": {"width": 208},
    "SphericalFourierNeuralOperator": {"embed_dim": 28, "num_layers": 4, "scale_factor": 2},
    "LocalSphericalNeuralOperator": {"embed_dim": 32, "num_layers": 4, "scale_factor": 2},
}
# Neighbours: 22 within 2.7 spacings, or the eight pixels around.
RADII = {name: 2.7 if options.get("aggregation") == "quadrature" else None for name, options in METHODS.items()}


def levels_of(method: str) -> int:
    return len(METHODS[method].get("channels", [0] * 3))


class Components(nn.Module):
    """A network of numbers in the place of one of fields: its outputs are components towards south and east.

    On HEALPix these are the frames of the points, so that nothing has to be turned.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.num_levels = getattr(network, "num_levels", None)

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        return self.network(x, surface)


def build(method: str, in_type: FieldType, out_type: FieldType, nside: int) -> nn.Module:
    """A network from fields to fields."""
    name, _, kind = method.partition(", ")
    options = METHODS[method]
    if kind == "components":
        numbers = (FieldType.from_multiplicities([t.dim]) for t in (in_type, out_type))
        return Components(FieldUNet(*numbers, **options))
    if name == "FieldUNet":
        return FieldUNet(in_type, out_type, **options)
    if name in harmonic_networks.NAMES:
        return Components(HarmonicNetwork(name, in_type, out_type.dim, nside, **options))
    cls = {"PlanarUNet": PlanarUNet, "IsotropicUNet": IsotropicUNet, "PixelwiseNetwork": PixelwiseNetwork}[name]
    if name == "PixelwiseNetwork":
        in_type = FieldType.from_multiplicities([in_type.dim])
    return Components(cls(in_type, out_type.dim, **options))


def trained(data: SphereMaps, method: str, given: argparse.Namespace, seed: int) -> ForecastTask:
    """A network after its training."""
    torch.manual_seed(seed)
    steps = given.steps + given.rolled
    network = build(method, data.in_type, data.out_type, data.inputs.nside)
    task = ForecastTask("FieldUNet", str(data.in_type), data.field_names, data.spec,
                        {"channels": [1] * data.num_levels, "max_order": 1, "context": 0})  # fmt: skip
    task.network = network
    task.normalise(torch.zeros(data.out_type.num_fields), data.change_sizes)
    loader = data.train_dataloader()
    optimiser = torch.optim.AdamW(network.parameters(), given.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, given.rate, total_steps=steps, pct_start=0.2)
    network.train()
    endless = itertools.chain.from_iterable(itertools.repeat(loader))
    for step, batch in enumerate(itertools.islice(endless, steps)):
        weights = batch.x.new_ones(batch.x.shape[:-1])
        states = task.roll(batch, 1 if step < given.steps else ROLLED_STEPS)
        loss = torch.stack([task.error(s, batch.target[:, k], weights) for k, s in enumerate(states)]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    return task


@torch.no_grad()
def tested(task: ForecastTask, data: SphereMaps, mean: Tensor) -> dict[str, float]:
    """Root mean square errors at each lead, of the forecast, persistence and climatology."""
    errors = ForecastErrors(data.out_type, TARGETS["test_steps"])
    for batch in data.test_dataloader():
        start = task.latest(batch.x)
        for k, state in enumerate(task.roll(batch, batch.target.shape[1])):
            models = {"forecast": state, "persistence": start, "climatology": mean.expand_as(state)}
            errors.update(k, models, batch.target[:, k], start, mean, batch.x.new_ones(batch.x.shape[:-1]))
    return {f"{row['model']} {row['field']} {row['step']}": row["rmse"] for row in errors.rows(data.field_names)}


def open_planet(folder: Path, method: str, given: argparse.Namespace, **options: Any) -> SphereMaps:
    targets = TARGETS | {"steps": ROLLED_STEPS} if given.rolled else TARGETS
    return SphereMaps(
        str(folder / "*.nc"), scalars=["h", "coriolis"], vectors=[["u", "v"]], targets=targets, nside=given.nside,
        radius=RADII[method], num_levels=levels_of(method), batch_size=given.batch, cache=False, **options,
    )  # fmt: skip


def first_pairs(data: SphereMaps, count: int) -> dict[str, list[str]]:
    """Splits with the first pairs of maps a lead apart for training."""
    times = {split: data.fields.dataset.indexes["time"][steps] for split, steps in data.steps.items()}
    ahead = np.flatnonzero(np.diff(times["train"]) == np.timedelta64(6, "h"))
    times["train"] = times["train"][: ahead[count - 1] + 2]
    return {split: [str(index.min()), str(index.max())] for split, index in times.items()}


def table(results: Results, planet: str = "", leads: tuple[int, ...] = (1, 4, 8, 20)) -> None:
    """RMSE of height and wind at some leads, mean and spread over seeds; persistence and climatology beside."""
    planet = f"{planet} " if planet else ""
    columns = [f"{name} {6 * k} h" for name in ("h, m:", "wind, m/s:") for k in leads]
    print(f"| network | weights | seeds | s | {' | '.join(columns)} |")
    print("| --- " * (4 + len(columns)) + "|")

    def line(title: str, model: str, rows: list[dict[str, Any]]) -> None:
        cells = []
        for field, k in itertools.product(("h", "u+v"), leads):
            values = [row[f"{planet}{model} {field} {k}"] for row in rows]
            spread = f" ± {np.std(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3g}{spread}")
        about = (rows[0]["weights"], len(rows), round(np.mean([r["cpu_s"] for r in rows])))
        shown = about if model == "forecast" else ("", "", "")
        print(f"| {title} | {' | '.join(map(str, shown))} | {' | '.join(cells)} |")

    for method in METHODS:
        rows = results.select(method=method)
        if rows:
            line(f"`{method}`", "forecast", rows)
    for model in ("persistence", "climatology"):
        line(model, model, results.rows[:1])
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("planet", type=Path, help="folder that meshconv generate shallow_water wrote")
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="further planets to test on")
    parser.add_argument("--out", type=Path, required=True, help="file of results, one line of JSON each")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="*", type=int, default=range(3))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rolled", type=int, default=0, help=f"further steps, of rollouts over {ROLLED_STEPS} steps")
    parser.add_argument("--nside", type=int, help="of the networks; default: that of the files")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--pairs", type=int, help="of the training, else all")
    parser.add_argument("--print", action="store_true", help="print the table of the results, run nothing")
    given = parser.parse_args()
    settings = {"steps": given.steps, "rolled": given.rolled or None, "batch": given.batch, "pairs": given.pairs,
                "rate": given.rate if given.rate != RATE else None}  # fmt: skip
    results = Results(given.out)
    methods = [m for m in given.only if m not in harmonic_networks.NAMES or harmonic_networks.AVAILABLE]
    if not given.print:
        planets: dict[tuple[float | None, int], SphereMaps] = {}
        for seed, method in itertools.product(given.seeds, methods):
            surface = RADII[method], levels_of(method)
            if surface not in planets:
                planets[surface] = open_planet(given.planet, method, given)
                if given.pairs is not None:
                    few = first_pairs(planets[surface], given.pairs)
                    planets[surface] = open_planet(given.planet, method, given, splits=few)
            data = planets[surface]
            key = {"method": method, "seed": seed, **settings, "nside": data.inputs.nside}
            if results.has(**key):
                continue
            begin = time.process_time()
            task = trained(data, method, given, seed)
            row: dict[str, Any] = {"weights": count_weights(task.network), "cpu_s": time.process_time() - begin}
            assert data.climatology is not None
            row |= tested(task, data, data.climatology)
            for folder in given.also:
                other = open_planet(folder, method, given, splits="test")
                other.take_statistics(data.spec)
                row |= {f"{folder.name} {name}": e for name, e in tested(task, other, data.climatology).items()}
            results.add(key | row)
    shown = Results(given.out)
    shown.rows = [row for row in shown.select(**settings) if given.nside in (None, row["nside"])]
    for planet in ("", *(folder.name for folder in given.also)):
        print(planet or "the planet of the training")
        table(shown, planet)


if __name__ == "__main__":
    main()
