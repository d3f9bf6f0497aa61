"""Toroidal subgroup analysis: rings whose truth is known, turned patches, digits, rings on surfaces.

    python benchmarks/lie.py rings --seeds 0 1 2
    python benchmarks/lie.py patches --seeds 0 1 2 --picture docs/images/lie_filters.png
    python benchmarks/lie.py digits --seeds 0 1 2
    python benchmarks/lie.py surfaces --data PATH/shrec_16 koeppen_hp64.nc --picture docs/images/lie_rings.png
    python benchmarks/lie.py classifier --data PATH/shrec_16

Each command prints its rows of docs/lie.md in markdown. ``surfaces`` takes any of
SHREC'11 as MeshCNN distributes it, unpacked, and the climate that ships, ``koeppen_hp64.nc``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import xarray
from scipy.ndimage import zoom
from scipy.optimize import linear_sum_assignment
from shrec11 import harder as harder_version
from torch import Tensor

from meshconv import FieldType, GaugeGraph, HealpixSphere, Neighbourhood, TriangleMesh, load_mesh
from meshconv.datasets.meshes.layouts.classes import find_mesh_files
from meshconv.geometry import MESH_FEATURES, mesh_features, shape_operator
from meshconv.lie import ToroidalSubgroup, disc_mask, noise_images, ring_pairs, suggest_type, turned_pairs
from meshconv.models import ShapeClassifier
from meshconv.shipped import find_data

Sample: TypeAlias = tuple[Tensor, GaugeGraph, int]
BATCH = 10


def uniform_angles(n: int, seed: int, limit: float = math.pi) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-limit, limit, n)


def rings(seed: int, args: argparse.Namespace) -> str:
    """Rings of 32 samples, weights 0 to 15, mixed by a random orthogonal matrix."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(32, 32, generator=g, dtype=torch.float64))[0]
    truth = ToroidalSubgroup.from_columns(mixing, range(16))
    x = torch.randn(args.pairs, 32, generator=g, dtype=torch.float64)
    y = truth.transform(x, uniform_angles(args.pairs, seed, args.limit))
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


def measured_surfaces(paths: list[str]) -> Iterator[tuple[str, GaugeGraph, Tensor]]:
    """Name, graph and scalars ``[V, C]``: mean curvature of three bodies, or climate averaged to HEALPix nside 16."""
    for path in map(find_data, paths):
        if path.is_dir():
            meshes = [load_mesh(sorted(path.glob(f"{name}/train/*.obj"))[0]) for name in ("ants", "hand", "lamp")]
            yield "mean curvature of three SHREC'11 meshes", *curvature(meshes)
            continue
        sphere = HealpixSphere(16)
        graph = sphere.gauge_graph(2.5 * sphere.spacing)
        with xarray.open_dataset(path) as maps:
            for name, fine in (("temperature in January", maps.t2m[:1]), ("precipitation of twelve months", maps.tp),
                               ("elevation", maps.elevation)):  # fmt: skip
                pixels = torch.as_tensor(fine.to_numpy()).reshape(-1, sphere.num_points, 4**2)
                yield name, graph, pixels.mean(-1).T


def curvature(meshes: list[TriangleMesh]) -> tuple[GaugeGraph, Tensor]:
    """Mean curvature with outliers clipped, of mean 0 and variance 1 on every mesh, on two-rings."""
    found = []
    for mesh in meshes:
        graph = mesh.gauge_graph()
        bend = shape_operator(mesh, graph)[0][:, 0].double()
        bend = bend.clamp(*torch.quantile(bend, torch.tensor([0.02, 0.98]).double()).tolist())
        found.append((bend - bend.mean()) / bend.std())
    graphs = []
    for mesh in meshes:
        size = math.sqrt(mesh.area)
        graphs.append(replace(mesh, vertices=mesh.vertices / size).gauge_graph(Neighbourhood(rings=2)))
    return GaugeGraph.batch(graphs), torch.cat(found)


