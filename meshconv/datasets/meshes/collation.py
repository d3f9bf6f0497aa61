"""Batches of prepared meshes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from meshconv.datasets.batch import SurfaceBatch, join_surfaces
from meshconv.datasets.meshes.sample import Sample


def collate(samples: Sequence[Sample]) -> SurfaceBatch:
    """Disjoint union of meshes; all graphs, or all hierarchies."""
    targets = [s.target for s in samples]
    target = torch.stack(targets) if targets[0].ndim == 0 else torch.cat(targets)
    return join_samples(samples, target, samples[0].of_mesh)


def join_samples(samples: Sequence[Sample], target: torch.Tensor, of_mesh: bool = False) -> SurfaceBatch:
    """Disjoint union of meshes with a target of all, of each mesh or of its elements."""
    shifts = list(accumulate((len(s.x) for s in samples[:-1]), initial=0))
    given, shares = [], []
    for sample, shift in zip(samples, shifts, strict=True):
        places = sample.places
        if places is not None and not of_mesh:
            points, weights = places.elements(sample.elements)
            given.append(points + shift)
            shares.append(weights)
        elif sample.elements is not None:
            given.append(sample.elements + shift)
    return SurfaceBatch(
        x=torch.cat([s.x for s in samples]),
        surface=join_surfaces([s.surface for s in samples]),
        target=target,
        mask=None,
        names=[s.name for s in samples],
        elements=torch.cat(given) if given else None,
        shares=torch.cat(shares) if shares else None,
    )
