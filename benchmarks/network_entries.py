"""Entries of networks.py, each in a process of its own: builds one, measures it, prints one line of JSON.

Each builder returns a network, the call that gives its logits, their classes, and seconds of preparation. Peers take
the width whose number of weights is nearest to ours.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusion_net
import numpy as np
import torch
import trimesh
import yaml
from entries import memory_mb, peak
from harmonic_networks import HarmonicNetwork
from map_training import count_weights
from peers import gem_cnn_part
from torch import Tensor, nn

from meshconv import GaugeGraph, HealpixSphere, Hierarchy, TriangleMesh, models
from meshconv.datasets import MeshFolder, SurfaceBatch, write_shapes
from meshconv.datasets.generated import FAMILIES
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.shipped import find_config

MESHES, PARTS, ZONES = len(FAMILIES), 8, 3  # classes of the three cases
FIELDS = "2x0 + 1x1"  # of a map on the sphere
RINGS, ORDER, SAMPLES = 2, 2, 7  # GEM-CNN's, as in its experiments
GAUSSIANS = 3


@dataclass
class Built:
    """A network, what it computes, the classes that are wanted, and how long its inputs took."""

    network: nn.Module
    logits: Callable[[], Tensor]
    target: Tensor
    points: int
    preparation: float | None = None  # None: the points and graph of ours
    eigenvectors: float | None = None  # part of it


def ours(config: str, in_type: Any, classes: int) -> nn.Module:
    """The network of a configuration that ships."""
    model = yaml.safe_load(find_config(config).read_text())["model"]["init_args"]
    return getattr(models, model["network"])(in_type, classes, **model["options"])


def nearest(make: Callable[[int], nn.Module], wanted: int) -> nn.Module:
    """The network whose number of weights is nearest; ``make`` takes the width."""
    width = 1
    before = found = make(width)
    while count_weights(found) < wanted:
        width += 1
        before, found = found, make(width)
    return min(before, found, key=lambda network: abs(count_weights(network) - wanted))


def shapes(folder: Path) -> tuple[MeshFolder, SurfaceBatch, float]:
    """The first batch of generated meshes as ``classify`` prepares them, one variant, without a cache to read from."""
    write_shapes(folder / "shapes", train=2, test=1)
    options = yaml.safe_load(find_config("classify").read_text())["data"]["init_args"]
    options |= {"root": str(folder / "shapes"), "cache": str(folder / "cache"), "workers": 0}
    data = MeshFolder(**options | {"variants": 0, "augment": None, "val_fraction": 0.0})
    start = time.process_time()
    batch = next(iter(data.train_dataloader()))
    return data, batch, time.process_time() - start


def torus(count: int) -> TriangleMesh:
    """A bumpy torus of ``count`` vertices."""
    small = max(k for k in range(3, math.isqrt(count) + 1) if count % k == 0)
    shape = trimesh.creation.torus(1.0, 0.4, major_sections=count // small, minor_sections=small)
    vertices = shape.vertices * [1, 1.1, 1] * (1 + 0.05 * np.sin(5 * shape.vertices[:, :1]))
    return TriangleMesh(vertices, shape.faces)


def diffusion_inputs(clone: str, meshes: Sequence[TriangleMesh]) -> tuple[Any, list[dict[str, Tensor]], float, float]:
    """The clone's package, arguments of its network, and seconds of all and of the eigenvectors alone."""
    package, spent = diffusion_net.load(Path(clone)), [0.0]
    solve = package.geometry.sla.eigsh

    def timed(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        found = solve(*args, **options)
        spent[0] += time.process_time() - start
        return found

    package.geometry.sla.eigsh = timed
    start, inputs = time.process_time(), []
    for mesh in meshes:
        points = package.geometry.normalize_positions(torch.from_numpy(mesh.vertices).float())
        faces, count = torch.from_numpy(mesh.faces), diffusion_net.EIGENFUNCTIONS
        _, mass, _, values, vectors, x, y = package.geometry.compute_operators(points, faces, count)
        signature = package.geometry.compute_hks_autoscale(values, vectors, diffusion_net.SIGNATURES)
        inputs.append({"x_in": signature, "mass": mass, "evals": values, "evecs": vectors, "gradX": x, "gradY": y})
    return package, inputs, time.process_time() - start, spent[0]


def diffusion(clone: str, meshes: Sequence[TriangleMesh], target: Tensor, classes: int, wanted: int, at: str) -> Built:
    """DiffusionNet, which takes one mesh at a time: a batch is one after another."""
    package, inputs, seconds, eigenvectors = diffusion_inputs(clone, meshes)
    options = {"N_block": diffusion_net.BLOCKS, "outputs_at": at}
    signatures = diffusion_net.SIGNATURES
    network = nearest(lambda w: package.layers.DiffusionNet(signatures, classes, C_width=w, **options), wanted)

    def logits() -> Tensor:
        found = [network(**given) for given in inputs]
        return torch.stack(found) if at == "global_mean" else torch.cat(found)

    return Built(network, logits, target, sum(m.num_vertices for m in meshes), seconds, eigenvectors)


class GemNetwork(nn.Module):
    """As GEM-CNN's experiment on shapes, of positions, with one residual block more; logits of each mesh."""

    def __init__(self, block: Any, width: int, classes: int):
        super().__init__()
        ends = [(3, width, 0, ORDER), *[(width, width, ORDER, ORDER)] * 2, (width, width, ORDER, 0)]
        self.blocks = nn.ModuleList(block(*end, RINGS, SAMPLES) for end in ends)
        self.head = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, classes))

    def forward(self, x: Tensor, pairs: Tensor, precomp: Tensor, mesh: Tensor) -> Tensor:
        from torch_geometric.nn import global_mean_pool

        x = x[:, :, None]
        for block in self.blocks:
            x = block(x, pairs, precomp, None)
        return global_mean_pool(self.head(x[:, :, 0]), mesh)


