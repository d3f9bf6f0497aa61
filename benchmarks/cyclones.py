"""Where tropical cyclones pass in a month, from sea-surface temperature: train 2010-2017, test 2018-2020.

    python benchmarks/cyclones.py ersst_ibtracs_hp32_nested.npz --out cyclones.jsonl
    python benchmarks/cyclones.py ersst_ibtracs_hp32_nested.npz --out cyclones.jsonl --print
    python benchmarks/cyclones.py ersst_ibtracs_hp32_nested.npz --smoothing   # what widths are chosen with

The file holds ``sst_degC [months, 12288]`` (NaN on land), ``tc_mask4deg [months, 12288]`` and ``time`` ("2010-01", ...)
on nested HEALPix nside 32. Score: IoU of the cyclones' pixels over the ocean, all test months together.
``--smoothing`` scores smoothed climatologies of the training years, each year by what the other years say.
``--validation`` trains on 2010-2015 and scores 2016-2017 at several thresholds: what options and thresholds are chosen
with. Inputs "sst" are temperature, its anomaly, ocean, season and place. With "sst+past" networks learn a correction to
the log-odds of the smoothed climatology (how often other training years had a cyclone there in that month), from those,
the raw one of three months, temperature, anomaly and ocean; each time they see a training month, with other years of
the past. "together" are the mean probabilities of the networks of all seeds of one call.
"""

from __future__ import annotations

import argparse
import ast
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from map_training import NETWORKS, Results, count_weights, train
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from torch import Tensor, nn

from meshconv import HealpixSphere, Hierarchy

METHODS: dict[str, dict[str, Any]] = {
    "PixelwiseNetwork": {"width": 64},
    "IsotropicUNet": {"channels": [24, 36, 48], "width": 64, "dropout": 0.2},
    "PlanarUNet": {"channels": [16, 20, 28], "width": 64, "dropout": 0.2},
    "SphereUNet": {"channels": [8, 12, 16], "width": 64, "dropout": 0.2, "north": True, "aggregation": "mean"},
}
INPUTS = ("sst+past", "sst")
SMOOTHING = (6.0, 2.0, 0.75)  # degrees along the latitude and across it, weight of the months before and after
WIDTHS, BESIDE = ((3, 3), (4, 2), (5, 1.75), (6, 2), (7, 1.75), (7, 2.5), (9, 1.75)), (0.0, 0.5, 0.75, 1.0)  # compared
THRESHOLDS = (0.16, 0.18, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3, 0.32, 0.34)


class Correction(nn.Module):
    """What a network adds, nothing at first, to the log-odds of a cyclone that stand in the last field of the input."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        for last in list(network.parameters())[-2:]:  # weights and bias of the logits
            nn.init.zeros_(last)

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        return self.network(x, surface) + nn.functional.pad(x[..., -1:], (1, 0))


def nearby(ocean: np.ndarray, along_deg: float, across_deg: float) -> csr_array:
    """Gaussian weights of the ocean's points around each point, rows sum to 1: storms move along the latitudes."""
    sphere = HealpixSphere.from_pixel_count(len(ocean))
    tree = cKDTree(sphere.xyz)
    reach = 2 * np.sin(np.radians(3 * max(along_deg, across_deg)) / 2)
    pairs = tree.query_pairs(reach, output_type="ndarray")
    i, j = np.concatenate([pairs, pairs[:, ::-1], np.arange(len(ocean))[:, None].repeat(2, axis=1)]).T
    lat, lon = 90 - np.degrees(sphere.theta), np.degrees(sphere.phi)
    east = ((lon[j] - lon[i] + 180) % 360 - 180) * np.cos(np.radians((lat[i] + lat[j]) / 2))
    weight = np.exp(-0.5 * ((east / along_deg) ** 2 + ((lat[j] - lat[i]) / across_deg) ** 2)) * ocean[j]
    total = np.bincount(i, weight)
    return csr_array((weight / np.where(total > 0, total, 1)[i], (i, j)), shape=(len(ocean), len(ocean)))


class Climatology:
    """Share of the months of some years that had a cyclone, ``[12, V]``, raw or smoothed over places and months."""

    def __init__(self, storms: np.ndarray, month: np.ndarray, ocean: np.ndarray, smoothing: tuple[float, float, float]):
        self.month, self.beside = month, smoothing[2]
        self.storms, self.smooth = storms, (nearby(ocean, *smoothing[:2]) @ storms.T.astype(float)).T

    def raw(self, years: np.ndarray) -> np.ndarray:
        return self._by_month(self.storms, years)

    def _by_month(self, storms: np.ndarray, years: np.ndarray) -> np.ndarray:
        return np.stack([storms[years & (self.month == k)].mean(axis=0) for k in range(1, 13)])

    def smoothed(self, years: np.ndarray) -> np.ndarray:
        often = self._by_month(self.smooth, years)
        beside = np.roll(often, 1, axis=0) + np.roll(often, -1, axis=0)
        return (often + self.beside * beside) / (1 + 2 * self.beside)


