"""A mesh autoencoder on a batch of PyTorch3D's Meshes, with gradients to the positions of the vertices.

Each vertex is described by how it lies against the mean of its neighbours, as one scalar (along the normal) and one
tangent vector in its own frame: "1x0 + 1x1". A network squeezes that through a narrow type and restores it. The graphs
are made of the meshes as they are; features are a differentiable function of the vertices, so that the loss has a
gradient in them, and the mesh itself can be improved: here it is smoothed towards what the network has learnt.

    pip install 'meshconv[pytorch3d]' && python examples/pytorch3d_autoencoder.py
"""

from __future__ import annotations

import argparse

import torch
import trimesh
from pytorch3d.structures import Meshes
from torch import Tensor

import meshconv
from meshconv.io import from_pytorch3d, to_pytorch3d

OFFSET = "1x0 + 1x1"


def shapes() -> Meshes:
    """An ellipsoid and a torus as one batch."""
    ball = trimesh.creation.icosphere(2)
    ring = trimesh.creation.torus(1.0, 0.4, major_sections=24, minor_sections=12)
    arrays = ((ball.vertices * [1.0, 0.8, 0.6], ball.faces), (ring.vertices, ring.faces))
    return to_pytorch3d([meshconv.TriangleMesh(vertices, faces) for vertices, faces in arrays])


def offsets(vertices: Tensor, graph: meshconv.GaugeGraph) -> Tensor:
    """Each vertex against the mean of its neighbours, in its own frame and the graph's unit of length."""
    valence = graph.dst_ptr.diff()[:, None]
    mean = torch.zeros_like(vertices).index_add(0, graph.dst, vertices[graph.src]) / valence
    offset = (vertices - mean) / graph.scale[:, None]
    return meshconv.nn.from_ambient(offset[:, None], graph, OFFSET)


def autoencoder() -> meshconv.nn.Sequential:
    layers = meshconv.nn
    wide, narrow = "8x0 + 8x1", "2x0 + 1x1"
    return layers.Sequential(
        layers.GaugeConv(OFFSET, wide), layers.NormNonlinearity(wide), layers.GaugeConv(wide, narrow),
        layers.GaugeConv(narrow, wide), layers.NormNonlinearity(wide), layers.GaugeConv(wide, OFFSET),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    given = parser.parse_args()
    torch.manual_seed(0)
    meshes = shapes()
    graph = meshconv.GaugeGraph.batch([m.gauge_graph() for m in from_pytorch3d(meshes)]).to(torch.float32)
    print(f"{len(meshes)} meshes, {graph.num_vertices} vertices, as one {graph}")
    network = autoencoder()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    clean = offsets(meshes.verts_packed(), graph)
    for step in range(given.steps):
        optimiser.zero_grad()
        loss = (network(clean, graph) - clean).square().mean()
        loss.backward()
        optimiser.step()
        if step in (0, given.steps - 1):
            print(f"step {step + 1}: reconstruction loss {float(loss.detach()):.2e}")

    noise = 0.02 * torch.randn_like(meshes.verts_packed())
    shift = noise.clone().requires_grad_()
    optimiser = torch.optim.Adam([shift], lr=1e-3)
    for step in range(given.steps):
        optimiser.zero_grad()
        features = offsets(meshes.offset_verts(shift).verts_packed(), graph)
        loss = (network(features, graph) - features).square().mean()
        loss.backward()
        if step == 0:
            begin, slope = float(loss.detach()), float(shift.grad.norm())
            print(f"gradient in {len(shift)} vertex positions through the features: norm {slope:.2e}")
        optimiser.step()
    print(f"noisy meshes: reconstruction loss {begin:.2e}, after moving the vertices {float(loss.detach()):.2e}")


if __name__ == "__main__":
    main()
