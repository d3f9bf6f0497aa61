"""Hybrid inference on surfaces; the tables of docs/hybrid.md.

    python benchmarks/hybrid_surfaces.py potts --out surfaces.jsonl      # stopped, it goes on where it was
    python benchmarks/hybrid_surfaces.py physics --out surfaces.jsonl
    python benchmarks/hybrid_surfaces.py sst --data ersst_ibtracs_hp32_nested.npz --out surfaces.jsonl
    python benchmarks/hybrid_surfaces.py sst --data ... --out surfaces.jsonl --print --figure sst.png
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hybrid_training import figure, fit, measure_once, table
from map_training import Results
from scipy.sparse import diags_array
from torch import Tensor, nn
from triangulations import generated_bodies

from meshconv import GaugeGraph, HealpixSphere, Hierarchy, TriangleMesh
from meshconv.geometry.features.moments import MESH_FEATURES, mesh_features
from meshconv.hybrid import AdvectionDiffusion, FieldModel, HybridField, Kriging, PottsLayer, SpaceTimePrior
from meshconv.nn import from_ambient

# Segmentations


def potts(options: argparse.Namespace) -> None:
    """Parts of generated bodies, of whose vertices a share have a wrong label; smoothed by Potts models."""
    results = Results(options.out)
    settings = {"experiment": "potts", "steps": options.steps}
    for noise, seed in itertools.product(options.noise, [] if options.print else options.seeds):
        key = settings | {"noise": noise, "seed": seed}
        measure_once(results, key, functools.partial(smoothed, noise, seed, options.steps))
    columns = {"none": "not smoothed", "fixed": "one weight", "learned": "learned weights"}
    table(results.select(**settings), "noise", columns)


class Body(NamedTuple):
    graph: GaugeGraph
    features: Tensor
    label: Tensor


@functools.cache
def labelled_bodies() -> tuple[list[Body], list[Body], list[Body]]:
    """For training, validation and test; labels are head, arms, legs, and what is far from all of them."""
    parts: tuple[list[Body], list[Body]] = [], []
    for _, test, mesh, near in generated_bodies(18, 2000):
        graph = mesh.gauge_graph()
        features = MESH_FEATURES.split(mesh_features(mesh, graph).float())[0]
        label = np.where(near.min(1) < 0.7, near.argmin(1), 3)
        parts[test].append(Body(graph.to(torch.float32), features, torch.from_numpy(label)))
    return parts[0][:-4], parts[0][-4:], parts[1]


def smoothed(noise: float, seed: int, steps: int) -> dict[str, float]:
    """Per cent of right vertices: as given, with one weight for all edges, with learned ones."""
    train, val, test = labelled_bodies()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)

    def seen(label: Tensor) -> Tensor:
        """Logits of labels, a share of which are another class's."""
        wrong = torch.rand(label.shape, generator=generator) < noise
        shift = torch.randint(1, 4, label.shape, generator=generator)
        shown = torch.where(wrong, (label + shift) % 4, label)
        return nn.functional.one_hot(shown, 4) * float(np.log((1 - noise) / (noise / 3)))

    given = {id(body): seen(body.label) for body in [*val, *test]}

    @torch.no_grad()
    def accuracy(layer: PottsLayer | None, bodies: list[Body]) -> float:
        found = [given[id(b)] if layer is None else layer(given[id(b)], b.graph, b.features) for b in bodies]
        right = [f.argmax(-1) == body.label for f, body in zip(found, bodies, strict=True)]
        return 100 * float(torch.cat(right).float().mean())

    def potts_layer(weight: float) -> PottsLayer:
        return PottsLayer(4, f"{train[0].features.shape[1]}x0", iterations=10, weight=weight)

    fixed = [potts_layer(weight) for weight in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)]
    best, layer = max(fixed, key=lambda layer: accuracy(layer, val)), potts_layer(0.4)

    def loss() -> Tensor:
        body = train[int(torch.randint(len(train), (), generator=generator))]
        return nn.functional.nll_loss(layer(seen(body.label), body.graph, body.features), body.label)

    fit(layer, loss, lambda: -accuracy(layer, val), steps, 1e-2)
    return {"none": accuracy(None, test), "fixed": accuracy(best, test), "learned": accuracy(layer, test)}


# Reconstructions


