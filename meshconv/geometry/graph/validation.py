"""What a gauge graph has to fulfil before a layer may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from meshconv.geometry.graph.rows import compressed_rows

if TYPE_CHECKING:
    from meshconv.geometry.graph.gauge_graph import GaugeGraph

VERTEX_FIELDS = ("positions", "frames", "areas", "scale")
EDGE_FIELDS = ("log_radius", "log_angle", "transporter")


def validate_graph(graph: GaugeGraph) -> None:
    """Raise ``ValueError`` naming what is wrong: shapes, ranges, order, non-finite numbers, frames."""
    v, e = graph.num_vertices, graph.num_edges
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("src", "dst", "src_edge"), (e,))
    shapes |= dict.fromkeys(("dst_ptr", "src_ptr"), (v + 1,))
    shapes |= dict.fromkeys(EDGE_FIELDS, (e,))
    shapes |= {"positions": (v, 3), "frames": (v, 3, 3), "areas": (v,), "scale": (v,)}
    for name, shape in shapes.items():
        found = tuple(getattr(graph, name).shape)
        if found != shape:
            raise ValueError(f"{name} has shape {found}, expected {shape} ({v} vertices, {e} edges)")
    if graph.reflected is not None and (graph.reflected.shape != (e,) or graph.reflected.dtype != torch.bool):
        raise ValueError(f"reflected is {graph.reflected.dtype} {tuple(graph.reflected.shape)}, expected bool ({e},)")
    for name in ("src", "dst", "dst_ptr", "src_ptr", "src_edge", "graph_ptr"):
        if getattr(graph, name).dtype != torch.int64:
            raise ValueError(f"{name} is {getattr(graph, name).dtype}, indices have to be int64")
    for name in VERTEX_FIELDS + EDGE_FIELDS:
        bad = (~torch.isfinite(getattr(graph, name))).nonzero()
        if len(bad):
            raise ValueError(f"{name} is not finite in {len(bad)} places, first at {bad[0].tolist()}")
    for name in ("src", "dst"):
        index = getattr(graph, name)
        if e and not (int(index.min()) >= 0 and int(index.max()) < v):
            span = f"{int(index.min())}..{int(index.max())}"
            raise ValueError(f"{name} has indices {span}, out of range for {v} vertices")
    if e and bool((graph.dst.diff() < 0).any()):
        raise ValueError("edges are not sorted by dst; use GaugeGraph.from_edges")
    if not torch.equal(graph.dst_ptr, compressed_rows(graph.dst, v)):
        raise ValueError("dst_ptr does not belong to dst; use GaugeGraph.from_edges")
    if not torch.equal(torch.sort(graph.src_edge).values, torch.arange(e, device=graph.device)):
        raise ValueError("src_edge is not a permutation of the edges")
    by_src = graph.src[graph.src_edge]
    if bool((by_src.diff() < 0).any()) or not torch.equal(graph.src_ptr, compressed_rows(by_src, v)):
        raise ValueError("src_ptr and src_edge do not belong to src; use GaugeGraph.from_edges")
    bounds = graph.graph_ptr
    ends = bounds.dim() == 1 and len(bounds) > 1 and (int(bounds[0]), int(bounds[-1])) == (0, v)
    if not ends or bool((bounds.diff() < 0).any()):
        raise ValueError(f"graph_ptr {bounds.tolist()} does not ascend from 0 to {v} vertices")
    member = graph.batch_index
    crossing = int((member[graph.src] != member[graph.dst]).sum())
    if crossing:
        raise ValueError(f"{crossing} edges run between two surfaces of the batch")
    if e and bool((graph.log_radius < 0).any()):
        raise ValueError(f"log_radius has negative values, down to {float(graph.log_radius.min()):g}")
    if v and not bool((graph.scale > 0).all()):
        raise ValueError(f"scale has to be positive, found {float(graph.scale.min()):g}")
    eye = torch.eye(3, dtype=graph.dtype, device=graph.device)
    worst = float((graph.frames @ graph.frames.mT - eye).abs().max()) if v else 0.0
    if worst > 1e-4 or (v and float(torch.linalg.det(graph.frames.double()).min()) < 0):
        raise ValueError(f"frames are not orthonormal and right-handed (deviation {worst:g})")
