"""What each part of a network brings, on generated meshes: accuracy against the number of training meshes.

    python benchmarks/ablation.py                 # about 20 minutes of one core
    python benchmarks/ablation.py --picture docs/images/ablation.png
    python benchmarks/ablation.py --vertices 2000 --per_class 8 --networks full "no hierarchy" "one level"

The eight families of meshconv.datasets.generated hold the same marks, arranged differently; two pairs are mirror
images. A ShapeUNet has logits of each vertex, a mesh their mean. All networks have the same inputs, schedule
and number of steps; 64 test meshes of seeds of their own.

full          orders 0 and 1, three levels
no transport  the same network; transporters are set to zero, so that others' vectors come in in their own frames
isotropic     max_order 0: neighbours by distance alone (channels as many as the full network has components)
no hierarchy  as many blocks, all on the finest level
one level     the finest level with its own two blocks alone: windows of five rings
no neighbours each vertex alone
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshconv import FieldType, Hierarchy
from meshconv.datasets import MeshSample, Preparation, SurfaceBatch, collate, generate_shapes
from meshconv.datasets.generated import FAMILIES
from meshconv.models import PointwiseClassifier, ShapeUNet
from meshconv.nn import GlobalPool

CHANNELS = (8, 12, 16)
NETWORKS: dict[str, dict[str, Any] | None] = {
    "full": {"channels": CHANNELS, "max_order": 1},
    "no transport": {"channels": CHANNELS, "max_order": 1},
    "isotropic": {"channels": [3 * c for c in CHANNELS], "max_order": 0},
    "no hierarchy": {"channels": CHANNELS[:1], "max_order": 1, "blocks": len(CHANNELS)},
    "one level": {"channels": CHANNELS[:1], "max_order": 1},
    "no neighbours": None,
}
BATCH, RATE = 8, 5e-3


class Classifier(torch.nn.Module):
    """The area mean over each mesh of a U-Net's logits of its vertices."""

    def __init__(self, in_type: FieldType, num_classes: int, **options: Any):
        super().__init__()
        self.network = ShapeUNet(in_type, num_classes, context=0, **options)
        self.pool = GlobalPool(self.network.out_type, "area")

    def forward(self, x: torch.Tensor, surface: Hierarchy) -> torch.Tensor:
        """Logits ``[G, num_classes]``; levels that the network does not have are left out."""
        count = len(self.network.down)
        used = Hierarchy(surface.levels[:count], surface.pools[: count - 1])
        return self.pool(self.network(x, used), surface.finest)


def samples(per_class: int, seed: int, vertices: int | None) -> list[MeshSample]:
    """Prepared meshes, the classes taking turns: the first 8 n of them are n of each class."""
    how = Preparation(num_levels=len(CHANNELS))
    found = []
    for mesh, label in generate_shapes(per_class, seed, vertices):
        x, graph = how.inputs(mesh.repair())
        found.append(MeshSample(x, graph, torch.tensor(label), mesh.name))
    return [found[c * per_class + i] for i in range(per_class) for c in range(len(FAMILIES))]


def without_transport(sample: MeshSample) -> MeshSample:
    """Components of others' vectors taken as they stand in their own frames."""
    assert isinstance(sample.surface, Hierarchy)

    def still(part: Any) -> Any:
        return replace(part, transporter=torch.zeros_like(part.transporter))

    levels, pools = map(still, sample.surface.levels), map(still, sample.surface.pools)
    return replace(sample, surface=Hierarchy(list(levels), list(pools)))


def train(name: str, given: list[MeshSample], steps: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = NETWORKS[name]
    in_type, classes = Preparation().in_type, len(FAMILIES)
    network = PointwiseClassifier(in_type, classes) if options is None else Classifier(in_type, classes, **options)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    order: list[int] = []
    for _ in range(steps):
        while len(order) < BATCH:
            order += torch.randperm(len(given)).tolist()
        batch = collate([given[order.pop(0)] for _ in range(BATCH)])
        optimizer.zero_grad()
        loss(logits_of(network, batch), batch.target).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def logits_of(network: torch.nn.Module, batch: SurfaceBatch) -> torch.Tensor:
    surface = batch.surface.finest if isinstance(network, PointwiseClassifier) else batch.surface
    return network(batch.x, surface)


def accuracy(network: torch.nn.Module, test: list[SurfaceBatch]) -> float:
    with torch.no_grad():
        right = sum(int((logits_of(network, b).argmax(-1) == b.target).sum()) for b in test)
    return 100 * right / sum(len(b.target) for b in test)


def picture(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.5, 3.6), layout="constrained")
    for name in dict.fromkeys(row["network"] for row in rows):
        sizes = sorted({row["meshes"] for row in rows})
        values = [[r["accuracy"] for r in rows if (r["network"], r["meshes"]) == (name, size)] for size in sizes]
        mean, spread = np.array([np.mean(v) for v in values]), np.array([np.std(v) for v in values])
        (line,) = axes.plot(sizes, mean, marker="o", label=name)
        axes.fill_between(sizes, mean - spread, mean + spread, color=line.get_color(), alpha=0.15)
    axes.set(xscale="log", xlabel="training meshes of 8 classes", ylabel="accuracy on new meshes (%)", ylim=(0, 102))
    axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per_class", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--vertices", type=int, help="of each mesh; default: 420 to 580")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--output", type=Path, default=Path("runs/ablation.json"))
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    held_out = samples(8, 1000, given.vertices)
    cut = {False: held_out, True: [without_transport(s) for s in held_out]}
    test = {off: [collate(part[i : i + 32]) for i in range(0, len(part), 32)] for off, part in cut.items()}
    rows: list[dict] = []
    given.output.parent.mkdir(parents=True, exist_ok=True)
    print(f"{'network':14}" + "".join(f"{n * len(FAMILIES):>14} meshes" for n in given.per_class))
    pools = [samples(max(given.per_class), seed, given.vertices) for seed in range(given.seeds)]
    for name in given.networks:
        off, line = name == "no transport", f"{name:14}"
        for count in given.per_class:
            found, start = [], time.process_time()
            for seed, pool in enumerate(pools):
                part = pool[: count * len(FAMILIES)]
                part = [without_transport(s) for s in part] if off else part
                found.append(accuracy(train(name, part, given.steps, seed), test[off]))
                rows.append({"network": name, "meshes": len(part), "seed": seed, "accuracy": found[-1],
                             "processor_seconds": time.process_time() - start})  # fmt: skip
                given.output.write_text(json.dumps(rows, indent=1) + "\n")
            seconds = (time.process_time() - start) / len(pools)
            line += f"{np.mean(found):12.1f} +- {np.std(found):4.1f}"
        print(f"{line}   {seconds:.0f} s", flush=True)
    if given.picture:
        picture(rows, given.picture)


if __name__ == "__main__":
    main()