def gem_inputs(graph: GaugeGraph) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Our graph in GEM-CNN's terms: row 0 receives, angles before and after, weights of self and rings."""
    points = torch.arange(graph.num_vertices)
    pairs = torch.cat([torch.stack([graph.dst, graph.src]), points.expand(2, -1)], dim=1)
    radius = graph.log_radius / graph.log_radius.max()
    angles = [graph.transporter - graph.log_angle, graph.log_angle]
    edges = torch.stack([*angles, torch.zeros_like(radius), 1 - radius, radius], dim=1)
    itself = torch.tensor([0.0, 0, 1, 0, 0]).expand(len(points), -1)
    mesh = torch.repeat_interleave(torch.arange(graph.num_graphs), graph.graph_ptr.diff())
    return graph.positions, pairs, torch.cat([edges, itself]), mesh


class MixtureNetwork(nn.Module):
    """Four residual blocks of two GMMConv each, batch norm and relu, on the finest graph alone; logits of points."""

    def __init__(self, in_dim: int, width: int, classes: int):
        from torch_geometric.nn import GMMConv

        super().__init__()
        self.stem, self.head = nn.Linear(in_dim, width), nn.Linear(width, classes)
        self.convs = nn.ModuleList(GMMConv(width, width, dim=2, kernel_size=GAUSSIANS) for _ in range(8))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in self.convs)

    def forward(self, x: Tensor, pairs: Tensor, logs: Tensor) -> Tensor:
        x = self.stem(x)
        for k in range(0, len(self.convs), 2):
            y = torch.relu(self.norms[k](self.convs[k](x, pairs, logs)))
            x = torch.relu(x + self.norms[k + 1](self.convs[k + 1](y, pairs, logs)))
        return self.head(x)


def classify(network: str, size: int, order: dict[str, Any], folder: Path) -> Built:
    data, batch, seconds = shapes(folder)
    mine = ours("classify", data.in_type, MESHES)
    if network == "ShapeClassifier":
        return Built(mine, lambda: mine(batch.x, batch.surface), batch.target, len(batch.x), seconds)
    wanted = count_weights(mine)
    if network == "DiffusionNet":
        meshes = [sample.raw() for sample in data.samples("train")]
        return diffusion(order["diffusion_net"], meshes, batch.target, MESHES, wanted, "global_mean")
    block = gem_cnn_part(order["gem_cnn"], "gem_res_net_block").GemResNetBlock
    gem, inputs = nearest(lambda width: GemNetwork(block, width, MESHES), wanted), gem_inputs(batch.surface)
    return Built(gem, lambda: gem(*inputs), batch.target, len(batch.x))


