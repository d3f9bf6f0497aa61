"""A GaugeConv layer in a model of PyTorch Geometric, fed by its DataLoader.

Graphs become `Data`, batches come from PyTorch Geometric's own loader, and `GaugeConv` stands between its `SAGEConv`
and its `global_mean_pool`. The task: three fields vary along three axes at right angles, right-handed or left-handed.
The two are mirror images of each other, alike to any model that sees no directions.

    pip install 'meshconv[pyg]' && python examples/pyg_model.py
"""

from __future__ import annotations

import argparse

import torch
import trimesh
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import SAGEConv, global_mean_pool

import meshconv
from meshconv.io import from_pyg, to_pyg


def samples(count: int, seed: int) -> list[Data]:
    """Spheres with three noisy fields along random axes, right-handed (0) or left-handed (1)."""
    generator = torch.Generator().manual_seed(seed)
    sphere = trimesh.creation.icosphere(2)
    graph = meshconv.TriangleMesh(sphere.vertices, sphere.faces).gauge_graph().to(torch.float32)
    found = []
    for i in range(count):
        axes, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
        axes = axes * torch.linalg.det(axes) * (1 - 2 * (i % 2))
        fields = graph.positions @ axes + 0.05 * torch.randn(graph.num_vertices, 3, generator=generator)
        found.append(to_pyg(graph, x=fields, y=torch.tensor([i % 2])))
    return found


class Network(nn.Module):
    """A gauge convolution for directions, PyTorch Geometric's layers for what is left: scalars and lengths."""

    def __init__(self, channels: int = 8):
        super().__init__()
        self.fields = meshconv.FieldType(f"{channels}x0 + {channels}x1")
        self.conv = meshconv.nn.GaugeConv("3x0", self.fields)
        self.hidden = nn.ModuleList(SAGEConv(2 * channels, 2 * channels) for _ in range(2))
        self.last = nn.Linear(2 * channels, 2)

    def forward(self, data: Batch) -> Tensor:
        x = self.fields.invariants(self.conv(data.x, from_pyg(data)))
        for layer in self.hidden:
            x = layer(x, data.edge_index).relu()
        return self.last(global_mean_pool(x, data.batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--samples", type=int, default=64)
    given = parser.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(samples(given.samples, seed=0), batch_size=8, shuffle=True)
    network = Network()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    print(f"{given.samples} spheres, right-handed or left-handed, in batches of 8")
    for epoch in range(given.epochs):
        total = 0.0
        for batch in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(batch), batch.y)
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) / len(loader)
        if epoch % 5 == 4 or epoch + 1 == given.epochs:
            print(f"epoch {epoch + 1}: loss {total:.3f}")
    test = Batch.from_data_list(samples(32, seed=1))
    with torch.no_grad():
        accuracy = (network(test).argmax(1) == test.y).float().mean()
    print(f"accuracy on 32 new spheres: {accuracy:.3f}")


if __name__ == "__main__":
    main()
