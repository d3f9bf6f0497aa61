"""Surfaces as spin-weighted networks see them: transform, frames and the axis of a sphere's points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.homogeneous.transform import SphereTransform
from meshconv.models.upright import to_north

Sphere = Hierarchy | GaugeGraph | SphereTransform

_KNOWN = WeakTensorKeyDictionary()


def sphere_transform(surface: Sphere, lmax: int) -> SphereTransform:
    """Transform on the points of a HEALPix sphere, found by their positions, up to ``lmax`` or what they resolve.

    Cached as long as the positions live. A :class:`SphereTransform` is returned as it is.
    """
    if isinstance(surface, SphereTransform):
        if surface.lmax > lmax:
            raise InputError(f"{surface} has degrees beyond the network's lmax {lmax}; make it with that lmax")
        return surface
    graph = surface.finest if isinstance(surface, Hierarchy) else surface
    if graph.num_graphs != 1:
        raise InputError(
            f"the transform is of one sphere, got {graph.num_graphs}; use a leading axis for several samples"
        )
    known = _KNOWN.setdefault(graph.positions, {})
    if lmax not in known:
        sphere = _healpix_of(graph)
        known[lmax] = SphereTransform(min(lmax, 2 * sphere.nside), sphere)
    return known[lmax]


def _healpix_of(graph: GaugeGraph) -> HealpixSphere:
    xyz = graph.positions.detach().cpu().double().numpy()
    nside = round((len(xyz) / 12) ** 0.5)
    if nside and 12 * nside * nside == len(xyz):
        orders = ("nest", "ring") if nside & (nside - 1) == 0 else ("ring",)
        for order in orders:
            sphere = HealpixSphere(nside, order)  # type: ignore[arg-type]
            if np.abs(sphere.xyz - xyz).max() < 1e-5:
                return sphere
    raise InputError(
        f"{len(xyz)} points are no whole HEALPix sphere, which spin-weighted networks need; regrid the maps to one"
    )


def frame_angle(surface: Sphere) -> Tensor | None:
    """Angle of south in the frames of the points ``[V]``; None for the frames (south, east) of a transform."""
    if isinstance(surface, SphereTransform):
        return None
    along, across = (0 - to_north(surface.finest if isinstance(surface, Hierarchy) else surface)).unbind(-1)
    return torch.atan2(across, along)


def north_field(x: Tensor, surface: Sphere) -> Tensor:
    """The gradient of z, a field of degree 1 towards the north."""
    if isinstance(surface, SphereTransform):
        frames = torch.from_numpy(surface.frames)
    else:
        frames = (surface.finest if isinstance(surface, Hierarchy) else surface).frames
    return frames[:, :2, 2].to(x).expand(*x.shape[:-1], 2)