def segment(network: str, size: int, order: dict[str, Any], folder: Path) -> Built:
    mesh, target = torus(size), torch.randint(PARTS, (size,))
    prepare = Preparation(num_levels=4)
    mine = ours("segment", prepare.in_type, PARTS)
    wanted = count_weights(mine)
    if network == "DiffusionNet":
        return diffusion(order["diffusion_net"], [mesh], target, PARTS, wanted, "vertices")
    start = time.process_time()
    x, surface = prepare.inputs(mesh)
    seconds = time.process_time() - start
    assert isinstance(surface, Hierarchy)
    if network == "ShapeUNet":
        return Built(mine, lambda: mine(x, surface), target, size, seconds)
    graph = surface.finest
    radius, angle = graph.log_radius / graph.scale[graph.dst], graph.log_angle
    logs = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    pairs = torch.stack([graph.src, graph.dst])
    mixture = nearest(lambda width: MixtureNetwork(x.shape[1], width, PARTS), wanted)
    return Built(mixture, lambda: mixture(x, pairs, logs), target, size)


def healpix_levels(nside: int) -> tuple[HealpixSphere, Hierarchy]:
    """A sphere and its levels as the configuration ``sphere_maps`` has them."""
    options = yaml.safe_load(find_config("sphere_maps").read_text())["data"]["init_args"]
    grid = HealpixSphere(nside)
    return grid, grid.hierarchy(options["num_levels"], options["radius"] * grid.spacing).to(torch.float32)


def sphere_maps(network: str, size: int, order: dict[str, Any], folder: Path) -> Built:
    start = time.process_time()
    grid, surface = healpix_levels(size)
    seconds: float | None = time.process_time() - start
    chosen = ours("sphere_maps", FIELDS, ZONES)
    wanted = count_weights(chosen)
    if network == "PlanarUNet":
        chosen = nearest(lambda w: models.PlanarUNet(FIELDS, ZONES, [2 * w, 3 * w, 4 * w]), wanted)
        seconds = None
    elif network == "torch-harmonics":
        # All blocks of the local kind, at the resolution of the grid; then weights do not depend on it.
        same: dict[str, Any] = {"num_layers": 4, "scale_factor": 1, "sfno_block_frequency": 5}

        def local(width: int, nside: int = 4) -> nn.Module:
            return HarmonicNetwork("LocalSphericalNeuralOperator", FIELDS, ZONES, nside, embed_dim=width, **same)

        width = nearest(local, wanted).network.embed_dim
        start = time.process_time()
        chosen = local(width, size)
        seconds = time.process_time() - start
    x, target = torch.randn(1, grid.npix, 4), torch.randint(ZONES, (grid.npix,))
    return Built(chosen, lambda: chosen(x, surface)[0], target, grid.npix, seconds)


def measure(built: Built, repeats: int) -> dict[str, Any]:
    """Least processor time of a training step and of a prediction, and their peaks over what was held before both."""
    optimiser, times = torch.optim.AdamW(built.network.parameters()), []

    def predict() -> None:
        with torch.no_grad():
            built.logits()

    def train() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(built.logits(), built.target).backward()
        optimiser.step()

    def timed(call: Callable[[], None]) -> None:
        for _ in range(repeats):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)

    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what preparation left free
    held = memory_mb("VmRSS")
    found: dict[str, Any] = {"weights": count_weights(built.network), "points": built.points,
                             "preparation": built.preparation, "eigenvectors": built.eigenvectors}  # fmt: skip
    for name, call in (("prediction", predict), ("training", train)):
        built.network.train(name == "training")
        call()  # weights between grids and the optimiser's state are made here
        times.clear()
        _, whole = peak(lambda call=call: timed(call), torch.device("cpu"))
        found |= {name: min(times), f"{name}_mb": whole - held}
    return found


def main() -> None:
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    build = {"classify": classify, "segment": segment, "sphere_maps": sphere_maps}[order["config"]]
    with tempfile.TemporaryDirectory() as folder:
        built = build(order["network"], order["size"], order, Path(folder))
        print(json.dumps(measure(built, order["repeats"])))


if __name__ == "__main__":
    main()