class Months(NamedTuple):
    """Fields ``[months, V, n]``, cyclones bool ``[months, V]``, year and month ``[months]``, ocean bool ``[V]``."""

    fields: Tensor
    storms: Tensor
    year: np.ndarray
    month: np.ndarray
    ocean: Tensor
    often: Climatology

    def seen(self, row: int, inputs: str, years: np.ndarray) -> Tensor:
        """What networks see of a month ``[V, dim]``, with the climatology of the months ``years``."""
        if inputs == "sst":
            return self.fields[row]
        at, raw = self.month[row] - 1, self.often.raw(years)
        chance = self.often.smoothed(years)[at]
        past = [raw[at - 1], raw[at], raw[(at + 1) % 12], np.log((chance + 0.01) / (1.01 - chance))]
        past_fields = torch.from_numpy(np.where(self.ocean, np.stack(past), 0.0)).float().T
        return torch.cat([self.fields[row, :, :3], past_fields], dim=-1)


def read(path: Path, first_test_year: int) -> Months:
    """Temperature, anomaly, ocean, season and place; means and deviations are those of the training years."""
    data = np.load(path, allow_pickle=True)
    year, month = np.array([[int(part) for part in str(t).split("-")[:2]] for t in data["time"]]).T
    sst, ocean = data["sst_degC"].astype(np.float64), np.isfinite(data["sst_degC"]).all(axis=0)
    past = year < first_test_year
    normal = np.stack([sst[past & (month == k)].mean(axis=0) for k in range(1, 13)])
    anomaly = sst - normal[month - 1]
    wet = sst[past][:, ocean]
    fields = [(sst - wet.mean()) / wet.std(), anomaly / anomaly[past][:, ocean].std()]
    angle = 2 * np.pi * (month - 0.5) / 12
    fields += [np.broadcast_to(ocean, sst.shape)]
    fields += [np.broadcast_to(f(angle)[:, None], sst.shape) for f in (np.cos, np.sin)]
    fields += [np.broadcast_to(c, sst.shape) for c in HealpixSphere.from_pixel_count(sst.shape[1]).xyz.T]
    x, storms = torch.from_numpy(np.where(ocean, np.stack(fields), 0.0)).float().movedim(0, -1), data["tc_mask4deg"]
    often = Climatology(storms, month, ocean, SMOOTHING)
    return Months(x, torch.from_numpy(storms), year, month, torch.from_numpy(ocean), often)


def scores(
    chance: Tensor, data: Months, scored: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, dict[str, float]]:
    """IoU over the ocean in the months ``scored`` of what is likelier than each threshold."""
    chance, true = chance[:, data.ocean], data.storms[torch.from_numpy(scored)][:, data.ocean]
    found = {f"{t:g}": chance > t for t in thresholds}
    return {"iou": {t: float((f & true).sum() / (f | true).sum()) for t, f in found.items()}}


def others(data: Months, past: np.ndarray, row: int, drop: int, drawn: np.random.Generator) -> np.ndarray:
    """Months of the past years, bool, without the year of ``row`` and up to ``drop`` others."""
    years = np.unique(data.year[past & (data.year != data.year[row])])
    return np.isin(data.year, drawn.choice(years, len(years) - drawn.integers(drop + 1), replace=False))


def run(
    method: str, options: dict, inputs: str, data: Months, past: np.ndarray, scored: np.ndarray, given: Any, seed: int
) -> tuple[Tensor, dict]:
    """One training on the months ``past``: probabilities in the months ``scored`` ``[months, V]``, and what it took.

    A training month is seen with the climatology of the other years, without up to ``given.drop`` of them.
    """
    torch.manual_seed(seed)
    drawn = np.random.default_rng(seed)
    levels = len(options.get("channels", [1]))
    surface = HealpixSphere.from_pixel_count(len(data.ocean)).hierarchy(levels).to(torch.float32)
    in_type = f"{data.seen(0, inputs, past).shape[-1]}x0"
    network = NETWORKS[method](in_type, 2, **options)
    network = Correction(network) if inputs == "sst+past" else network
    rows = torch.from_numpy(np.flatnonzero(past))

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        while True:
            for some in rows[torch.randperm(len(rows))].split(given.batch):
                known = ((row, others(data, past, row, given.drop, drawn)) for row in some.tolist())
                x = torch.stack([data.seen(row, inputs, years) for row, years in known])
                yield x, data.storms[some].long(), data.ocean.expand(len(some), -1)

    seconds = train(network, surface, batches, nn.CrossEntropyLoss(), given.steps, given.rate, given.decay, given.noise)
    with torch.no_grad():
        months = (data.seen(row, inputs, past)[None] for row in np.flatnonzero(scored))
        storm = torch.cat([network(x, surface).softmax(-1)[..., 1] for x in months])
    return storm, {"seconds": seconds, "weights": count_weights(network)}


