"""The one data structure every layer sees: points with frames, log maps and transporters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

_VERTEX = ("positions", "frames", "areas", "scale")
_EDGE = ("log_radius", "log_angle", "transporter")


def wrap_angle(angle: Tensor) -> Tensor:
    """Bring angles to [-pi, pi], where float32 resolves them best."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def compressed_rows(index: Tensor, num_rows: int) -> Tensor:
    """Row pointers ``[num_rows + 1]`` of a sorted ``index``: row r owns ``ptr[r]:ptr[r + 1]``."""
    counts = torch.bincount(index, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@dataclass(frozen=True, eq=False)
class GaugeGraph:
    r"""Points of a surface with a tangent frame each, and what a neighbour looks like in it.

    For each directed pair ``src -> dst``: the log map of ``src`` in the frame at ``dst`` (polar coordinates),
    and the transporter, the angle by which components at ``src`` are rotated to become components at ``dst``.
    Build one with :meth:`from_edges`, a mesh's or a sphere's ``gauge_graph()``, or :meth:`batch`.

    Attributes
    ----------
    src, dst : int64 [E]
        Sorted by ``dst``.
    dst_ptr : int64 [V + 1]
        Edges of target ``v`` are ``dst_ptr[v]:dst_ptr[v + 1]``.
    src_ptr, src_edge : int64 [V + 1], int64 [E]
        The transpose: edges that leave ``v`` are ``src_edge[src_ptr[v]:src_ptr[v + 1]]``.
    log_radius : [E]
        Length unit of the surface; radians on the unit sphere.
    log_angle, transporter : [E]
        Radians, counter-clockwise seen from outside.
    frames : [V, 3, 3]
        Rows e1, e2, n; right-handed, n outward.
    positions : [V, 3]
    areas : [V]
        Quadrature weight of each point.
    scale : [V]
        The length in which kernels measure radii: constant over one surface, independent of its batch.
    graph_ptr : int64 [G + 1]
        Points of surface ``g`` of a batch are ``graph_ptr[g]:graph_ptr[g + 1]``.

    Notes
    -----
    A change of gauge turns ``log_angle`` by ``-alpha[dst]`` and ``transporter`` by ``alpha[src] - alpha[dst]``
    (checked by ``tests/test_gauge_graph.py``).
    """

    src: Tensor
    dst: Tensor
    dst_ptr: Tensor
    src_ptr: Tensor
    src_edge: Tensor
    log_radius: Tensor
    log_angle: Tensor
    transporter: Tensor
    frames: Tensor
    positions: Tensor
    areas: Tensor
    scale: Tensor
    graph_ptr: Tensor

    @classmethod
    def from_edges(
        cls,
        src: Any,
        dst: Any,
        log_radius: Any,
        log_angle: Any,
        transporter: Any,
        *,
        frames: Any,
        positions: Any,
        areas: Any,
        scale: Any,
    ) -> GaugeGraph:
        """Sort the edges by target and index them both ways.

        Parameters
        ----------
        src, dst : int array [E]
            In any order; every pair at most once is usual but not required.
        log_radius, log_angle, transporter : float array [E]
        frames, positions, areas : float arrays [V, 3, 3], [V, 3], [V]
        scale : float or float array [V]

        Returns
        -------
        GaugeGraph
            One surface (``num_graphs == 1``), validated.
        """
        src, dst = (torch.as_tensor(i, dtype=torch.int64) for i in (src, dst))
        positions = torch.as_tensor(positions)
        if not positions.is_floating_point():
            positions = positions.to(torch.float64)
        num_vertices = positions.shape[0]
        like = {"dtype": positions.dtype}
        log_radius, log_angle, transporter = (
            torch.as_tensor(a, **like) for a in (log_radius, log_angle, transporter)
        )
        lengths = [tuple(a.shape) for a in (src, dst, log_radius, log_angle, transporter)]
        if src.dim() != 1 or len(set(lengths)) > 1:
            raise ValueError(
                f"src, dst, log_radius, log_angle, transporter need one length, got shapes {lengths}"
            )
        if src.numel() and not min(int(src.min()), int(dst.min())) >= 0:
            raise ValueError(f"edge indices have to be >= 0, found {min(int(src.min()), int(dst.min()))}")
        if src.numel() and max(int(src.max()), int(dst.max())) >= num_vertices:
            top = max(int(src.max()), int(dst.max()))
            raise ValueError(f"edge index {top} is out of range for {num_vertices} vertices")
        # Sorting by (dst, src) makes the sums, and so the bits, independent of the order given.
        order = torch.argsort(dst * max(num_vertices, 1) + src, stable=True)
        graph = cls.from_rows(
            compressed_rows(dst, num_vertices),
            src[order],
            log_radius[order],
            wrap_angle(log_angle[order]),
            wrap_angle(transporter[order]),
            frames=torch.as_tensor(frames, **like),
            positions=positions,
            areas=torch.as_tensor(areas, **like),
            scale=torch.as_tensor(scale, **like),
        )
        graph.validate()
        return graph

    @classmethod
    def from_rows(
        cls,
        dst_ptr: Tensor,
        src: Tensor,
        log_radius: Tensor,
        log_angle: Tensor,
        transporter: Tensor,
        *,
        frames: Tensor,
        positions: Tensor,
        areas: Tensor,
        scale: Tensor | float,
    ) -> GaugeGraph:
        """From edges that are sorted by target, then source, with angles in [-pi, pi]; nothing is checked.

        For builders whose edges come out that way: a third of the time of :meth:`from_edges`. Call
        :meth:`validate` if in doubt.

        Parameters
        ----------
        dst_ptr : int64 Tensor [V + 1]
        src : int64 Tensor [E]
        log_radius, log_angle, transporter : Tensor [E]
        frames, positions, areas : Tensor [V, 3, 3], [V, 3], [V]
        scale : float or Tensor [V]
        """
        num_vertices, num_edges = positions.shape[0], src.shape[0]
        # The transpose of a sparse matrix of edge numbers is found by counting, in linear time.
        rows = csr_array((np.arange(num_edges), src.numpy(), dst_ptr.numpy()), shape=(num_vertices, num_vertices))
        columns = rows.tocsc()
        return cls(
            src=src,
            dst=torch.repeat_interleave(torch.arange(num_vertices), dst_ptr.diff(), output_size=num_edges),
            dst_ptr=dst_ptr,
            src_ptr=torch.from_numpy(columns.indptr.astype(np.int64)),
            src_edge=torch.from_numpy(columns.data.astype(np.int64)),
            log_radius=log_radius,
            log_angle=log_angle,
            transporter=transporter,
            frames=frames,
            positions=positions,
            areas=areas,
            scale=torch.as_tensor(scale, dtype=positions.dtype).expand(num_vertices).contiguous(),
            graph_ptr=torch.tensor([0, num_vertices]),
        )

    @property
    def num_vertices(self) -> int:
        return self.positions.shape[0]

    @property
    def num_edges(self) -> int:
        return self.src.shape[0]

    @property
    def num_graphs(self) -> int:
        return self.graph_ptr.shape[0] - 1

    @property
    def batch_index(self) -> Tensor:
        """Surface that each vertex belongs to, int64 ``[V]``."""
        sizes = self.graph_ptr.diff()
        index = torch.arange(self.num_graphs, device=sizes.device)
        return torch.repeat_interleave(index, sizes, output_size=self.num_vertices)

    @property
    def device(self) -> torch.device:
        return self.positions.device

    @property
    def dtype(self) -> torch.dtype:
        return self.positions.dtype

    def change_gauge(self, alpha: Tensor) -> GaugeGraph:
        """The same surface with e1, e2 of vertex ``v`` turned by ``alpha[v]`` counter-clockwise.

        Features of order ``m`` have to be turned along, by ``-m * alpha`` (``type.rotate(x, -alpha)``).

        Parameters
        ----------
        alpha : Tensor [V]
            Radians.
        """
        if alpha.shape != (self.num_vertices,):
            raise ValueError(f"alpha has shape {tuple(alpha.shape)}, the graph {self.num_vertices} vertices")
        a = alpha.to(torch.float64)
        c, s = torch.cos(a)[:, None], torch.sin(a)[:, None]
        e1, e2, n = self.frames.double().unbind(dim=1)
        frames = torch.stack([c * e1 + s * e2, c * e2 - s * e1, n], dim=1)
        angle = self.log_angle.double() - a[self.dst]
        transporter = self.transporter.double() - a[self.dst] + a[self.src]
        return replace(
            self,
            frames=frames.to(self.dtype),
            log_angle=wrap_angle(angle).to(self.log_angle.dtype),
            transporter=wrap_angle(transporter).to(self.transporter.dtype),
        )

    def random_gauge(self, generator: torch.Generator | None = None) -> Tensor:
        """Uniform angles ``[V]`` in float64, to be given to :meth:`change_gauge`."""
        u = torch.rand(self.num_vertices, generator=generator, dtype=torch.float64)
        return ((2 * u - 1) * math.pi).to(self.device)

    def to(self, *args: Any, **kwargs: Any) -> GaugeGraph:
        """Move to a device or cast the geometry, as :meth:`torch.Tensor.to`; indices stay int64."""
        if any(isinstance(a, Tensor) for a in args):
            raise TypeError("GaugeGraph.to takes a device or a dtype, not a tensor")
        dtype = kwargs.get("dtype", next((a for a in args if isinstance(a, torch.dtype)), None))
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"the geometry of a graph is real, it cannot be cast to {dtype}")
        rest = [a for a in args if not isinstance(a, torch.dtype)]
        keep = {k: v for k, v in kwargs.items() if k != "dtype"}
        moved = {}
        for field in fields(self):
            value: Tensor = getattr(self, field.name)
            value = value.to(*rest, **keep) if rest or keep else value
            moved[field.name] = value.to(dtype) if dtype and value.is_floating_point() else value
        return GaugeGraph(**moved)

    @staticmethod
    def batch(graphs: Sequence[GaugeGraph]) -> GaugeGraph:
        """Disjoint union, in the order given; each surface keeps its own numbers bit for bit."""
        graphs = list(graphs)
        if not graphs:
            raise ValueError("cannot batch an empty list of graphs")
        vertices = [0, *torch.tensor([g.num_vertices for g in graphs]).cumsum(0).tolist()]
        edges = [0, *torch.tensor([g.num_edges for g in graphs]).cumsum(0).tolist()]
        shift = list(zip(graphs, vertices, edges, strict=False))

        def pointers(name: str, offsets: list[int]) -> Tensor:
            parts = [getattr(g, name)[:-1] + o for g, o in zip(graphs, offsets, strict=False)]
            return torch.cat([*parts, parts[0].new_tensor([offsets[-1]])])

        joined = {k: torch.cat([getattr(g, k) for g in graphs]) for k in _VERTEX + _EDGE}
        return GaugeGraph(
            src=torch.cat([g.src + v for g, v, _ in shift]),
            dst=torch.cat([g.dst + v for g, v, _ in shift]),
            dst_ptr=pointers("dst_ptr", edges),
            src_ptr=pointers("src_ptr", edges),
            src_edge=torch.cat([g.src_edge + e for g, _, e in shift]),
            graph_ptr=pointers("graph_ptr", vertices),
            **joined,
        )

    def unbatch(self) -> list[GaugeGraph]:
        """The surfaces of a batch, the inverse of :meth:`batch`."""
        bounds = self.graph_ptr.tolist()
        out = []
        for v0, v1 in zip(bounds[:-1], bounds[1:], strict=True):
            e0, e1 = int(self.dst_ptr[v0]), int(self.dst_ptr[v1])
            out.append(
                GaugeGraph(
                    src=self.src[e0:e1] - v0,
                    dst=self.dst[e0:e1] - v0,
                    dst_ptr=self.dst_ptr[v0 : v1 + 1] - e0,
                    src_ptr=self.src_ptr[v0 : v1 + 1] - e0,
                    src_edge=self.src_edge[e0:e1] - e0,
                    graph_ptr=self.graph_ptr.new_tensor([0, v1 - v0]),
                    **{k: getattr(self, k)[v0:v1] for k in _VERTEX},
                    **{k: getattr(self, k)[e0:e1] for k in _EDGE},
                )
            )
        return out

    def validate(self) -> None:
        """Raise ``ValueError`` naming what is wrong: shapes, ranges, order, non-finite numbers, frames."""
        v, e = self.num_vertices, self.num_edges
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("src", "dst", "src_edge"), (e,))
        shapes |= dict.fromkeys(("dst_ptr", "src_ptr"), (v + 1,))
        shapes |= dict.fromkeys(_EDGE, (e,))
        shapes |= {"positions": (v, 3), "frames": (v, 3, 3), "areas": (v,), "scale": (v,)}
        for name, shape in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape} ({v} vertices, {e} edges)")
        for name in ("src", "dst", "dst_ptr", "src_ptr", "src_edge", "graph_ptr"):
            if getattr(self, name).dtype != torch.int64:
                raise ValueError(f"{name} is {getattr(self, name).dtype}, indices have to be int64")
        for name in _VERTEX + _EDGE:
            bad = (~torch.isfinite(getattr(self, name))).nonzero()
            if len(bad):
                raise ValueError(f"{name} is not finite in {len(bad)} places, first at {bad[0].tolist()}")
        for name in ("src", "dst"):
            index = getattr(self, name)
            if e and not (int(index.min()) >= 0 and int(index.max()) < v):
                span = f"{int(index.min())}..{int(index.max())}"
                raise ValueError(f"{name} has indices {span}, out of range for {v} vertices")
        if e and bool((self.dst.diff() < 0).any()):
            raise ValueError("edges are not sorted by dst; use GaugeGraph.from_edges")
        if not torch.equal(self.dst_ptr, compressed_rows(self.dst, v)):
            raise ValueError("dst_ptr does not belong to dst; use GaugeGraph.from_edges")
        if not torch.equal(torch.sort(self.src_edge).values, torch.arange(e, device=self.device)):
            raise ValueError("src_edge is not a permutation of the edges")
        by_src = self.src[self.src_edge]
        if bool((by_src.diff() < 0).any()) or not torch.equal(self.src_ptr, compressed_rows(by_src, v)):
            raise ValueError("src_ptr and src_edge do not belong to src; use GaugeGraph.from_edges")
        bounds = self.graph_ptr
        ends = bounds.dim() == 1 and len(bounds) > 1 and (int(bounds[0]), int(bounds[-1])) == (0, v)
        if not ends or bool((bounds.diff() < 0).any()):
            raise ValueError(f"graph_ptr {bounds.tolist()} does not ascend from 0 to {v} vertices")
        member = self.batch_index
        crossing = int((member[self.src] != member[self.dst]).sum())
        if crossing:
            raise ValueError(f"{crossing} edges run between two surfaces of the batch")
        if e and bool((self.log_radius < 0).any()):
            raise ValueError(f"log_radius has negative values, down to {float(self.log_radius.min()):g}")
        if v and not bool((self.scale > 0).all()):
            raise ValueError(f"scale has to be positive, found {float(self.scale.min()):g}")
        eye = torch.eye(3, dtype=self.dtype, device=self.device)
        worst = float((self.frames @ self.frames.mT - eye).abs().max()) if v else 0.0
        if worst > 1e-4 or (v and float(torch.linalg.det(self.frames.double()).min()) < 0):
            raise ValueError(f"frames are not orthonormal and right-handed (deviation {worst:g})")

    def __repr__(self) -> str:
        return (
            f"GaugeGraph({self.num_graphs} surfaces, {self.num_vertices} vertices, "
            f"{self.num_edges} edges, {self.dtype}, {self.device})"
        )
