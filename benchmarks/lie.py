"""Toroidal subgroup analysis: rings whose truth is known, turned patches, digits, rings on surfaces.

    python benchmarks/lie.py rings --seeds 0 1 2
    python benchmarks/lie.py patches --pairs 60000 --seeds 0 1 2 --picture docs/images/lie_filters.png
    python benchmarks/lie.py digits --seeds 0 1 2

Each command prints its rows of docs/lie.md in markdown. ``digits`` needs scikit-learn.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import zoom
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from meshconv.lie import ToroidalSubgroup, disc_mask, noise_images, turned_pairs


def uniform_angles(n: int, seed: int, limit: float = math.pi) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-limit, limit, n)


def rings(seed: int, args: argparse.Namespace) -> str:
    """Rings of 32 samples, weights 0 to 15, mixed by a random orthogonal matrix."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(32, 32, generator=g, dtype=torch.float64))[0]
    truth = ToroidalSubgroup.from_columns(mixing, range(16))
    x = torch.randn(args.pairs, 32, generator=g, dtype=torch.float64)
    y = truth.transform(x, uniform_angles(args.pairs, seed))
    y += args.noise * torch.randn(args.pairs, 32, generator=g, dtype=torch.float64)
    start = time.perf_counter()
    model = ToroidalSubgroup(16, steps=args.steps, seed=seed).fit((x, y))
    seconds = time.perf_counter() - start
    overlap = torch.einsum("jda,kdb->jkab", model.planes, truth.planes)
    angle = torch.rad2deg(torch.arccos(torch.linalg.svdvals(overlap)[..., -1].clamp(max=1)))
    rows, columns = linear_sum_assignment(angle)
    good = float((angle[rows, columns] < 5).double().mean())
    equal = float((model.weights[rows] == truth.weights[columns]).double().mean())
    worst = float(angle[rows, columns].max())
    return f"| {seed} | {good:.0%} | {worst:.2f} | {equal:.0%} | {float(model.noise):.4f} | {seconds:.0f} |"


def phase_statistics(model: ToroidalSubgroup, x: Tensor, y: Tensor, angles: np.ndarray) -> tuple[Tensor, Tensor]:
    """For each plane: the weight that known angles show, and the length of the mean of exp(i (phase - weight angle)).

    The mean is weighted by the product of the norms.
    """
    eta = model.posterior((x, y)).eta
    z = torch.view_as_complex(eta.contiguous())
    orders = torch.arange(-30, 31)
    turn = torch.polar(torch.ones(len(orders), len(x)).double(), -orders[:, None] * torch.as_tensor(angles))
    score = (turn.to(z.dtype) @ z).real / z.abs().sum(0)
    return orders[score.argmax(0)].abs(), score.amax(0)


def patches(seed: int, args: argparse.Namespace) -> str:
    """Blurred white noise on a disc of 180 pixels, turned by cubic splines."""
    start = time.perf_counter()
    angles = uniform_angles(args.pairs, seed)
    x, y = turned_pairs(noise_images(args.pairs, blur=args.blur, seed=seed), angles)
    made = time.perf_counter() - start
    model = ToroidalSubgroup(args.planes, steps=args.steps, seed=seed, max_weight=30).fit((x, y))
    seconds = time.perf_counter() - start - made
    held_angles = uniform_angles(2000, 1000 + seed)
    held = turned_pairs(noise_images(2000, blur=args.blur, seed=1000 + seed), held_angles)
    weight, length = phase_statistics(model, *held, held_angles)
    right = (weight == model.weights) & (length > 0.9)
    u, v = ((p @ model.columns).unflatten(-1, (-1, 2)) for p in held)
    phase = torch.view_as_complex(v.contiguous()).angle() - torch.view_as_complex(u.contiguous()).angle()
    # The sense of all planes together is free.
    errors = [torch.angle(torch.polar(torch.ones_like(phase), phase - sign * model.weights
                                      * torch.as_tensor(held_angles)[:, None])).abs() for sign in (1, -1)]  # fmt: skip
    error = min((e.median(0).values for e in errors), key=lambda e: float(e.mean()))
    if args.picture:
        draw_filters(model, Path(args.picture))
    counts = ", ".join(f"{k}: {int(c)}" for k, c in enumerate(torch.bincount(model.weights)) if c)
    print(f"seed {seed}: planes by weight {{{counts}}}; lengths {length.numpy().round(2).tolist()}", flush=True)
    return (
        f"| {seed} | {args.pairs} | {float((weight == model.weights).double().mean()):.0%} | "
        f"{float(right.double().mean()):.0%} | {math.degrees(float(error[right].median())):.1f} | "
        f"{math.degrees(float(error.median())):.1f} | {made:.0f} + {seconds:.0f} |"
    )


