"""Hybrid inference: one command an experiment, each prints the rows of docs/hybrid.md.

    python benchmarks/hybrid.py linear --train 100 1000 10000 --seeds 0
    python benchmarks/hybrid.py lorenz --train 100 1000 10000 --seeds 0
    python benchmarks/hybrid.py ising
    python benchmarks/hybrid.py bodies --train 500 --steps 300
    python benchmarks/hybrid.py sst --data ersst_ibtracs_hp32_nested.npz
    python benchmarks/hybrid.py physics
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from meshconv import HealpixSphere, TriangleMesh
from meshconv.hybrid import (
    EGNN,
    AdvectionDiffusion,
    EnhancedBeliefPropagation,
    FieldModel,
    GaussMarkovModel,
    HybridField,
    HybridSmoother,
    Kriging,
    SpaceTimePrior,
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


def row(*cells: object) -> None:
    print("| " + " | ".join(f"{c:.4f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def fit(
    module: nn.Module, loss: Callable[[], Tensor], validate: Callable[[], float], steps: int, rate: float
) -> nn.Module:
    """Adam with a cosine schedule; the state with the best validation error of 12, the first before training."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, state = validate(), deepcopy(module.state_dict())
    for step in range(steps):
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // 12) == 0:
            error = validate()
            if error < best:
                best, state = error, deepcopy(module.state_dict())
    module.load_state_dict(state)
    return module


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
    """Train on windows of what is before ``cut``, validate on the rest."""
    windows = batches(truth[:, :cut], y[:, :cut], 100, options.windows, rng)

    def validate() -> float:
        with torch.no_grad():
            return error_of(network.model, network(y)[:, cut:], truth[:, cut:])

    def loss() -> Tensor:
        target, given = next(windows)
        return network.loss(given, target)

    fit(network, loss, validate, options.steps, 3e-3)


