"""Hybrid inference on chains, factor graphs and points in space; the tables of docs/hybrid.md.

    python benchmarks/hybrid.py linear --out hybrid.jsonl        # stopped, it goes on where it was
    python benchmarks/hybrid.py lorenz --out hybrid.jsonl
    python benchmarks/hybrid.py ising --out hybrid.jsonl
    python benchmarks/hybrid.py bodies --out hybrid.jsonl
    python benchmarks/hybrid.py linear --out hybrid.jsonl --print --figure linear.png

Surfaces are those of hybrid_surfaces.py.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from hybrid_training import figure, fit, measure_once, table
from map_training import Results
from scipy.integrate import solve_ivp
from torch import Tensor

from meshconv.hybrid import (
    EGNN,
    EnhancedBeliefPropagation,
    FactorGraph,
    GaussMarkovModel,
    HybridSmoother,
    belief_propagation,
    charged_bodies,
    fully_connected,
    ising_grid,
    ising_marginals,
    lorenz_generator,
    mean_field,
    taylor_transition,
)

ITERATIONS = 100


# Chains


def linear_pieces(rng: np.random.Generator, pieces: int, steps: int) -> tuple[Tensor, Tensor]:
    """True and observed positions [pieces * 2, steps, 1]; the two coordinates are independent."""
    c, tau = 0.06, 0.17
    F = np.array([
        [1, 1 - c / 2, 1 / 2],
        [0, 1 - c + (c**2 - tau) / 2, 1 - c / 2],
        [0, -tau + c * tau / 2, 1 - tau / 2],
    ])  # fmt: skip
    x = np.tile([0, 0.1, 0.0], (pieces * 2, 1))
    path = []
    for _ in range(steps):
        path.append(x[:, :1])
        x = x @ F.T + rng.normal(size=x.shape) * np.sqrt([0.01 / 3, 0.01, 0.03])
    truth = np.stack(path, 1)
    return torch.from_numpy(truth), torch.from_numpy(truth + 0.5 * rng.normal(size=truth.shape))


def lorenz_pieces(rng: np.random.Generator, pieces: int, steps: int) -> tuple[Tensor, Tensor]:
    """True and observed states [pieces, steps, 3], from random places on the attractor."""

    def right(_: float, x: np.ndarray) -> list[float]:
        return [10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]

    found = []
    for _ in range(pieces):
        times = 10 + 0.05 * np.arange(steps)
        found.append(solve_ivp(right, (0, times[-1]), rng.normal(size=3) + np.array([1, 1, 20]), "DOP853", times,
                               rtol=1e-9, atol=1e-9).y.T)  # fmt: skip
    truth = np.stack(found)
    return torch.from_numpy(truth), torch.from_numpy(truth + 0.5 * rng.normal(size=truth.shape))


def constant_velocity(sigma: float) -> GaussMarkovModel:
    return GaussMarkovModel([[1.0, 1.0], [0.0, 1.0]], sigma**2 * np.eye(2), [[1.0, 0.0]], [[0.25]])


def lorenz_model(sigma: float, order: int) -> GaussMarkovModel:
    transition = taylor_transition(lorenz_generator(), 0.05, order)
    return GaussMarkovModel(transition, sigma**2 * 0.05 * np.eye(3), np.eye(3), 0.25 * np.eye(3))


def error_of(model: GaussMarkovModel, states: Tensor, truth: Tensor) -> float:
    return float(((states.double() @ model.H.T - truth) ** 2).mean())


def best_smoother(
    models: dict[float, GaussMarkovModel], truth: Tensor, y: Tensor
) -> tuple[float, GaussMarkovModel]:
    return min(models.items(), key=lambda item: error_of(item[1], item[1].smooth(y), truth))


def batches(truth: Tensor, y: Tensor, length: int, size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Random windows of ``length`` steps, ``size`` at a time."""
    length = min(length, y.shape[1])
    while True:
        piece = rng.integers(0, len(y), size)
        start = rng.integers(0, y.shape[1] - length + 1, size)
        picked = [(p, slice(s, s + length)) for p, s in zip(piece, start, strict=True)]
        yield torch.stack([truth[i] for i in picked]), torch.stack([y[i] for i in picked])


