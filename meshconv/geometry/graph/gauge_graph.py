"""The gauge graph, the input of every layer: points with frames, log maps and transporters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.record import Record, numbers, order, pointers, values
from meshconv.inference_mode import outside_inference_mode
from meshconv.ops.gauge_conv import Edges
from meshconv.ops.rows import compressed_rows, transposed_rows
from meshconv.ops.segment import segment_softmax


def wrap_angle(angle: Tensor) -> Tensor:
    """Bring angles to [-pi, pi], where float32 resolves them best."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@dataclass(frozen=True, eq=False)
class GaugeGraph(Record):
    r"""Gauge graph: points of a surface with tangent frames, log maps and parallel transporters.

    For each directed pair ``src -> dst``: the log map of ``src`` in the frame at ``dst`` (polar coordinates),
    and the transporter, the angle by which components at ``src`` are rotated to become components at ``dst``.
    Build one with :meth:`from_edges`, a mesh's or a sphere's ``gauge_graph()``, or :meth:`batch`. It is a pytree of
    torch, so that an exported program takes it as an argument.

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
    reflected : bool [E], optional
        Edges whose transporter is a reflection followed by a rotation, :math:`\rho(g_e)\rho(F)` with F: e2 -> -e2, as
        on a non-orientable surface; None where no edge does. Such a graph carries fields of O(2) alone.

    Notes
    -----
    A change of gauge turns ``log_angle`` by ``-alpha[dst]`` and ``transporter`` by ``alpha[src] - alpha[dst]``
    (checked by ``tests/test_gauge_graph.py``).
    """

    src: Tensor = numbers("edges", of="vertices")
    dst: Tensor = numbers("edges", of="vertices")
    dst_ptr: Tensor = pointers("vertices", of="edges")
    src_ptr: Tensor = pointers("vertices", of="edges", by="src_edge")
    src_edge: Tensor = order("edges")
    log_radius: Tensor = values("edges")
    log_angle: Tensor = values("edges")
    transporter: Tensor = values("edges")
    frames: Tensor = values("vertices", 3, 3)
    positions: Tensor = values("vertices", 3)
    areas: Tensor = values("vertices")
    scale: Tensor = values("vertices")
    graph_ptr: Tensor = pointers("surfaces", of="vertices")
    reflected: Tensor | None = values("edges", dtype=torch.bool, default=None)

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
        reflected: Any = None,
    ) -> GaugeGraph:
        """Sort the edges by target and index them both ways.

        Parameters
        ----------
        src, dst : int array [E]
            In any order; every pair at most once is usual but not required.
        log_radius, log_angle, transporter : float array [E]
        frames, positions, areas : float arrays [V, 3, 3], [V, 3], [V]
        scale : float or float array [V]
        reflected : bool array [E], optional
            Edges whose transporter reflects first.

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
        if reflected is not None:
            graph = replace(graph, reflected=torch.as_tensor(reflected, dtype=torch.bool)[order])
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
        reverse: Tensor | None = None,
    ) -> GaugeGraph:
        """Gauge graph from edges sorted by target, then source, with angles in [-pi, pi]; without checks.

        It takes a third of the time of :meth:`from_edges`. :meth:`validate` performs the checks.

        Parameters
        ----------
        dst_ptr : int64 Tensor [V + 1]
        src : int64 Tensor [E]
        log_radius, log_angle, transporter : Tensor [E]
        frames, positions, areas : Tensor [V, 3, 3], [V, 3], [V]
        scale : float or Tensor [V]
        reverse : int64 Tensor [E], optional
            Where every edge has an opposite one: its number.
        """
        num_vertices = positions.shape[0]
        if reverse is None:
            dst, src_ptr, src_edge = transposed_rows(dst_ptr, src, num_vertices)
        else:
            dst = torch.repeat_interleave(torch.arange(num_vertices), dst_ptr.diff(), output_size=src.shape[0])
            src_ptr, src_edge = dst_ptr, reverse
        return cls(
            src=src,
            dst=dst,
            dst_ptr=dst_ptr,
            src_ptr=src_ptr,
            src_edge=src_edge,
            log_radius=log_radius,
            log_angle=log_angle,
            transporter=transporter,
            frames=frames,
            positions=positions,
            areas=areas,
            scale=torch.as_tensor(scale, dtype=positions.dtype).expand(num_vertices).contiguous(),
            graph_ptr=torch.tensor([0, num_vertices]),
        )

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """Targets and the transpose, from ``dst_ptr`` and ``src``."""
        dst_ptr = given["dst_ptr"]
        dst, src_ptr, src_edge = transposed_rows(dst_ptr, given["src"], dst_ptr.shape[0] - 1)
        return {"dst": dst, "src_ptr": src_ptr, "src_edge": src_edge}

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
    def sizes(self) -> dict[str, int]:
        return {"vertices": self.num_vertices, "edges": self.num_edges, "surfaces": self.num_graphs}

    @property
    def parts(self) -> tuple[GaugeGraph, ...]:
        """Graphs whose disjoint union this is, in order: those of a batch, or the one that was copied to a device.

        What is expensive and the same on the parts is taken from there. Empty for a graph that was changed since.
        """
        return self.__dict__.get("_united", ())

    def _with_parts(self, parts: Sequence[GaugeGraph]) -> GaugeGraph:
        object.__setattr__(self, "_united", tuple(parts))
        return self

    @classmethod
    def batch(cls, records: Sequence[GaugeGraph]) -> GaugeGraph:
        records = list(records)
        return super().batch(records)._with_parts(records)

    def map(self, function: Callable[[Tensor], Tensor]) -> GaugeGraph:
        found = super().map(function)
        # A copy in another precision takes the place of the graph, which would stay in memory.
        return found if found is self or found.dtype != self.dtype else found._with_parts([self])

    @property
    def finest(self) -> GaugeGraph:
        """The graph itself, as :attr:`Hierarchy.finest` is the level of the features."""
        return self

    @property
    def batch_index(self) -> Tensor:
        """Surface that each vertex belongs to, int64 ``[V]``."""
        sizes = self.graph_ptr.diff()
        index = torch.arange(self.num_graphs, device=sizes.device)
        return torch.repeat_interleave(index, sizes, output_size=self.num_vertices)

    @property
    def edges(self) -> Edges:
        """Arguments of the operators: ``(dst_ptr, src, dst, src_ptr, src_edge)``, for features of :meth:`spread`."""
        return self.dst_ptr, self.src, self.dst, self.src_ptr, self.src_edge

    @property
    def members(self) -> Edges:
        """One edge from each point to its surface."""
        points = torch.arange(self.num_vertices + 1, device=self.device)
        return self.graph_ptr, points[:-1], self.batch_index, points, points[:-1]

    @property
    def num_sources(self) -> int:
        """Number of points that edges start at: the graph's own, and those of other processes."""
        return self.src_ptr.shape[0] - 1

    @property
    def source_areas(self) -> Tensor:
        """Areas of the points that edges start at, ``[num_sources]``."""
        return self.areas

    def spread(self, x: Tensor) -> Tensor:
        """Features ``[..., num_sources, dim]`` of the points that edges start at, for those of the graph's own."""
        return x

    def total(self, values: Tensor) -> Tensor:
        """Sums over whole surfaces, of sums over the points of the graph."""
        return values

    def largest(self, values: Tensor) -> Tensor:
        """Maxima ``[..., G, C]`` over whole surfaces, of maxima over the points of the graph; 0 without points."""
        return values

    def softmax(self, logits: Tensor) -> Tensor:
        """Softmax over the points of each whole surface, ``[..., V, H]``."""
        return segment_softmax(logits, self.graph_ptr)

    def sources(self, x: Tensor, field_type: FieldType) -> tuple[Tensor, Edges]:
        """Features to send along edges, and the edges to send them along.

        Features are those of :meth:`spread`. Where edges reflect, the sources are they and their mirror image,
        ``[..., 2 num_sources, dim]``, and a reflecting edge starts at the image, so that operators need rotations only.
        """
        if self.reflected is None:
            return self.spread(x), self.edges
        if field_type.group != "O(2)":
            raise ValueError(
                f"the graph has transporters that reflect, fields of type {field_type} are of SO(2); "
                f"write 'O(2): {field_type}'"
            )
        x = self.spread(x)
        return torch.cat([x, field_type.reflect(x)], dim=-2), self._mirrored

    @cached_property
    def _mirrored(self) -> Edges:
        assert self.reflected is not None
        with outside_inference_mode():
            src = self.src + self.num_sources * self.reflected
            return self.dst_ptr, src, *transposed_rows(self.dst_ptr, src, 2 * self.num_sources)

    @property
    def device(self) -> torch.device:
        return self.positions.device

    @property
    def dtype(self) -> torch.dtype:
        return self.positions.dtype

    def change_gauge(self, alpha: Tensor, flip: Tensor | None = None) -> GaugeGraph:
        """The same surface with e1, e2 of vertex ``v`` rotated by ``alpha[v]`` counter-clockwise.

        Features transform by :meth:`FieldType.change_gauge <meshconv.FieldType.change_gauge>`.

        Parameters
        ----------
        alpha : Tensor [V]
            Radians.
        flip : bool Tensor [V], optional
            Vertices whose rotated frame is then reflected: e2 and the normal change sign. The result has reflecting
            edges.
        """
        if alpha.shape != (self.num_vertices,):
            raise ValueError(f"alpha has shape {tuple(alpha.shape)}, the graph {self.num_vertices} vertices")
        a = alpha.to(torch.float64)
        c, s = torch.cos(a)[:, None], torch.sin(a)[:, None]
        e1, e2, n = self.frames.double().unbind(dim=1)
        frames = torch.stack([c * e1 + s * e2, c * e2 - s * e1, n], dim=1)
        angle = self.log_angle.double() - a[self.dst]
        source = self.spread(a[:, None])[self.src, 0]
        # A reflection inverts the preceding rotation.
        source = source if self.reflected is None else torch.where(self.reflected, -1, 1) * source
        transporter = self.transporter.double() - a[self.dst] + source
        reflected = self.reflected
        if flip is not None:
            if flip.shape != (self.num_vertices,) or flip.dtype != torch.bool:
                raise ValueError(f"flip is {flip.dtype} {tuple(flip.shape)}, expected bool ({self.num_vertices},)")
            frames = torch.where(flip[:, None, None], frames * frames.new_tensor([1, -1, -1])[:, None], frames)
            sense = torch.where(flip, -1, 1)[self.dst]
            angle, transporter = sense * angle, sense * transporter
            change = (self.spread(flip[:, None].to(a)) > 0)[self.src, 0] != flip[self.dst]
            reflected = change if reflected is None else change != reflected
        return replace(
            self,
            frames=frames.to(self.dtype),
            log_angle=wrap_angle(angle).to(self.log_angle.dtype),
            transporter=wrap_angle(transporter).to(self.transporter.dtype),
            reflected=reflected,
        )

    def random_gauge(self, generator: torch.Generator | None = None) -> Tensor:
        """Uniform random angles ``[V]`` in float64, for :meth:`change_gauge`."""
        u = torch.rand(self.num_vertices, generator=generator, dtype=torch.float64)
        return ((2 * u - 1) * math.pi).to(self.device)

    def unbatch(self) -> list[GaugeGraph]:
        """The surfaces of a batch, the inverse of :meth:`batch`."""
        bounds = self.graph_ptr.tolist()
        edges = self.dst_ptr[self.graph_ptr].tolist()
        return self.split({"vertices": bounds, "edges": edges, "surfaces": range(len(bounds))})

    def subset(self, mask: Tensor) -> GaugeGraph:
        """The part of the surface where ``mask`` (bool ``[V]``) is True; neighbours outside of it are dropped.

        Point ``k`` is the ``k``-th True of the mask: ``y[..., mask, :] = x`` brings features back to the whole surface.
        Geometry, areas and ``scale`` are unchanged; a surface of a batch may have no points left.
        """
        mask = torch.as_tensor(mask, device=self.device)
        if mask.shape != (self.num_vertices,) or mask.dtype != torch.bool:
            raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}, expected bool ({self.num_vertices},)")
        return self.take({"vertices": mask, "edges": mask[self.src] & mask[self.dst]})

    def validate(self) -> None:
        """Check shapes, ranges, order, finiteness and frames; raise ``ValueError`` with the field."""
        v, e = self.num_vertices, self.num_edges
        bounds = self.graph_ptr
        ends = bounds.dim() == 1 and len(bounds) > 1 and (int(bounds[0]), int(bounds[-1])) == (0, v)
        if not ends or bool((bounds.diff() < 0).any()):
            raise ValueError(f"graph_ptr {bounds.tolist()} does not ascend from 0 to {v} vertices")
        self.check_fields()
        if e and bool((self.dst.diff() < 0).any()):
            raise ValueError("edges are not sorted by dst; use GaugeGraph.from_edges")
        if not torch.equal(self.dst_ptr, compressed_rows(self.dst, v)):
            raise ValueError("dst_ptr does not belong to dst; use GaugeGraph.from_edges")
        by_src = self.src[self.src_edge]
        if bool((by_src.diff() < 0).any()) or not torch.equal(self.src_ptr, compressed_rows(by_src, v)):
            raise ValueError("src_ptr and src_edge do not belong to src; use GaugeGraph.from_edges")
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
