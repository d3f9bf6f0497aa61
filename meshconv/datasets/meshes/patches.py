"""Samples of large meshes in geodesic patches, and networks on whole meshes patch by patch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.sample import MeshSource, Places, Sample
from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Rings
from meshconv.geometry.graph.patches import Patch, geodesic_patches
from meshconv.progress import track

log = logging.getLogger(__name__)

_GLOBAL = (
    "max_vertices needs a network that says how far it sees (reach) and sees no further: of FieldUNet and ShapeUNet "
    "one with context 0"
)


@dataclass(frozen=True, eq=False)
class PatchSample(Sample):
    """A patch of a prepared mesh, cut from it when it is asked for.

    Attributes
    ----------
    whole : MeshSample or StoredSample
    patch : Patch
    target, elements
        Of those that the patch is for; other points have the target -1 or NaN.
    """

    whole: Sample
    patch: Patch
    target: Tensor
    name: str
    elements: Tensor | None
    source: MeshSource

    @property
    def x(self) -> Tensor:
        return self.whole.x[self.patch.points]

    @property
    def surface(self) -> GaugeGraph | Hierarchy:
        return self.patch.of(self.whole.surface)

    @property
    def places(self) -> Places | None:
        return None

    @property
    def num_points(self) -> int:
        return len(self.patch.points)


def in_patches(samples: Sequence[Sample], max_vertices: int, reach: Sequence[Rings] | None) -> list[Sample]:
    """Samples of at most ``max_vertices`` vertices: meshes as they are, and patches of those that are larger.

    Raises
    ------
    InputError
        No network says how far it sees, or it sees more than ``max_vertices`` from everywhere.
    """
    found: list[Sample] = []
    large = [sample for sample in samples if sample.num_points > max_vertices]
    for sample in track(samples, "dividing meshes", "mesh") if large else samples:
        if sample.num_points <= max_vertices:
            found.append(sample)
            continue
        if reach is None:
            raise InputError(_GLOBAL)
        patches = geodesic_patches(sample.surface, reach, max_vertices, sample.elements)
        found += [_patch_of(sample, patch, k) for k, patch in enumerate(patches)]
    if large:
        parts = [sample for sample in found if isinstance(sample, PatchSample)]
        share = sum(sample.num_points for sample in large) / sum(sample.num_points for sample in parts)
        log.info("%d meshes are in %d patches, whose vertices are %.0f %% their own", len(large), len(parts),
                 100 * share)  # fmt: skip
    return found


def _patch_of(sample: Sample, patch: Patch, number: int) -> PatchSample:
    rows, elements = patch.rows, None
    if sample.elements is None:
        unknown = torch.nan if sample.target.is_floating_point() else -1
        target = torch.full_like(sample.target[patch.points], unknown)
        target[patch.numbers(rows)] = sample.target[rows]
    else:
        target, elements = sample.target[rows], patch.numbers(sample.elements[rows])
    return PatchSample(sample, patch, target, f"{sample.name}, patch {number}", elements, sample.source)


def output_in_patches(
    network: Callable[[SurfaceBatch], Tensor], batch: SurfaceBatch, max_vertices: int, reach: Sequence[Rings] | None
) -> Tensor:
    """Output ``[V or n, ...]`` of a network on a batch, computed patch by patch: that on the whole, in less memory.

    Raises
    ------
    InputError
        As :func:`in_patches`.
    """
    if reach is None:
        raise InputError(_GLOBAL)
    elements = None if batch.elements is None else batch.elements.cpu()
    patches = geodesic_patches(batch.surface.to("cpu"), reach, max_vertices, elements)
    whole: Tensor | None = None
    for patch in patches:
        points, rows = patch.points.to(batch.x.device), patch.rows.to(batch.x.device)
        own = None if elements is None else patch.numbers(elements[patch.rows]).to(points.device)
        shares = None if batch.shares is None else batch.shares[rows]
        part = network(replace(batch, x=batch.x[points], surface=patch.of(batch.surface), elements=own, shares=shares))
        if whole is None:
            count = len(batch.x) if elements is None else len(elements)
            whole = part.new_empty(count, *part.shape[1:])
        whole[rows] = part if elements is not None else part[patch.numbers(patch.rows).to(points.device)]
    assert whole is not None  # a surface has points
    return whole