def draw_filters(model: ToroidalSubgroup, path: Path) -> None:
    """Both filters of every plane on the disc, by ascending weight."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    mask, across = disc_mask(16), 10
    down = -(-model.num_planes // across)
    figure, axes = plt.subplots(2 * down, across, figsize=(across, 2.35 * down), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for j in range(model.num_planes):
        for part in range(2):
            image = np.full(mask.shape, np.nan)
            image[mask] = model.planes[j, :, part]
            axis = axes[2 * (j // across) + part, j % across]
            axis.imshow(image, cmap="RdBu", vmin=-0.25, vmax=0.25)
            if part == 0:
                axis.set_title(int(model.weights[j]), fontsize=8, pad=2)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def nearest_error(distances: Tensor, labels: np.ndarray, known: np.ndarray) -> float:
    return float((known[distances.argmin(1)] != labels).mean())


def tangent_distances(images: np.ndarray, test: Tensor, train: Tensor) -> Tensor:
    """Distance of each test signal to the line through a training signal along its rotation."""
    step = np.full(len(images), math.radians(5))
    ahead, back = turned_pairs(images, step)[1], turned_pairs(images, -step)[1]
    tangent = torch.nn.functional.normalize(ahead - back, dim=1)
    along = test @ tangent.mT - (train * tangent).sum(1)
    return (torch.cdist(test, train).square() - along.square()).clamp(min=0)


def digits(seed: int, args: argparse.Namespace) -> str:
    """Nearest neighbours among turned digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.stack([zoom(i, 2, order=3) for i in data.images])
    images = images / images.std()
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[: args.train], order[args.train : args.train + args.test]
    turn = uniform_angles(len(images), seed, math.radians(args.limit))
    turned = np.zeros_like(images)
    mask = disc_mask(16)
    turned[:, mask] = turned_pairs(images, turn)[1].numpy()
    # Pairs to learn from: training images only, each turned anew several times.
    many = np.tile(train, args.copies)
    model = ToroidalSubgroup(args.planes, steps=args.steps, seed=seed, max_weight=30)
    model.fit(turned_pairs(turned[many], uniform_angles(len(many), seed + 1)))
    known, asked = (torch.as_tensor(turned[part][:, mask]) for part in (train, test))
    classes, labels = data.target[train], data.target[test]
    rows = [((x.expand(len(known), -1), known)) for x in asked[:, None]]
    found = {
        "Euclidean": torch.cdist(asked, known),
        "tangent distance": tangent_distances(turned[train], asked, known),
        "norms": torch.cdist(*(model.invariants(p)[:, : args.planes] for p in (asked, known))),
        "invariants": torch.cdist(model.invariants(asked), model.invariants(known)),
        "torus": torch.stack([model.distance(p, over="torus") for p in rows]),
        "subgroup": torch.stack([model.distance(p) for p in rows]),
    }
    errors = " | ".join(f"{nearest_error(d, labels, classes):.1%}" for d in found.values())
    print(f"| seed | {' | '.join(found)} |", flush=True)
    return f"| {seed} | {errors} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    defaults = {
        rings: {"pairs": 2000, "steps": 500, "noise": 0.01},
        patches: {"pairs": 60_000, "planes": 50, "steps": 2000, "blur": 0.8, "picture": ""},
        digits: {"train": 1000, "test": 500, "copies": 5, "planes": 40, "steps": 1000, "limit": 180.0},
    }
    for run, options in defaults.items():
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        for name, value in options.items():
            command.add_argument(f"--{name}", type=type(value), default=value)
        command.set_defaults(run=run)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        print(args.run(seed, args), flush=True)


if __name__ == "__main__":
    main()
