"""Hybrid inference: one command an experiment, each prints the rows of docs/hybrid.md.

    python benchmarks/hybrid.py linear --train 100 1000 10000 --seeds 0
    python benchmarks/hybrid.py lorenz --train 100 1000 10000 --seeds 0
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

from meshconv.hybrid import GaussMarkovModel, HybridSmoother, lorenz_generator, taylor_transition

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
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
