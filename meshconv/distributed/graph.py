"""Gauge graph of one process' part of a surface, with a halo of other processes' points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from meshconv.distributed.halo import HaloPlan, halo_of
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.record import numbers, pointers, values
from meshconv.ops import transport_sum
from meshconv.ops.rows import compressed_rows, transposed_rows
from meshconv.ranks import all_gathered, max_over_ranks, rank_and_world, sum_over_ranks


@dataclass(frozen=True, eq=False, kw_only=True)
class DistributedGraph(GaugeGraph):
    """Gauge graph of one part of a surface, whose other parts other processes have (:func:`partition`).

    Points, and features of layers, are those of the part. Edges end at its points, and start at them or at the halo:
    ``src`` counts own points first, then the halo. Layers take it as any graph; all processes have to call them at the
    same time, since they exchange features.

    Attributes
    ----------
    index : int64 [V]
        Own points among those of the whole surface, ascending: ``x[..., graph.index, :]`` are their features.
    halo_areas : [H]
    halo_ptr : int64 [ranks + 1]
        Points of the halo that process ``r`` owns are ``halo_ptr[r]:halo_ptr[r + 1]``.
    send, send_ptr : int64 [S], int64 [ranks + 1]
        Own points that process ``r`` has in its halo: ``send[send_ptr[r]:send_ptr[r + 1]]``.
    origin : int64 [2]
        Number of the part, and a hash of the whole with its division.
    """

    src: Tensor = numbers("edges", of="sources")
    src_ptr: Tensor = pointers("sources", of="edges", by="src_edge")
    index: Tensor = values("vertices", dtype=torch.int64)
    halo_areas: Tensor = values("halo")
    halo_ptr: Tensor = pointers("ranks", of="halo")
    send: Tensor = numbers("sent", of="vertices")
    send_ptr: Tensor = pointers("ranks", of="sent")
    origin: Tensor

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Tensor]:
        dst_ptr = given["dst_ptr"]
        count = dst_ptr.shape[0] - 1 + given["halo_areas"].shape[0]
        dst, src_ptr, src_edge = transposed_rows(dst_ptr, given["src"], count)
        return {"dst": dst, "src_ptr": src_ptr, "src_edge": src_edge}

    @property
    def sizes(self) -> dict[str, int]:
        halo, sent, ranks = self.halo_areas.shape[0], self.send.shape[0], self.halo_ptr.shape[0] - 1
        return {**super().sizes, "sources": self.num_vertices + halo, "halo": halo, "sent": sent, "ranks": ranks}

    @property
    def source_areas(self) -> Tensor:
        return torch.cat([self.areas, self.halo_areas])

    def spread(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[-2] != self.num_vertices:
            raise ValueError(f"x has shape {tuple(x.shape)}, the graph {self.num_vertices} vertices")
        return torch.cat([x, halo_of(x, self._plan)], dim=-2)

    @cached_property
    def _plan(self) -> HaloPlan:
        """What is exchanged; all processes compare their parts when they first do."""
        part, parts = int(self.origin[0]), self.halo_ptr.shape[0] - 1
        sent, received = self.send_ptr.diff().tolist(), self.halo_ptr.diff().tolist()
        rank, world = rank_and_world()
        if parts != world:
            raise InputError(f"the graph is part {part} of {parts}, there are {world} processes; partition for {world}")
        found = all_gathered((part, int(self.origin[1]), sent, received))
        for other, (its_part, its_whole, its_sent, its_received) in enumerate(found):
            if its_part != other:
                raise InputError(f"process {other} has part {its_part}; give every process the part of its number")
            fits = its_sent[rank] == received[other] and its_received[rank] == sent[other]
            if its_whole != int(self.origin[1]) or not fits:
                raise InputError(
                    f"process {other} has a part of another surface, or of another division, than process {rank}; "
                    "partition the same surface in all"
                )
        return HaloPlan(self.send, sent, received, self.num_vertices)

    def total(self, values: Tensor) -> Tensor:
        return sum_over_ranks(values)

    def largest(self, values: Tensor) -> Tensor:
        rank, world = rank_and_world()
        there = (self.graph_ptr.diff() > 0)[:, None]
        # The gradient goes to the first process of those with the maximum.
        row = torch.where(there, values, -torch.inf)[None]
        before, after = (row.new_zeros(count, *values.shape) for count in (rank, world - rank - 1))
        found = sum_over_ranks(torch.cat([before, row, after])).max(0).values
        return torch.where(sum_over_ranks(there.to(values.dtype)) > 0, found, 0)

    def softmax(self, logits: Tensor) -> Tensor:
        surface, kind = self.batch_index, FieldType.from_multiplicities([logits.shape[-1]])
        peaks = logits.new_full((*logits.shape[:-2], self.num_graphs, logits.shape[-1]), -torch.inf)
        owner = surface[:, None].expand(logits.shape)
        peaks = max_over_ranks(peaks.scatter_reduce(-2, owner, logits.detach(), "amax"))
        values = (logits - torch.where(peaks.isfinite(), peaks, 0).index_select(-2, surface)).exp()
        ones = torch.ones_like(self.areas)
        total = self.total(transport_sum(values, ones, 0 * ones, self.members, kind))
        return values / torch.where(total > 0, total, 1).index_select(-2, surface)

    @classmethod
    def batch(cls, records: Sequence[GaugeGraph]) -> NoReturn:
        raise InputError("parts of distributed surfaces cannot be batched; partition the batch instead")

    def split(self, bounds: Mapping[str, Sequence[int]]) -> NoReturn:
        raise InputError("a part of a distributed surface cannot be divided further; divide it before partitioning")

    def take(self, masks: Mapping[str, Tensor]) -> NoReturn:
        raise InputError("a part of a distributed surface has no subsets; take one before partitioning")

    def subset(self, mask: Tensor) -> NoReturn:
        self.take({"vertices": mask})

    def validate(self) -> None:
        """Check the fields of the part; raise ``ValueError`` with the field. Nothing is exchanged."""
        self.check_fields()
        by_src = self.src[self.src_edge]
        if not torch.equal(self.dst_ptr, compressed_rows(self.dst, self.num_vertices)):
            raise ValueError("dst_ptr does not belong to dst")
        if not torch.equal(self.src_ptr, compressed_rows(by_src, self.num_sources)):
            raise ValueError("src_ptr and src_edge do not belong to src")

    def __repr__(self) -> str:
        part, parts = int(self.origin[0]), self.halo_ptr.shape[0] - 1
        return (
            f"DistributedGraph(part {part} of {parts}, {self.num_graphs} surfaces, {self.num_vertices} vertices, "
            f"{self.halo_areas.shape[0]} of others, {self.num_edges} edges, {self.dtype}, {self.device})"
        )