def fourier_share(model: ToroidalSubgroup, samples: int) -> Tensor:
    """Share of every plane in the Fourier modes of every order on two rings, ``[J, samples // 2 + 1]``."""
    angle = 2 * math.pi * torch.arange(samples).double() / samples
    shares = []
    for m in range(samples // 2 + 1):
        modes = torch.stack([torch.cos(m * angle), torch.sin(m * angle)])
        modes = torch.nn.functional.normalize(modes[: 1 if m in (0, samples // 2) else 2], dim=1)
        rings = torch.block_diag(modes, modes)
        shares.append((rings @ model.planes).square().sum((1, 2)) / 2)
    return torch.stack(shares, 1)


def surfaces(seed: int, args: argparse.Namespace) -> str:
    """Rings round vertices of meshes and pixels of maps, turned by random changes of gauge."""
    rows = []
    for name, graph, x in measured_surfaces(args.data):
        kinds = [str(suggest_type(graph, x, noise=n, seed=seed)) for n in (0.3, 0.1)]
        first, second, angles = ring_pairs(graph, x, noise=args.noise, seed=seed)
        model = ToroidalSubgroup(14, steps=args.steps, max_weight=8, seed=seed).fit((first, second), angles)
        energy = (first @ model.columns).square().mean(0).unflatten(0, (-1, 2)).sum(1)
        strong = energy > 5 * 2 * args.noise**2
        share, order = fourier_share(model, 16).max(1)
        right = float((order == model.weights)[strong].double().mean())
        weights = model.weights[strong].tolist()
        rows.append(f"| {name} | {seed} | {weights} | {right:.0%} | {float(share[strong].median()):.3f} | "
                    f"`{kinds[0]}` | `{kinds[1]}` |")  # fmt: skip
        if args.picture:
            draw_rings(model, strong, Path(args.picture).with_stem(f"{Path(args.picture).stem}_{len(rows)}"))
        print(rows[-1], flush=True)
    return ""


def draw_rings(model: ToroidalSubgroup, kept: Tensor, path: Path) -> None:
    """Both filters of planes on the two rings."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    numbers = kept.nonzero().flatten().tolist()
    figure, axes = plt.subplots(2, len(numbers), figsize=(1.3 * len(numbers), 2.8), squeeze=False,
                                subplot_kw={"projection": "polar"})  # fmt: skip
    edges = 2 * math.pi * (np.arange(17) - 0.5) / 16
    for column, j in enumerate(numbers):
        for part in range(2):
            values = model.planes[j, :, part].unflatten(0, (2, 16))
            axis = axes[part, column]
            axis.pcolormesh(edges, [0.3, 0.7, 1.1], values, cmap="RdBu", vmin=-0.4, vmax=0.4)
            axis.set_ylim(0, 1.1)
            axis.set_axis_off()
        axes[0, column].set_title(int(model.weights[j]), fontsize=9, pad=2)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=80)
    plt.close(figure)


@cache
def shrec11(root: str) -> tuple[list[list[Sample]], list[list[Sample]], list[TriangleMesh]]:
    """The meshes of each class as networks take them, harder versions of these, and all meshes in one list."""
    given: list[list[Sample]] = []
    harder: list[list[Sample]] = []
    meshes = []
    for label, parts in enumerate(find_mesh_files(Path(root)).values()):
        rng = np.random.default_rng(label)
        found = [load_mesh(path) for path in sorted(p for paths in parts.values() for p in paths)]
        given.append([sample(mesh, label) for mesh in found])
        harder.append([sample(harder_version(mesh, rng), label) for mesh in found])
        meshes += found
    return given, harder, meshes


def sample(mesh: TriangleMesh, label: int) -> Sample:
    graph = mesh.gauge_graph()
    return mesh_features(mesh, graph).float(), graph.to(torch.float32), label


def logits_of(network: ShapeClassifier, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Logits of a batch, and the classes."""
    logits = network(torch.cat([x for x, _, _ in samples]), GaugeGraph.batch([graph for _, graph, _ in samples]))
    return logits, torch.tensor([label for _, _, label in samples])


def trained(hidden: FieldType, train: list[Sample], classes: int, epochs: int, seed: int) -> ShapeClassifier:
    torch.manual_seed(seed)
    network = ShapeClassifier(MESH_FEATURES, classes, hidden, blocks=2, width=32)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * -(-len(train) // BATCH))
    for _ in range(epochs):
        for part in torch.randperm(len(train)).split(BATCH):
            logits, labels = logits_of(network, [train[i] for i in part])
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(logits, labels).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: ShapeClassifier, samples: list[Sample]) -> float:
    parts = [logits_of(network, samples[i : i + BATCH]) for i in range(0, len(samples), BATCH)]
    return float(torch.cat([logits.argmax(-1) == labels for logits, labels in parts]).double().mean())


def classifier(seed: int, args: argparse.Namespace) -> str:
    """SHREC'11, ten meshes of a class for training, with hidden fields of uniform and of suggested types."""
    given, harder, meshes = shrec11(args.data)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(20), (len(given), 1)), axis=1)
    train = [given[c][i] for c, chosen in enumerate(order[:, :10]) for i in chosen]
    tests = [[s[c][i] for c, chosen in enumerate(order[:, 10:]) for i in chosen] for s in (given, harder)]
    few = [meshes[20 * c + chosen[0]] for c, chosen in enumerate(order)][:: len(order) // 8]
    kind = suggest_type(*curvature(few), noise=args.noise, seed=seed)
    print(f"seed {seed}: suggested {kind} for noise {args.noise}", flush=True)
    types = [("uniform", FieldType.uniform(c, 2)) for c in (8, 4, 2)] + [("suggested", c * kind) for c in (4, 2, 1)]
    for name, hidden in types:
        start = time.perf_counter()
        network = trained(hidden, train, len(given), args.epochs, seed)
        numbers = sum(p.numel() for p in network.parameters())
        scores = " | ".join(f"{accuracy(network, samples):.1%}" for samples in tests)
        seconds = time.perf_counter() - start
        print(f"| {seed} | {name} | `{hidden}` | {numbers:,} | {scores} | {seconds:.0f} |", flush=True)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    defaults = {
        rings: {"pairs": 2000, "steps": 300, "noise": 0.01, "limit": math.pi},
        patches: {"pairs": 250_000, "planes": 50, "steps": 1500, "blur": 0.8, "picture": ""},
        surfaces: {"steps": 300, "noise": 0.1, "picture": "", "data": []},
        classifier: {"data": "shrec_16", "epochs": 20, "noise": 0.1},
        digits: {"train": 1000, "test": 500, "copies": 5, "planes": 40, "steps": 1000, "limit": 180.0},
    }
    for run, options in defaults.items():
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        for name, value in options.items():
            more = {"nargs": "+", "required": True} if isinstance(value, list) else {"type": type(value)}
            command.add_argument(f"--{name}", default=value, **more)
        command.set_defaults(run=run)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        print(args.run(seed, args), flush=True)


if __name__ == "__main__":
    main()