def compare_smoothing(data: Months, first_test_year: int) -> None:
    """Best IoU, and its threshold, of the training years, each by the climatology of the others."""
    storms, ocean, past = data.storms.numpy(), data.ocean.numpy(), data.year < first_test_year
    print("| along, across (degrees) | " + " | ".join(f"months beside: {w:g}" for w in BESIDE) + " |")
    print("| --- " * (len(BESIDE) + 1) + "|")
    for along, across in WIDTHS:
        cells = []
        for beside in BESIDE:
            often = Climatology(storms, data.month, ocean, (along, across, beside))
            parts = [often.smoothed(past & (data.year != y))[data.month[data.year == y] - 1]
                     for y in np.unique(data.year[past])]  # fmt: skip
            chance = torch.from_numpy(np.concatenate(parts))
            iou = scores(chance, data, past, np.arange(0.18, 0.3, 0.01).tolist())["iou"]
            best = max(iou, key=lambda t: iou[t])
            cells.append(f"{iou[best]:.4f} at {best}")
        print(f"| {along:g}, {across:g} | {' | '.join(cells)} |", flush=True)


def table(results: Results, threshold: str) -> None:
    print(f"| method | inputs | weights | IoU at {threshold} | over seeds | seeds | best threshold's | seconds |")
    print("| --- " * 8 + "|")
    kinds = dict.fromkeys((row["method"], row.get("inputs", "")) for row in results.rows)
    for method, inputs in kinds:
        rows = [r for r in results.select(method=method, split="test") if r.get("inputs", "") == inputs]
        if rows:
            at = np.array([r["iou"][threshold] for r in rows])
            best = np.mean([max(r["iou"].values()) for r in rows])
            print(f"| {method} | {inputs} | {rows[0].get('weights', '')} | {at.mean():.3f} | {at.std():.3f} "
                  f"| {len(at)} | {best:.3f} | {np.mean([r.get('seconds', 0) for r in rows]):.0f} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, help="file of results, one line of JSON each")
    parser.add_argument("--smoothing", action="store_true", help="compare smoothed climatologies of the training years")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--inputs", nargs="*", default=list(INPUTS), choices=INPUTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=range(3))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4, help="months at a time")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=5e-2)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--drop", type=int, default=2, help="years at most that a climatology lacks in training")
    parser.add_argument("--threshold", default="0.24", help="of the table; chosen with --smoothing")
    parser.add_argument("--validation", action="store_true", help="train on 2010-2015, score 2016-2017")
    parser.add_argument("--options", type=ast.literal_eval, default={}, help="instead of the methods' own, for tuning")
    parser.add_argument("--print", action="store_true", help="print the table of the results, run nothing")
    given = parser.parse_args()
    if given.smoothing:
        compare_smoothing(read(given.data, 2018), 2018)
        return
    if given.out is None:
        parser.error("--out is required")
    results = Results(given.out)
    if given.print:
        table(results, given.threshold)
        return
    split, first, last = ("val", 2016, 2017) if given.validation else ("test", 2018, 2020)
    maps = read(given.data, first)
    past, scored = maps.year < first, (maps.year >= first) & (maps.year <= last)
    for name, often in (("climatology", maps.often.raw), ("climatology, smoothed", maps.often.smoothed)):
        if not results.has(method=name, split=split):
            chance = torch.from_numpy(often(past)[maps.month[scored] - 1])
            results.add({"method": name, "split": split} | scores(chance, maps, scored))
    together: dict[tuple[str, str], list[Tensor]] = defaultdict(list)  # probabilities of this call's networks
    for seed, inputs, method in itertools.product(given.seeds, given.inputs, given.only):
        options = METHODS[method] | given.options
        key = {"method": method, "inputs": inputs, "seed": seed, "split": split, "options": options}
        key |= {k: getattr(given, k) for k in ("steps", "batch", "rate", "decay", "noise", "drop")}
        if not results.has(**key):
            storm, cost = run(method, options, inputs, maps, past, scored, given, seed)
            together[method, inputs].append(storm)
            results.add(key | scores(storm, maps, scored) | cost)
    for (method, inputs), found in together.items():
        if len(found) > 1:
            key = {"method": f"{method}, {len(found)} together", "inputs": inputs, "split": split}
            results.add(key | scores(torch.stack(found).mean(0), maps, scored))


if __name__ == "__main__":
    main()