def chain(options: argparse.Namespace, make: Callable[..., tuple[Tensor, Tensor]], models: dict, hybrid: Callable,
          gamma: float) -> None:  # fmt: skip
    """The table of a chain: observations, the best smoother, hybrid, and network alone."""
    row("n", "seed", "observations", "best smoother (sigma)", "network alone", "hybrid", "minutes")
    row(*["---"] * 7)
    truth, y = make(np.random.default_rng(1000), options.pieces, 1000)
    for n in options.train:
        for seed in options.seeds:
            begin = time.process_time()
            rng = np.random.default_rng(seed)
            torch.manual_seed(seed)
            known, seen = make(rng, 1, n)
            cut = n - max(20, n // 5)
            sigma, smoother = best_smoother(models, known, seen)
            model = hybrid(sigma)
            errors = []
            for use_model in (False, True):
                network = HybridSmoother(model, iterations=ITERATIONS, gamma=gamma, use_model=use_model)
                train_chain(network, known, seen, cut, options, rng)
                with torch.no_grad():
                    states = torch.cat([network(part) for part in y.split(2)])
                errors.append(error_of(model, states, truth))
            alone = error_of(smoother, smoother.smooth(y), truth)
            row(n, seed, float(((y - truth) ** 2).mean()), f"{alone:.4f} ({sigma:g})", *errors,
                round((time.process_time() - begin) / 60, 1))  # fmt: skip


def linear(options: argparse.Namespace) -> None:
    models = {s: constant_velocity(s) for s in (0.15, 0.2, 0.25, 0.3, 0.325, 0.35, 0.4, 0.45, 0.5)}
    # Steeper models would not be stable at gamma 0.03.
    chain(options, linear_pieces, models, lambda sigma: constant_velocity(max(sigma, 0.35)), 0.03)


def lorenz(options: argparse.Namespace) -> None:
    models = {s: lorenz_model(s, options.order) for s in (3.0, 5.0, 7.0)}
    chain(options, lorenz_pieces, models, lambda sigma: lorenz_model(3.0, options.order), 0.005)


# Factor graphs


def random_ising(size: int, beta: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    shapes = [(size, size), (size, size - 1), (size - 1, size)]
    return tuple(beta * rng.normal(size=shape) for shape in shapes)


def ising(options: argparse.Namespace) -> None:
    """Mean absolute error of marginals; couplings and fields are normal with standard deviation beta."""
    row("beta", "mean field", "BP (damping 0.5)", "NEBP", "minutes")
    row(*["---"] * 5)
    for beta in (0.2, 0.8, 1.5):
        begin, rng = time.process_time(), np.random.default_rng(0)
        torch.manual_seed(0)
        network = EnhancedBeliefPropagation(2, hidden=32, iterations=10, damping=0.5)
        grids = [[random_ising(5, beta, rng) for _ in range(n)] for n in (options.grids, 8)]
        train, val = ([(ising_grid(*g), torch.from_numpy(ising_marginals(*g)).float()) for g in part] for part in grids)

        def divergence(graph: object, exact: Tensor, network: nn.Module = network) -> Tensor:
            return (exact * (exact.clamp_min(1e-9).log() - network(graph))).sum(-1).mean()

        def loss(train: list = train, rng: np.random.Generator = rng) -> Tensor:
            return divergence(*train[rng.integers(len(train))])

        def validate(val: list = val) -> float:
            with torch.no_grad():
                return float(np.mean([float(divergence(*pair)) for pair in val]))

        fit(network, loss, validate, options.steps, 3e-3)
        errors: list[list[float]] = []
        for _ in range(options.test):
            grid = random_ising(options.size, beta, rng)
            graph, exact = ising_grid(*grid), ising_marginals(*grid)
            with torch.no_grad():
                learned = network(graph).exp().numpy()
            found = mean_field(graph), belief_propagation(graph, damping=0.5), learned
            errors.append([float(np.abs(f - exact).mean()) for f in found])
        row(beta, *np.mean(errors, 0).tolist(), round((time.process_time() - begin) / 60, 1))


# Points in space


def bodies(options: argparse.Namespace) -> None:
    """Mean squared error of positions after one unit of time."""
    row("trajectories", "seed", "straight lines", "EGNN", "minutes")
    row(*["---"] * 5)
    src, dst = fully_connected(5)

    def prepared(count: int, seed: int) -> tuple[Tensor, ...]:
        charges, x, v, y = charged_bodies(count, seed=seed)
        return charges, x, charges[:, src] * charges[:, dst], v, y

    test, val = prepared(1000, 1000), prepared(200, 2000)
    for n in options.train:
        for seed in options.seeds:
            begin = time.process_time()
            torch.manual_seed(seed)
            train = prepared(n, seed)
            network = EGNN(1, 1, hidden=64, layers=4, edge_features=1, with_velocity=True)

            def error(part: tuple[Tensor, ...], network: EGNN = network) -> Tensor:
                charges, x, pairs, v, y = part
                return ((network(charges, x, src, dst, pairs, v)[1] - y) ** 2).mean()

            def loss(train: tuple[Tensor, ...] = train, n: int = n) -> Tensor:
                chosen = torch.randint(n, (50,))
                return error(tuple(t[chosen] for t in train))

            def validate() -> float:
                with torch.no_grad():
                    return float(error(val))

            fit(network, loss, validate, options.steps, 2e-3)
            straight = float(((test[1] + test[3] - test[4]) ** 2).mean())
            with torch.no_grad():
                row(n, seed, straight, float(error(test)), round((time.process_time() - begin) / 60, 1))


# Surfaces


def sst(options: argparse.Namespace) -> None:
    """Anomalies of the sea surface temperature (ERSST v5) from 2 % of the ocean's pixels with noise of 0.2 K."""
    data = np.load(options.data)["sst_degC"].astype(np.float64)
    months = np.arange(len(data)) % 12
    climate = np.stack([data[:96][months[:96] == m].mean(0) for m in range(12)])
    anomalies = data - climate[months]
    ocean = np.isfinite(anomalies).all(0)
    if options.nside < 32:  # mean over the pixels' ocean
        known = np.where(ocean, 1.0, 0.0).reshape(12 * options.nside**2, -1)
        cells = np.where(ocean, anomalies, 0.0).reshape(len(data), *known.shape).sum(-1) / known.sum(-1).clip(1)
        anomalies, ocean = cells, known.mean(-1) > 0.5
    sphere, rng = HealpixSphere(options.nside), np.random.default_rng(0)
    hierarchy = sphere.hierarchy(2, points=np.flatnonzero(ocean)).to(torch.float32)
    graph, fields = hierarchy.finest, torch.from_numpy(anomalies[:, ocean]).float()[..., None]
    count = fields.shape[1]
    points = rng.choice(count, min(600, count), replace=False)
    seen = fields[0, points, 0].numpy() + 0.2 * rng.normal(size=len(points))
    found = Kriging.fit(graph, points, seen)
    print(f"range {found.range:.3f}, deviation {found.deviation:.3f}, noise {found.noise:.3f}", flush=True)
    model = FieldModel(graph, found.range, found.deviation, 0.2, 0.02)

    def observed(which: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        truth = fields[which]
        mask = torch.rand(truth.shape[:-1], generator=generator) < 0.02
        return truth, truth + 0.2 * torch.randn(truth.shape, generator=generator), mask

    class NoModel(FieldModel):
        """The network alone: it starts at zero and has no messages."""

        def posterior(self, values: Tensor, mask: Tensor) -> Tensor:
            return torch.zeros_like(values)

        def message(self, x: Tensor, values: Tensor, mask: Tensor) -> Tensor:
            return torch.zeros_like(x)

    nothing = NoModel(graph, found.range, found.deviation, 0.2, 0.02)
    test, val = torch.arange(96, len(data)), torch.arange(90, 96)
    truth, y, mask = observed(test, torch.Generator().manual_seed(0))
    kriged = model.posterior(y, mask)
    scores = [((kriged[k] - truth[k])[:, 0] / model.deviations(mask[k]).float()).abs() for k in range(0, len(test), 8)]
    inside = [float((torch.cat(scores) < s).float().mean()) for s in (1, 2)]
    print(f"kriging: {inside[0]:.3f} within one deviation, {inside[1]:.3f} within two", flush=True)
    row("months", "kriging", "network alone", "hybrid", "minutes")
    row(*["---"] * 5)
    for n in options.train:
        begin, errors = time.process_time(), []
        for used in (nothing, model):
            torch.manual_seed(0)
            generator = torch.Generator().manual_seed(1)
            network = HybridField("1x0", "1x0", channels=[8, 16], max_order=1, width=32)

            def square(part: tuple[Tensor, ...], network: HybridField = network, used: FieldModel = used) -> Tensor:
                truth, y, mask = part
                field = network(torch.ones_like(y), hierarchy, y, mask, used)
                return ((field - truth) ** 2).mean()

            def loss(n: int = n, generator: torch.Generator = generator) -> Tensor:
                network_months = torch.randint(max(90 - n, 0), 90, (2,), generator=generator)
                return square(observed(network_months, generator))

            def validate(network: HybridField = network) -> float:
                network.eval()
                with torch.no_grad():
                    error = float(square(observed(val, torch.Generator().manual_seed(2))))
                network.train()
                return error

            fit(network, loss, validate, options.steps, 3e-3)
            network.eval()
            with torch.no_grad():
                errors.append(float(square((truth, y, mask))) ** 0.5)
        row(n, float(((kriged - truth) ** 2).mean()) ** 0.5, *errors, round((time.process_time() - begin) / 60, 1))


def bumpy_torus(rows: int = 48, columns: int = 24) -> TriangleMesh:
    a, b = np.meshgrid(np.arange(rows) / rows * 2 * np.pi, np.arange(columns) / columns * 2 * np.pi, indexing="ij")
    r = 0.4 * (1 + 0.2 * np.sin(3 * a) * np.cos(2 * b))
    points = np.stack([(1 + r * np.cos(b)) * np.cos(a), (1 + r * np.cos(b)) * np.sin(a), r * np.sin(b)], -1)
    i = np.arange(rows * columns).reshape(rows, columns)
    j, k, m = np.roll(i, -1, 0), np.roll(i, -1, 1), np.roll(np.roll(i, -1, 0), -1, 1)
    faces = np.concatenate([np.stack([i, j, m], -1).reshape(-1, 3), np.stack([i, m, k], -1).reshape(-1, 3)])
    return TriangleMesh(points.reshape(-1, 3), faces, "bumpy torus")


def physics(options: argparse.Namespace) -> None:
    """Advection and diffusion on a bumpy torus, observed at 1 % of the vertices over 10 times, noise 0.1."""
    mesh, rng = bumpy_torus(), np.random.default_rng(0)
    points = np.asarray(mesh.vertices)
    velocity = 0.5 * np.cross([0.0, 0.0, 1.0], points)
    first = Kriging(mesh, range=1.0)
    root = np.linalg.cholesky(np.linalg.inv(first.prior.precision.toarray()))
    true = AdvectionDiffusion(mesh, velocity, 0.02, 0.2)
    models = {
        "kriging of each time": None,
        "no physics (D = 0, v = 0)": AdvectionDiffusion(mesh, 0 * velocity, 0.0, 0.2),
        "wrong diffusivity (D = 0.1)": AdvectionDiffusion(mesh, velocity, 0.1, 0.2),
        "true physics": true,
    }
    errors: dict[str, list[float]] = {name: [] for name in models}
    v, begin = len(points), time.process_time()
    for _ in range(options.test):
        x = [root @ rng.normal(size=v)]
        for _ in range(9):
            x.append(true.step(x[-1]))
        truth = np.stack(x)
        seen = np.stack([rng.choice(v, v // 100, replace=False) for _ in range(10)])
        y = np.take_along_axis(truth, seen, 1) + 0.1 * rng.normal(size=seen.shape)
        for name, flow in models.items():
            if flow is None:
                kriging = Kriging(mesh, range=1.0, noise=0.1)
                found = np.stack([kriging.estimate(s, values) for s, values in zip(seen, y, strict=True)])
            else:
                prior = SpaceTimePrior(flow, 10, range=1.0, deviation=1.0, process_noise=0.05)
                found = prior.estimate((np.arange(10)[:, None] * v + seen).ravel(), y.ravel(), noise=0.1)
            errors[name].append(float(((found - truth) ** 2).mean() ** 0.5))
    row("model", "root mean square error", "standard error", "minutes of all")
    row(*["---"] * 4)
    for name, values in errors.items():
        row(name, float(np.mean(values)), float(np.std(values) / len(values) ** 0.5),
            round((time.process_time() - begin) / 60, 1))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run in (linear, lorenz):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        command.add_argument("--train", type=int, nargs="+", default=[100, 500, 1000, 5000, 10000])
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        command.add_argument("--steps", type=int, default=150, help="of training, for each network")
        command.add_argument("--windows", type=int, default=6, help="of 100 times, in a batch")
        command.add_argument("--pieces", type=int, default=10, help="of 1000 times, for the test")
        command.add_argument("--order", type=int, default=2, help="of Taylor's series (lorenz)")
    grids = commands.add_parser("ising")
    grids.set_defaults(run=ising)
    grids.add_argument("--steps", type=int, default=300, help="of training")
    grids.add_argument("--grids", type=int, default=200, help="5 x 5, for training")
    grids.add_argument("--size", type=int, default=10, help="of the grids of the test")
    grids.add_argument("--test", type=int, default=10, help="number of them")
    points = commands.add_parser("bodies")
    points.set_defaults(run=bodies)
    points.add_argument("--train", type=int, nargs="+", default=[3000])
    points.add_argument("--seeds", type=int, nargs="+", default=[0])
    points.add_argument("--steps", type=int, default=3000)
    ocean = commands.add_parser("sst")
    ocean.set_defaults(run=sst)
    ocean.add_argument("--data", required=True)
    ocean.add_argument("--nside", type=int, default=32)
    ocean.add_argument("--train", type=int, nargs="+", default=[6, 12, 24, 48, 90], help="months")
    ocean.add_argument("--steps", type=int, default=300)
    flow = commands.add_parser("physics")
    flow.set_defaults(run=physics)
    flow.add_argument("--test", type=int, default=5, help="number of series")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
