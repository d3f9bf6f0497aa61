"""Prediction of large meshes in geodesic patches, beside the whole at once: agreement, time, vertices of the halo."""

from __future__ import annotations

import argparse
import time

import torch
import trimesh

from meshconv import TriangleMesh
from meshconv.geometry import geodesic_patches
from meshconv.models import FieldUNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", type=int, default=8, help="of the icosphere: 10 * 4 ** level + 2 vertices")
    parser.add_argument("--max-vertices", type=int, default=60000)
    options = parser.parse_args()
    ball = trimesh.creation.icosphere(options.level)
    surface = TriangleMesh(ball.vertices, ball.faces).hierarchy(3).to(torch.float32)
    torch.manual_seed(0)
    network = FieldUNet("2x0 + 1x1", "1x0 + 1x1", channels=(4, 8, 8), max_order=1, width=16, context=0).eval()
    x = torch.randn(surface.num_vertices, 4)
    start = time.perf_counter()
    patches = geodesic_patches(surface, network.reach, options.max_vertices)
    divided = time.perf_counter() - start
    own = surface.num_vertices / sum(len(patch.points) for patch in patches)
    print(f"{surface.num_vertices:,} vertices: {len(patches)} patches in {divided:.1f} s, {100 * own:.0f} % their own")
    with torch.no_grad():
        start = time.perf_counter()
        whole = network(x, surface)
        at_once = time.perf_counter() - start
        worst, start = 0.0, time.perf_counter()
        for patch in patches:
            found = network(x[patch.points], patch.of(surface))[patch.numbers(patch.rows)]
            worst = max(worst, float((found - whole[patch.rows]).abs().max()))
    print(f"at once {at_once:.1f} s, in patches {time.perf_counter() - start:.1f} s, largest difference {worst:.1e} of "
          f"values up to {float(whole.abs().max()):.2g}")  # fmt: skip


if __name__ == "__main__":
    main()