def train_chain(
    network: HybridSmoother, truth: Tensor, y: Tensor, cut: int, options: argparse.Namespace, rng: np.random.Generator
) -> None:
    """Train on windows of what is before ``cut``, validate on the rest, which starts 100 steps earlier."""
    start = max(0, cut - 100)
    windows = batches(truth[:, :cut], y[:, :cut], 100, options.windows, rng)

    def validate() -> float:
        with torch.no_grad():
            return error_of(network.model, network(y[:, start:])[:, cut - start :], truth[:, cut:])

    def loss() -> Tensor:
        target, given = next(windows)
        return network.loss(given, target)

    fit(network, loss, validate, min(options.steps, y.shape[1] // 4), 2e-3)


def chain(options: argparse.Namespace, make: Callable[..., tuple[Tensor, Tensor]], models: dict, hybrid: Callable,
          gamma: float, order: int | None = None) -> None:  # fmt: skip
    """Mean squared errors of observations, the best smoother, the network alone and the hybrid."""
    results = Results(options.out)
    settings = {"experiment": options.run.__name__, "order": order, "steps": options.steps, "windows": options.windows,
                "pieces": options.pieces}  # fmt: skip
    truth, y = make(np.random.default_rng(1000), options.pieces, 1000)

    def measure(n: int, seed: int) -> dict[str, float]:
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        known, seen = make(rng, 1, n)
        cut = n - max(20, n // 5)
        sigma, smoother = best_smoother(models, known, seen)
        model = hybrid(sigma)
        errors = {"observations": float(((y - truth) ** 2).mean()),
                  "smoother": error_of(smoother, smoother.smooth(y), truth), "sigma": sigma}  # fmt: skip
        for kind in ("network", "hybrid"):
            network = HybridSmoother(model, iterations=ITERATIONS, gamma=gamma, use_model=kind == "hybrid")
            train_chain(network, known, seen, cut, options, rng)
            with torch.no_grad():
                states = torch.cat([network(part) for part in y.split(2)])
            errors[kind] = error_of(model, states, truth)
        return errors

    for n, seed in itertools.product(options.train, [] if options.print else options.seeds):
        measure_once(results, settings | {"n": n, "seed": seed}, functools.partial(measure, n, seed))
    names = ("observations", "smoother", "network", "hybrid")
    columns = dict(zip(names, ("observations", "best smoother", "network alone", "hybrid"), strict=True))
    table(results.select(**settings), "n", columns)
    if options.figure is not None:
        figure(results.select(**settings), "n", columns, options.figure, "steps of training data", "mean squared error")


def linear(options: argparse.Namespace) -> None:
    models = {s: constant_velocity(s) for s in (0.15, 0.2, 0.25, 0.3, 0.325, 0.35, 0.4, 0.45, 0.5)}
    # Steeper models would not be stable at gamma 0.03.
    chain(options, linear_pieces, models, lambda sigma: constant_velocity(max(sigma, 0.35)), 0.03)


def lorenz(options: argparse.Namespace) -> None:
    models = {s: lorenz_model(s, options.order) for s in (3.0, 5.0, 7.0)}
    chain(options, lorenz_pieces, models, lambda sigma: lorenz_model(3.0, options.order), 0.005,
          options.order)  # fmt: skip


# Factor graphs


def random_ising(size: int, beta: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    shapes = [(size, size), (size, size - 1), (size - 1, size)]
    return tuple(beta * rng.normal(size=shape) for shape in shapes)


def together(pairs: Sequence[tuple[FactorGraph, Tensor]]) -> tuple[FactorGraph, Tensor]:
    """One graph of several grids, and all marginals."""
    starts = np.cumsum([0, *(graph.num_variables for graph, _ in pairs[:-1])]).tolist()
    groups = [graph.groups for graph, _ in pairs]
    edges = torch.cat([joint.variables + start for (_, joint), start in zip(groups, starts, strict=True)])
    unary, tables = (torch.cat([group[k].tables for group in groups]) for k in (0, 1))
    return FactorGraph.pairwise(unary, edges, tables), torch.cat([exact for _, exact in pairs])


def ising(options: argparse.Namespace) -> None:
    """Mean absolute error of marginals; couplings and fields are normal with standard deviation beta."""
    results = Results(options.out)
    names = ("steps", "train", "size", "batch", "iterations", "rate")
    settings = {"experiment": "ising"} | {name: getattr(options, name) for name in names}

    def measure(beta: float, seed: int) -> dict[str, float]:
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        network = EnhancedBeliefPropagation(2, hidden=32, iterations=options.iterations, damping=0.5)

        def drawn(count: int) -> list[tuple[FactorGraph, Tensor]]:
            made = [random_ising(options.size, beta, rng) for _ in range(count)]
            return [(ising_grid(*grid), torch.from_numpy(ising_marginals(*grid))) for grid in made]

        val, (graph, exact), train = together(drawn(20)), together(drawn(20)), drawn(options.train)

        def divergence(graph: FactorGraph, exact: Tensor) -> Tensor:
            return (exact * (exact.clamp_min(1e-12).log() - network(graph).double())).sum(-1).mean()

        def loss() -> Tensor:
            return divergence(*together([train[i] for i in rng.integers(len(train), size=options.batch)]))

        def validate() -> float:
            with torch.no_grad():
                return float(divergence(*val))

        fit(network, loss, validate, options.steps, options.rate)
        found = {"mean_field": mean_field(graph), "propagation": belief_propagation(graph, damping=0.5)}
        with torch.no_grad():
            found["learned"] = network(graph).exp()
        return {name: float((marginals - exact).abs().mean()) for name, marginals in found.items()}

    for beta, seed in itertools.product(options.betas, [] if options.print else options.seeds):
        measure_once(results, settings | {"beta": beta, "seed": seed}, functools.partial(measure, beta, seed))
    columns = {"mean_field": "mean field", "propagation": "belief propagation", "learned": "enhanced"}
    table(results.select(**settings), "beta", columns)


# Points in space


def bodies(options: argparse.Namespace) -> None:
    """Mean squared error of positions after one unit of time."""
    results = Results(options.out)
    settings = {"experiment": "bodies", "steps": options.steps, "batch": options.batch, "rate": options.rate}
    src, dst = fully_connected(5)

    def prepared(count: int, seed: int) -> tuple[Tensor, ...]:
        charges, x, v, y = charged_bodies(count, seed=seed)
        return charges, x, charges[:, src] * charges[:, dst], v, y

    test, val = prepared(2000, 1000), prepared(2000, 2000)

    def measure(n: int, seed: int) -> dict[str, float]:
        torch.manual_seed(seed)
        train = prepared(n, seed)
        network = EGNN(1, 1, hidden=64, layers=4, edge_features=1, with_velocity=True)

        def error(part: tuple[Tensor, ...]) -> Tensor:
            charges, x, pairs, v, y = part
            return ((network(charges, x, src, dst, pairs, v)[1] - y) ** 2).mean()

        def loss() -> Tensor:
            chosen = torch.randint(n, (options.batch,))
            return error(tuple(t[chosen] for t in train))

        def validate() -> float:
            with torch.no_grad():
                return float(error(val))

        fit(network, loss, validate, options.steps, options.rate)
        _, x, _, v, y = train
        time = ((y - x) * v).sum() / (v**2).sum()
        with torch.no_grad():
            straight = float(((test[1] + time * test[3] - test[4]) ** 2).mean())
            return {"straight": straight, "network": float(error(test))}

    for n, seed in itertools.product(options.train, [] if options.print else options.seeds):
        measure_once(results, settings | {"n": n, "seed": seed}, functools.partial(measure, n, seed))
    table(results.select(**settings), "n", {"straight": "straight lines", "network": "`EGNN`"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(run: Callable, steps: int) -> argparse.ArgumentParser:
        found = commands.add_parser(run.__name__)
        found.set_defaults(run=run)
        found.add_argument("--out", type=Path, required=True, help="file of results, one line of JSON each")
        found.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        found.add_argument("--steps", type=int, default=steps, help="of training; of chains n / 4 at most")
        found.add_argument("--print", action="store_true", help="print the table of the results, run nothing")
        return found

    for run, steps in ((linear, 100), (lorenz, 400)):
        one = command(run, steps)
        one.add_argument("--train", type=int, nargs="+", default=[100, 500, 1000, 5000, 10000])
        one.add_argument("--windows", type=int, default=4, help="of 100 times, in a batch")
        one.add_argument("--pieces", type=int, default=10, help="of 1000 times, for the test")
        one.add_argument("--order", type=int, default=2, help="of Taylor's series (lorenz)")
        one.add_argument("--figure", type=Path, help="file of a picture of the errors")
    grids = command(ising, 1500)
    grids.add_argument("--betas", type=float, nargs="+", default=[0.2, 0.8, 1.5])
    grids.add_argument("--train", type=int, default=3000, help="number of grids")
    grids.add_argument("--size", type=int, default=10, help="of the grids")
    grids.add_argument("--batch", type=int, default=8)
    grids.add_argument("--iterations", type=int, default=20)
    grids.add_argument("--rate", type=float, default=5e-3)
    points = command(bodies, 40000)
    points.add_argument("--train", type=int, nargs="+", default=[3000], help="numbers of trajectories")
    points.add_argument("--batch", type=int, default=50)
    points.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run(options)


if __name__ == "__main__":
    main()
