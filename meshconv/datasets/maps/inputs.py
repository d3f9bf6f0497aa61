"""Network inputs from maps: scalars and tangent vectors, regridded and normalised as in training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meshconv.datasets.maps.domain import parse_domain
from meshconv.datasets.maps.insolation import insolation_at
from meshconv.datasets.maps.variables import (
    COMPUTED,
    Variable,
    apply_function,
    parse_scalars,
    parse_vectors,
    read_map,
    scalar_title,
)
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.geometry.sphere.regrid import Regridder
from meshconv.io.maps.fields import SphereFields
from meshconv.io.maps.units import conversion, same_unit

log = logging.getLogger(__name__)


class MapInputs:
    """Input variables of a network, and their regridding to its points.

    Scalars come first, standardised by mean and standard deviation; vectors are fields of order 1 in the frame
    (south, east), divided by the root mean square of a component.

    Parameters
    ----------
    scalars : list
        Names of variables, or ``{"name": "t", "select": {"level": 850}}``; with ``"mean": "month"`` the mean over a
        dimension, with ``"function": "log1p"`` a function of :data:`~meshconv.datasets.maps.variables.FUNCTIONS` of
        the values on the network's points. A list of selected values gives one input each, unless averaged over.
        ``{"name": "insolation", "computed": True}``: of the map's time, not of the file.
    vectors : list of pairs
        Eastward and northward component: ``[["u10", "v10"]]``, or ``{"names": ["u", "v"], "select": {"level": 850}}``,
        with ``"mean"`` too. Components along the axes of a curvilinear or rotated grid are turned; where the file does
        not say what they are relative to, ``"relative_to"`` does, ``"grid"`` or ``"earth"``.
    nside
        Resolution of the HEALPix sphere of the network, nested; ``"native"``: the HEALPix pixels or unstructured points
        of the file.
    domain : dict, optional
        Domain of the network, see :func:`~meshconv.datasets.maps.domain.parse_domain`.
    radius : float, optional
        Neighbours are all points within this geodesic distance, in widths of a mean cell of each level; by default the
        eight around a pixel, or the Delaunay neighbours of a point.
    statistics : list of dict, optional
        The :attr:`statistics` of a training.

    Raises
    ------
    InputError
        No variables, or entries that are not of the forms above.
    """

    def __init__(
        self,
        scalars: Sequence[Variable],
        vectors: Sequence[Sequence[str] | Mapping[str, Any]],
        nside: int | Literal["native"],
        statistics: Sequence[Mapping[str, Any]] | None = None,
        domain: Mapping[str, Any] | None = None,
        radius: float | None = None,
    ):
        self.scalars, self.vectors = parse_scalars(scalars), parse_vectors(vectors)
        if not self.scalars and not self.vectors:
            raise InputError("no input variables are given; name them in scalars or vectors")
        if nside != "native":
            HealpixSphere(nside)  # says what is wrong with it
        if radius is not None and not 1 <= radius <= 20:
            raise InputError(f"radius {radius} is not between 1 and 20 widths of a cell")
        self.nside, self.domain, self.radius = nside, parse_domain(domain), radius
        self.statistics = None if statistics is None else [dict(s) for s in statistics]

    @property
    def in_type(self) -> FieldType:
        return FieldType.from_multiplicities([len(self.scalars), len(self.vectors)])

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values that reproduce the inputs: the constructor's arguments."""
        return {
            "scalars": [dict(s) for s in self.scalars],
            "vectors": [dict(v) for v in self.vectors],
            "nside": self.nside,
            "statistics": self.statistics,
            "domain": self.domain,
            "radius": self.radius,
        }

    def raw(
        self, fields: SphereFields, regridder: Regridder | None, at: Mapping[str, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Fields or functions of them, ``[V, in_type.dim]``, NaN where missing; and the points of the file with all."""
        columns, vectors = [], []
        known = np.ones(fields.grid.num_points, dtype=bool)
        change = self._conversions(fields)
        for entry in self.scalars:
            if "computed" in entry:
                columns.append(insolation_at(fields, at, (fields.grid if regridder is None else regridder.target).xyz))
                continue
            values = read_map(fields, entry["name"], entry, at) * change[entry["name"]][0] + change[entry["name"]][1]
            known &= np.isfinite(values)
            # Regridding conserves amounts, not functions of them.
            columns.append(apply_function(values if regridder is None else regridder(values), entry, fields))
        for entry in self.vectors:
            x, y = (read_map(fields, name, entry, at) * change[name][0] for name in entry["names"])
            east, north = fields.earth_components(entry["names"], x, y, entry.get("relative_to"))
            values = np.stack([-north, east], axis=-1)
            known &= np.isfinite(values).all(axis=1)
            vectors.append(values if regridder is None else regridder.vectors(values))
        parts = columns + [v[:, 0] for v in vectors] + [v[:, 1] for v in vectors]
        return np.stack(parts, axis=-1), known

    def fit(self, samples: Iterable[tuple[NDArray, NDArray]], fields: SphereFields | None = None) -> None:
        """Compute the statistics of training samples: raw fields ``[V, dim]`` and masks of points ``[V]``.

        With ``fields`` the units of the variables are stored too, for :meth:`check_units`.
        """
        total = square = count = 0.0
        for raw, mask in samples:
            known = mask[:, None] & np.isfinite(raw)
            values = np.where(known, raw, 0.0).astype(np.float64)
            total = total + values.sum(axis=0)
            square = square + (values**2).sum(axis=0)
            count = count + known.sum(axis=0)
        if np.min(count) == 0:
            raise InputError(
                f"no training point has a value of input {self._name(int(np.argmin(count)))} and a label; leave "
                "the input out, or give other training steps"
            )
        s, v = len(self.scalars), len(self.vectors)
        mean, power = np.asarray(total) / count, np.asarray(square) / count
        spread = np.sqrt(np.maximum(power[:s] - mean[:s] ** 2, 0))
        size = np.sqrt((power[s : s + v] + power[s + v :]) / 2)
        # Constants over the training points carry no information, and must not divide by zero.
        spread = np.where(spread > 1e-12 * np.abs(mean[:s]), spread, 1.0)
        size = np.where(size > 0, size, 1.0)
        self.statistics = [{"mean": float(m), "std": float(d)} for m, d in zip(mean[:s], spread, strict=True)]
        self.statistics += [{"mean": 0.0, "std": float(d)} for d in size]
        if fields is not None:
            for entry, unit in zip(self.statistics, self._units(fields), strict=True):
                entry["units"] = unit

    def check_units(self, fields: SphereFields) -> None:
        """Report which values are converted to the units of the training data.

        Raises
        ------
        InputError
            A unit that does not convert to that of the training.
        """
        wanted = self._wanted_units
        for name, (factor, offset) in self._conversions(fields).items():
            if (factor, offset) != (1.0, 0.0):
                said = "%s: %s is converted from %r to %r, in which the network was trained"
                log.info(said, fields.path, name, fields.unit(name), wanted[name])

    @property
    def _wanted_units(self) -> dict[str, str | None]:
        """Unit of each variable in training."""
        entries = zip(self._names, self.statistics or [{}] * len(self._names), strict=True)
        return {name: entry.get("units") for names, entry in entries for name in names}

    def _conversions(self, fields: SphereFields) -> dict[str, tuple[float, float]]:
        """Factor and offset for each variable of a file, from its unit to that of the training."""
        self._units(fields)  # the components of a vector have one
        found, trained = {}, self._wanted_units
        for name in self.variables:
            unit, wanted = fields.unit(name), trained[name]
            change = (
                (1.0, 0.0) if unit is None or wanted is None or same_unit(unit, wanted) else conversion(unit, wanted)
            )
            if change is None:
                raise InputError(
                    f"{fields.path}: {name} is in {unit!r}, the network was trained on {wanted!r}; convert the values, "
                    "or correct the attribute 'units' if it is the same by another name"
                )
            found[name] = change
        return found

    def far_off(self, raw: NDArray) -> list[str]:
        """Warning for scalars whose mean over a map is five standard deviations off, as units may differ."""
        said = []
        titles = map(scalar_title, self.scalars)
        for entry, title, values in zip(self.statistics or [], titles, raw.T, strict=False):
            known = values[np.isfinite(values)]
            if len(known) and abs(known.mean() - entry["mean"]) > 5 * entry["std"]:
                said.append(
                    f"{title} is {known.mean():.4g} on average, {entry['mean']:.4g} +- {entry['std']:.2g} in training: "
                    "compare the units"
                )
        return said

    @property
    def variables(self) -> list[str]:
        """Names of all variables of the files, scalars first."""
        entries: list[dict[str, Any]] = [*self.scalars, *self.vectors]
        given = zip(entries, self._names, strict=True)
        return [name for entry, names in given if "computed" not in entry for name in names]

    @property
    def _names(self) -> list[list[str]]:
        return [[s["name"]] for s in self.scalars] + [list(v["names"]) for v in self.vectors]

    def _units(self, fields: SphereFields) -> list[str | None]:
        units = []
        for names in self._names:
            given = [fields.unit(name) if name in self.variables else COMPUTED[name] for name in names]
            if len(given) == 2 and None not in given and not same_unit(*given):  # type: ignore[arg-type]
                raise InputError(
                    f"{fields.path}: {names[0]} is in {given[0]!r}, {names[1]} in {given[1]!r}; the components of a "
                    "vector need one unit, convert one of them"
                )
            units.append(next((unit for unit in given if unit is not None), None))
        return units

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
        return "/".join(self._names[component if component < s else s + (component - s) % v])
