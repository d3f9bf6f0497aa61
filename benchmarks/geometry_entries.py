"""The entries of geometry.py that count memory, each run in a process of its own."""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import trimesh
from entries import memory_mb


def icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    sphere = trimesh.creation.icosphere(level)
    return np.array(sphere.vertices), np.array(sphere.faces)


def meshconv_one_ring(transport: str) -> Callable[[np.ndarray, np.ndarray], object]:
    from meshconv import TriangleMesh

    return lambda vertices, faces: TriangleMesh(vertices, faces).gauge_graph(transport=transport)


def gem_cnn_precomputation(folder: str, precision: str) -> Callable[[np.ndarray, np.ndarray], object]:
    """GEM-CNN's own code with torch-geometric's scatter for torch_scatter's; its experiments are in float32."""
    from torch_geometric.data import Data
    from torch_geometric.utils import scatter

    for name in ("gem_cnn", "gem_cnn.transform"):
        package = types.ModuleType(name)
        package.__path__ = [str(Path(folder, *name.split(".")))]  # type: ignore[attr-defined]
        sys.modules[name] = package
    sys.modules["torch_scatter"] = types.ModuleType("torch_scatter")
    sys.modules["torch_scatter"].scatter = scatter  # type: ignore[attr-defined]

    def module(name: str) -> types.ModuleType:
        return importlib.import_module(f"gem_cnn.transform.{name}")

    dtype = getattr(torch, precision)
    normals = module("vector_normals").compute_normals_edges_from_mesh
    geometry, precomp = module("simple_geometry").SimpleGeometry(), module("gem_precomp").GemPrecomp(2, 2)

    def run(vertices: np.ndarray, faces: np.ndarray) -> object:
        data = Data(pos=torch.from_numpy(vertices).to(dtype), face=torch.from_numpy(faces.T))
        return precomp(geometry(normals(data)))

    return run


def main() -> None:
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    if order["gem_cnn"]:
        run = gem_cnn_precomputation(order["gem_cnn"], order["name"])
    else:
        run = meshconv_one_ring(order["name"])
    run(*icosphere(2))  # what is imported on the way does not count
    vertices, faces = icosphere(order["level"])
    held = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # peak memory counts from here
    run(vertices, faces)
    extra = memory_mb("VmHWM") - held
    wall, processor = [], []
    for _ in range(order["repeats"]):
        start, busy = time.perf_counter(), time.process_time()
        run(vertices, faces)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    print(json.dumps({"seconds": min(wall), "processor": min(processor), "extra_mb": extra}))


if __name__ == "__main__":
    main()
