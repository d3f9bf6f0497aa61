"""Network inputs from maps: scalars and tangent vectors, regridded and normalised as in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.healpix import HealpixSphere
from meshconv.geometry.regrid import Regridder
from meshconv.io.sphere_fields import SphereFields

Variable = str | Mapping[str, Any]


class MapInputs:
    """Which variables a network sees, and how they are brought onto its HEALPix sphere.

    Scalars come first, each less its mean over its standard deviation; vectors are order-1 fields in the frame
    (south, east), each divided by the root mean square of a component.

    Parameters
    ----------
    scalars : list
        Names of variables, or ``{"name": "t", "select": {"level": 850}}``.
    vectors : list of pairs
        Eastward and northward component: ``[["u10", "v10"]]``, or ``{"names": ["u", "v"], "select": {"level": 850}}``.
    nside
        Of the sphere the network works on; nested.
    statistics : list of dict, optional
        As :attr:`statistics` of a training.

    Raises
    ------
    InputError
        No variables, or entries that are not of the forms above.
    """

    def __init__(
        self,
        scalars: Sequence[Variable],
        vectors: Sequence[Sequence[str] | Mapping[str, Any]],
        nside: int,
        statistics: Sequence[Mapping[str, Any]] | None = None,
    ):
        self.scalars = [_scalar(entry) for entry in scalars]
        self.vectors = [_vector(entry) for entry in vectors]
        if not self.scalars and not self.vectors:
            raise InputError("no input variables are given; name them in scalars or vectors")
        self.sphere = HealpixSphere(nside)
        self.statistics = None if statistics is None else [dict(s) for s in statistics]

    @property
    def in_type(self) -> FieldType:
        return FieldType.from_multiplicities([len(self.scalars), len(self.vectors)])

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values that make the same inputs again: the constructor's arguments."""
        return {
            "scalars": [dict(s) for s in self.scalars],
            "vectors": [dict(v) for v in self.vectors],
            "nside": self.sphere.nside,
            "statistics": self.statistics,
        }

    def regridder(self, fields: SphereFields) -> Regridder | None:
        """To the network's sphere; None for maps that are on it."""
        grid = fields.grid
        if isinstance(grid, HealpixSphere) and (grid.nside, grid.pixel_order) == (self.sphere.nside, "nest"):
            return None
        coarser = grid.num_points > 2 * self.sphere.npix
        return Regridder(grid, self.sphere, "conservative" if coarser else "bilinear")

    def raw(self, fields: SphereFields, regridder: Regridder | None, at: Mapping[str, int]) -> NDArray:
        """Fields in their own units, float64 ``[V, in_type.dim]``; NaN where missing."""
        columns, vectors = [], []
        for entry in self.scalars:
            values = _one_map(fields, entry["name"], entry["select"], at)
            columns.append(values if regridder is None else regridder(values))
        for entry in self.vectors:
            east, north = (_one_map(fields, name, entry["select"], at) for name in entry["names"])
            values = np.stack([-north, east], axis=-1)
            vectors.append(values if regridder is None else regridder.vectors(values))
        parts = columns + [v[:, 0] for v in vectors] + [v[:, 1] for v in vectors]
        return np.stack(parts, axis=-1)

    def fit(self, samples: Iterable[tuple[NDArray, NDArray]]) -> None:
        """Take the statistics of training samples: raw fields ``[V, dim]`` and the points that count ``[V]``."""
        total = square = count = 0.0
        for raw, mask in samples:
            known = mask[:, None] & np.isfinite(raw)
            values = np.where(known, raw, 0.0)
            total = total + values.sum(axis=0)
            square = square + (values**2).sum(axis=0)
            count = count + known.sum(axis=0)
        if np.min(count) == 0:
            raise InputError(f"no training point has a value of input {self._name(int(np.argmin(count)))}")
        s, v = len(self.scalars), len(self.vectors)
        mean, power = np.asarray(total) / count, np.asarray(square) / count
        spread = np.sqrt(np.maximum(power[:s] - mean[:s] ** 2, 0))
        size = np.sqrt((power[s : s + v] + power[s + v :]) / 2)
        # What is constant over the training points says nothing, but must not divide by zero.
        spread = np.where(spread > 1e-12 * np.abs(mean[:s]), spread, 1.0)
        size = np.where(size > 0, size, 1.0)
        self.statistics = [{"mean": float(m), "std": float(d)} for m, d in zip(mean[:s], spread, strict=True)]
        self.statistics += [{"mean": 0.0, "std": float(d)} for d in size]

    def normalise(self, raw: NDArray) -> tuple[NDArray, NDArray]:
        """Inputs float32 ``[V, dim]``, zero where missing, and the points where none is missing, bool ``[V]``."""
        if self.statistics is None:
            raise ValueError("the statistics have not been taken; call fit")
        s = len(self.scalars)
        both = self.statistics[:s] + self.statistics[s:] * 2
        mean, std = (np.array([entry[key] for entry in both]) for key in ("mean", "std"))
        present = np.isfinite(raw).all(axis=1)
        x = np.where(np.isfinite(raw), (raw - mean) / std, 0.0)
        return x.astype(np.float32), present

    def _name(self, component: int) -> str:
        s, v = len(self.scalars), len(self.vectors)
        if component < s:
            return self.scalars[component]["name"]
        return "/".join(self.vectors[(component - s) % v]["names"])


def _scalar(entry: Variable) -> dict[str, Any]:
    given: dict[str, Any] = {"name": entry} if isinstance(entry, str) else dict(entry)
    if not isinstance(given.get("name"), str) or not set(given) <= {"name", "select"}:
        raise InputError(f"scalar input {entry!r}: write a variable's name, or {{name: t, select: {{level: 850}}}}")
    return {"name": given["name"], "select": dict(given.get("select") or {})}


def _vector(entry: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {"names": entry}
    names = given.get("names")
    pair = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == 2
    if not pair or not set(given) <= {"names", "select"}:
        raise InputError(
            f"vector input {entry!r}: write [eastward, northward], or {{names: [u, v], select: {{level: 850}}}}"
        )
    return {"names": [str(n) for n in given["names"]], "select": dict(given.get("select") or {})}


def _one_map(fields: SphereFields, name: str, select: Mapping[str, Any], at: Mapping[str, int]) -> NDArray:
    values = fields.values(name, select, at)
    if values.ndim != 1:
        left = [str(d) for d in fields.dataset[name].dims if d not in (*fields.dims, *at, *select)]
        raise InputError(f"{fields.path}: variable {name} has also dimension {', '.join(left)}; select one value of it")
    return values