class Series(FieldModel):
    """A prior over space and time as a model of :class:`HybridField`: fields are [series, times, V, 1]."""

    def __init__(self, prior: SpaceTimePrior, noise: float, density: float):
        self.prior, self.noise, self.density, self.order = prior, noise, density, 0  # type: ignore[assignment]
        shift = diags_array(np.full(prior.num_points, density / noise**2))
        self._preconditioner = prior.factor((prior.precision + shift).tocsr())
        self._known: dict[bytes, np.ndarray] = {}

    def _each(self, function: Callable, *tensors: Tensor) -> Tensor:
        """``function`` of all times of each series at once."""
        flat = [t.detach().numpy().reshape(len(t), -1) for t in tensors]
        flat = [f if f.dtype == bool else f.astype(np.float64) for f in flat]
        found = np.stack([function(*parts) for parts in zip(*flat, strict=True)])
        return torch.from_numpy(found).reshape(tensors[0].shape).to(tensors[0])

    def _posterior(self, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Posterior mean; a series' is computed once."""
        key = (y * mask).tobytes()
        if key not in self._known:
            index = np.flatnonzero(mask)
            self._known[key] = self.prior.estimate(index, y[index], self.noise).ravel()
        return self._known[key]


class NoModel(FieldModel):
    """The network alone: it starts at zero and has no messages."""

    def __init__(self) -> None:
        self.density = 1.0

    def posterior(self, values: Tensor, mask: Tensor) -> Tensor:
        return torch.zeros_like(values)

    def message(self, x: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        return torch.zeros_like(x)


TIMES, NOISE = 10, 0.1


def physics(options: argparse.Namespace) -> None:
    """Advection and diffusion on a bumpy torus, observed at 1 % of the vertices over 10 times, noise 0.1."""
    results = Results(options.out)
    settings = {"experiment": "physics", "steps": options.steps, "n": options.train}
    for seed in [] if options.print else options.seeds:
        measure = functools.partial(assimilated, options.train, options.steps, seed)
        measure_once(results, settings | {"seed": seed}, measure)
    columns = {
        "kriging": "kriging of each time", "still": "no physics (D = 0, v = 0)", "wrong": "wrong diffusivity (D = 0.1)",
        "network": "network alone", "hybrid": "network and wrong diffusivity", "true": "true physics (D = 0.02)",
    }  # fmt: skip
    table(results.select(**settings), "n", columns)


def assimilated(count: int, steps: int, seed: int) -> dict[str, float]:
    """Root mean square errors after training on ``count`` series."""
    mesh, rng = bumpy_torus(), np.random.default_rng(seed)
    v = mesh.num_vertices
    velocity = 0.5 * np.cross([0.0, 0.0, 1.0], mesh.vertices)
    hierarchy = mesh.hierarchy(2).to(torch.float32)
    wind = from_ambient(torch.from_numpy(velocity).float()[:, None], hierarchy.finest, "1x1")
    single = Kriging(mesh, range=1.0, noise=NOISE)
    root = np.linalg.cholesky(np.linalg.inv(single.prior.precision.toarray()))
    flows = {
        "still": AdvectionDiffusion(mesh, 0 * velocity, 0.0, 0.2),
        "wrong": AdvectionDiffusion(mesh, velocity, 0.1, 0.2),
        "true": AdvectionDiffusion(mesh, velocity, 0.02, 0.2),
    }
    models = {name: Series(SpaceTimePrior(flow, TIMES, range=1.0, deviation=1.0, process_noise=0.05), NOISE, 0.01)
              for name, flow in flows.items()}  # fmt: skip

    def drawn(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Truth and observations [count, times, V, 1], and where they are."""
        x = [root @ rng.normal(size=(v, count))]
        for _ in range(TIMES - 1):
            x.append(flows["true"].step(x[-1]))
        truth = torch.from_numpy(np.stack(x).transpose(2, 0, 1)[..., None]).float()
        mask = torch.zeros(count, TIMES, v, dtype=torch.bool)
        for one in mask.flatten(0, 1):
            one[rng.choice(v, v // 100, replace=False)] = True
        return truth, truth + NOISE * torch.from_numpy(rng.normal(size=truth.shape)).float(), mask

    train, val, test = drawn(count), drawn(6), drawn(10)
    truth, y, mask = test
    each = [single.estimate(np.flatnonzero(m), values[m]) for m, values in
            zip(mask.flatten(0, 1).numpy(), y.flatten(0, 1)[..., 0].double().numpy(), strict=True)]  # fmt: skip
    estimates = {"kriging": torch.from_numpy(np.stack(each)).reshape(truth.shape)}
    estimates |= {name: model.posterior(y, mask) for name, model in models.items()}
    found = {name: float(((estimate - truth) ** 2).mean() ** 0.5) for name, estimate in estimates.items()}
    for name, model in (("network", NoModel()), ("hybrid", models["wrong"])):
        torch.manual_seed(seed)
        # Of each time the network sees estimates and residuals of the times before and after too, and the flow.
        network = HybridField("4x0 + 1x1", "1x0", channels=[8, 16], max_order=1, width=32)

        def square(part: tuple[Tensor, ...], network: HybridField = network, model: FieldModel = model) -> Tensor:
            truth, y, mask = part
            estimate = model.posterior(y, mask)
            residual = (y - estimate) * mask[..., None]
            near = [beside(t, shift) for t in (estimate, residual) for shift in (1, -1)]
            x = torch.cat([*near, wind.expand(*y.shape[:-1], 2)], -1)
            return ((network(x, hierarchy, y, mask, model) - truth) ** 2).mean()

        def loss(square: Callable = square) -> Tensor:
            chosen = rng.integers(count, size=1)
            return square(tuple(t[chosen] for t in train))

        def validate(part: tuple = val, network: nn.Module = network, square: Callable = square) -> float:
            network.eval()
            with torch.no_grad():
                error = float(square(part))
            network.train()
            return error

        fit(network, loss, validate, steps, 3e-3)
        found[name] = validate(test) ** 0.5
    return found


def beside(series: Tensor, shift: int) -> Tensor:
    """Each time's former (shift 1) or next (-1) one, [series, times, V, C]; zero at the end."""
    moved = series.roll(shift, 1)
    moved[:, 0 if shift > 0 else -1] = 0
    return moved


def sst(options: argparse.Namespace) -> None:
    """Anomalies of the sea surface temperature (ERSST v5) from 2 % of the ocean's pixels with noise of 0.2 K."""
    results = Results(options.out)
    settings = {"experiment": "sst", "nside": options.nside, "steps": options.steps, "rate": options.rate}
    columns = {"kriging": "kriging", "network": "network alone", "hybrid": "hybrid"}
    for n, seed in itertools.product(options.train, [] if options.print else options.seeds):
        measure_once(results, settings | {"n": n, "seed": seed}, functools.partial(reconstructed, options, n, seed))
    table(results.select(**settings), "n", columns)
    if options.figure is not None:
        figure(results.select(**settings), "n", columns, options.figure, "months of training", "error, K")


@functools.cache
def ocean(path: Path, nside: int) -> tuple[Hierarchy, Tensor, FieldModel]:
    """Hierarchy of the ocean, anomalies [months, V, 1], and the prior that fits the first month."""
    data = np.load(path)["sst_degC"].astype(np.float64)
    months = np.arange(len(data)) % 12
    climate = np.stack([data[:96][months[:96] == m].mean(0) for m in range(12)])
    anomalies = data - climate[months]
    wet = np.isfinite(anomalies).all(0)
    if nside < 32:  # mean over the pixels' ocean
        known = np.where(wet, 1.0, 0.0).reshape(12 * nside**2, -1)
        cells = np.where(wet, anomalies, 0.0).reshape(len(data), *known.shape).sum(-1) / known.sum(-1).clip(1)
        anomalies, wet = cells, known.mean(-1) > 0.5
    hierarchy = HealpixSphere(nside).hierarchy(2, points=np.flatnonzero(wet)).to(torch.float32)
    fields = torch.from_numpy(anomalies[:, wet]).float()[..., None]
    rng = np.random.default_rng(0)
    points = rng.choice(fields.shape[1], min(600, fields.shape[1]), replace=False)
    seen = fields[0, points, 0].numpy() + 0.2 * rng.normal(size=len(points))
    found = Kriging.fit(hierarchy.finest, points, seen)
    print(f"range {found.range:.3f}, deviation {found.deviation:.3f}, noise {found.noise:.3f}", flush=True)
    return hierarchy, fields, FieldModel(hierarchy.finest, found.range, found.deviation, 0.2, 0.02)


def reconstructed(options: argparse.Namespace, n: int, seed: int) -> dict[str, float]:
    """Errors in K after training on ``n`` months, and the calibration of kriging."""
    hierarchy, fields, model = ocean(options.data, options.nside)

    def observed(which: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        truth = fields[which]
        mask = torch.rand(truth.shape[:-1], generator=generator) < 0.02
        return truth, truth + 0.2 * torch.randn(truth.shape, generator=generator), mask

    first, test = torch.arange(96), torch.arange(96, len(fields))
    val, rest = first[7::16].repeat(4), first[first % 16 != 7]
    months = rest[torch.linspace(0, len(rest) - 1, n).long()]
    pole = torch.tensor([[0.0, 0.0, 1.0]]).expand(fields.shape[1], 1, 3)
    north = from_ambient(pole, hierarchy.finest, "1x1")
    truth, y, mask = observed(test, torch.Generator().manual_seed(0))
    kriged = model.posterior(y, mask)
    found = {"kriging": float(((kriged - truth) ** 2).mean()) ** 0.5}
    scores = [((kriged[k] - truth[k])[:, 0] / model.deviations(mask[k]).float()).abs() for k in range(0, len(test), 8)]
    found |= {f"within {s}": float((torch.cat(scores) < s).float().mean()) for s in (1, 2)}
    shown = {"truth": truth[0], "kriging": kriged[0]}
    for name, used in (("network", NoModel()), ("hybrid", model)):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        # The north is an input: anomalies are longer from west to east.
        network = HybridField("1x1", "1x0", channels=[8, 16], max_order=1, width=32)

        def field(part: tuple[Tensor, ...], network: HybridField = network, used: FieldModel = used) -> Tensor:
            _, y, mask = part
            return network(north.expand(*y.shape[:-1], -1), hierarchy, y, mask, used)

        def loss(field: Callable = field, generator: torch.Generator = generator) -> Tensor:
            part = observed(months[torch.randint(n, (4,), generator=generator)], generator)
            return ((field(part) - part[0]) ** 2).mean()

        def validate(network: HybridField = network, field: Callable = field) -> float:
            part = observed(val, torch.Generator().manual_seed(2))
            network.eval()
            with torch.no_grad():
                error = float(((field(part) - part[0]) ** 2).mean())
            network.train()
            return error

        fit(network, loss, validate, options.steps, options.rate)
        network.eval()
        with torch.no_grad():
            given = field((truth, y, mask))
        found[name] = float(((given - truth) ** 2).mean()) ** 0.5
        shown[name] = given[0]
    if options.maps is not None:
        picture(shown, np.asarray(hierarchy.finest.positions), mask[0].numpy(), options.maps)
    return found


def picture(shown: dict[str, Tensor], xyz: np.ndarray, seen: np.ndarray, path: Path) -> None:
    """Maps of one month beside each other; rings are where it was observed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    longitude, latitude = np.degrees(np.arctan2(xyz[:, 1], xyz[:, 0])), np.degrees(np.arcsin(xyz[:, 2]))
    page, axes = plt.subplots(2, 2, figsize=(9, 5), layout="constrained", sharex=True, sharey=True)
    for axis, (name, values) in zip(axes.flat, shown.items(), strict=True):
        drawn = axis.scatter(longitude, latitude, 5, values[:, 0], cmap="RdBu_r", vmin=-2, vmax=2, linewidths=0)
        axis.set_title(name)
    axes.flat[0].scatter(longitude[seen], latitude[seen], 12, facecolors="none", edgecolors="k", linewidths=0.6)
    page.colorbar(drawn, ax=axes, label="anomaly, K", shrink=0.7)
    page.savefig(path, dpi=130)


def bumpy_torus(rows: int = 48, columns: int = 24) -> TriangleMesh:
    a, b = np.meshgrid(np.arange(rows) / rows * 2 * np.pi, np.arange(columns) / columns * 2 * np.pi, indexing="ij")
    r = 0.4 * (1 + 0.2 * np.sin(3 * a) * np.cos(2 * b))
    points = np.stack([(1 + r * np.cos(b)) * np.cos(a), (1 + r * np.cos(b)) * np.sin(a), r * np.sin(b)], -1)
    i = np.arange(rows * columns).reshape(rows, columns)
    j, k, m = np.roll(i, -1, 0), np.roll(i, -1, 1), np.roll(np.roll(i, -1, 0), -1, 1)
    faces = np.concatenate([np.stack([i, j, m], -1).reshape(-1, 3), np.stack([i, m, k], -1).reshape(-1, 3)])
    return TriangleMesh(points.reshape(-1, 3), faces, "bumpy torus")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(run: Callable, steps: int) -> argparse.ArgumentParser:
        found = commands.add_parser(run.__name__)
        found.set_defaults(run=run)
        found.add_argument("--out", type=Path, required=True, help="file of results, one line of JSON each")
        found.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        found.add_argument("--steps", type=int, default=steps, help="of training, for each network")
        found.add_argument("--print", action="store_true", help="print the table of the results, run nothing")
        return found

    parts = command(potts, 200)
    parts.add_argument("--noise", type=float, nargs="+", default=[0.2, 0.4, 0.6], help="shares of wrong labels")
    flow = command(physics, 300)
    flow.add_argument("--train", type=int, default=60, help="number of series")
    seas = command(sst, 180)
    seas.add_argument("--data", type=Path, required=True)
    seas.add_argument("--nside", type=int, default=16)
    seas.add_argument("--rate", type=float, default=1e-3)
    seas.add_argument("--train", type=int, nargs="+", default=[6, 12, 24, 48, 90], help="months")
    seas.add_argument("--figure", type=Path, help="file of a picture of the errors")
    seas.add_argument("--maps", type=Path, help="file of a picture of one month")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run(options)


if __name__ == "__main__":
    main()
