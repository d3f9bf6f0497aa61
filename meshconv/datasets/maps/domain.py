"""Domains of maps: a box, or the points where a variable has values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.regrid import Regridder
from meshconv.io.maps.fields import SphereFields

_ROUNDING = 1e-9  # degrees: tolerance of the edges of a box


def parse_domain(domain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Domain in plain values, validated.

    ``{lat: [-30, 30], lon: [120, 280]}``: a box, degrees, either or both, longitudes eastward from the first;
    ``{variable: sst}``: where it is not missing; ``{variable: lsm, below: 0.5}``, or ``above``. With ``margin: 3`` the
    network sees the points around it too, up to as many steps to neighbours away; results are those of the domain.
    """
    if domain is None:
        return None
    ends = all(_is_pair(domain[k]) for k in ("lat", "lon") if k in domain)
    bounds = all(isinstance(domain[k], int | float) for k in ("above", "below") if k in domain)
    of_variable = set(domain) & {"above", "below"}
    given = set(domain)
    known = given - of_variable - {"margin"} and given <= {"lat", "lon", "variable", "above", "below", "margin"}
    named = isinstance(domain.get("variable", ""), str) and ("variable" in domain or not of_variable)
    margin = domain.get("margin", 0)
    if not (known and ends and bounds and named and type(margin) is int and margin >= 0):
        raise InputError(
            f"domain {dict(domain)}: write {{lat: [south, north], lon: [west, east]}}, or {{variable: lsm, below: 0.5}}"
            ", with a margin: 3 or without"
        )
    return {key: [float(e) for e in value] if key in ("lat", "lon") else value for key, value in domain.items()}


def find_domain(
    domain: Mapping[str, Any], fields: SphereFields, grid: SphereGrid, regridder: Regridder | None
) -> NDArray[np.bool_]:
    """Mask of the points of ``grid`` in a domain of :func:`parse_domain`, bool ``[V]``.

    Parameters
    ----------
    domain
    fields, regridder
        Where a variable is read from, and what brings it to the grid.

    Raises
    ------
    InputError
        No such variable, a variable that leaves nothing out, or no point in the domain.
    """
    inside = np.ones(grid.num_points, dtype=bool)
    if "lat" in domain:
        lat = 90 - np.degrees(grid.theta)
        inside &= (lat >= min(domain["lat"]) - _ROUNDING) & (lat <= max(domain["lat"]) + _ROUNDING)
    if "lon" in domain:
        west, east = domain["lon"]
        span = 360.0 if east - west >= 360 else (east - west) % 360
        inside &= (np.degrees(grid.phi) - west + _ROUNDING) % 360 <= span + 2 * _ROUNDING
    if "variable" in domain:
        inside &= _domain_of_variable(domain, fields, regridder)
    if not inside.any():
        raise InputError(
            f"{fields.path}: domain {dict(domain)} holds no point of the network; change it, or raise nside"
        )
    return inside


def widened(inside: NDArray[np.bool_], grid: SphereGrid, steps: int) -> NDArray[np.bool_]:
    """A mask of points of ``grid``, and the points at most as many steps to neighbours away."""
    if not steps:
        return inside
    graph = grid.gauge_graph()
    src, dst = graph.src.numpy(), graph.dst.numpy()
    for _ in range(steps):
        wider = inside.copy()
        wider[src[inside[dst]]] = True
        inside = wider
    return inside


def _domain_of_variable(
    domain: Mapping[str, Any], fields: SphereFields, regridder: Regridder | None
) -> NDArray[np.bool_]:
    name = domain["variable"]
    # A domain is constant: the first of several times is used.
    over = [str(d) for d in fields.dataset[name].dims] if name in fields.dataset else []
    values = fields.values(name, at={d: 0 for d in over if d not in fields.dims})
    values = values if regridder is None else regridder(values)
    inside = np.isfinite(values)
    if "above" not in domain and "below" not in domain and inside.all():
        raise InputError(
            f"{fields.path}: domain: {name} has a value everywhere; write above or below too, as in "
            f"{{variable: {name}, below: 0.5}}"
        )
    with np.errstate(invalid="ignore"):
        if "above" in domain:
            inside &= values > domain["above"]
        if "below" in domain:
            inside &= values < domain["below"]
    return inside


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(e, int | float) for e in value)
