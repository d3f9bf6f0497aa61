"""Inputs that a mesh does not have by its shape: named fields of its file, and its absolute size."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshconv.datasets.meshes.layouts.arrays import check_count, find_array, read_array
from meshconv.errors import InputError
from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.load import read_mesh
from meshconv.nn.ambient import from_ambient
from meshconv.progress import track

log = logging.getLogger(__name__)

# The name of the absolute size among the statistics, which no array of a file has.
_SIZE = "size of the mesh"


@dataclass(frozen=True)
class GivenInputs:
    r"""Inputs beside the geometric ones, measured from their training mean in standard deviations.

    Parameters
    ----------
    scalars, vectors : tuple of str
        Arrays at the vertices, see :func:`~meshconv.datasets.meshes.layouts.arrays.read_array`. A vector in space is
        its component along the normal, a scalar, and its tangential part; both are measured in its root mean square
        length.
    size : bool
        The logarithm of the square root of the area in the file's unit. It breaks the invariance under scaling.
    statistics : dict of str to (mean, size)
        Of the training, by name; none where there is nothing to measure.

    Raises
    ------
    InputError
        A name twice, or statistics that are no finite numbers.
    """

    scalars: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    size: bool = False
    statistics: Mapping[str, Sequence[float]] | None = None

    def __post_init__(self) -> None:
        for key in ("scalars", "vectors"):
            names = getattr(self, key)
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise InputError(f"{key} {names!r} is no list of names of arrays")
            object.__setattr__(self, key, tuple(names))
        names = [*self.scalars, *self.vectors]
        if len(set(names)) < len(names):
            raise InputError(f"scalars and vectors {names}: name each array once")
        for name, pair in (self.statistics or {}).items():
            if len(pair) != 2 or not all(isinstance(v, int | float) and math.isfinite(v) for v in pair) or pair[1] <= 0:
                raise InputError(f"statistics of {name}: {pair!r} is no mean and size above 0")

    def __bool__(self) -> bool:
        return bool(self.scalars or self.vectors or self.size)

    @property
    def type(self) -> FieldType:
        """Type of the fields; there has to be one."""
        normal = len(self.vectors)
        return FieldType.from_multiplicities([len(self.scalars) + self.size + normal, normal])

    @property
    def spec(self) -> dict[str, Any]:
        """All of it in plain values, for :func:`given_inputs`."""
        known = {name: list(pair) for name, pair in (self.statistics or {}).items()}
        return {"scalars": list(self.scalars), "vectors": list(self.vectors), "size": self.size, "statistics": known}

    def files(self, mesh: Path) -> list[Path]:
        """Files beside a mesh that hold arrays."""
        found = (find_array(mesh, name) for name in (*self.scalars, *self.vectors))
        return [path for path in found if path is not None]

    def put_on(self, raw: TriangleMesh, source: Path | TriangleMesh) -> TriangleMesh:
        """A mesh as read with the arrays among its vertex data.

        Raises
        ------
        InputError
            An array is not there, of another length or kind, or not finite somewhere.
        """
        if not (self.scalars or self.vectors):
            return raw
        origin, data = raw.origin, dict(raw.vertex_data)
        count = raw.num_vertices if origin is None else len(origin.vertex_to)
        for names, ndim, kind in ((self.scalars, 1, "scalars"), (self.vectors, 2, "vectors")):
            for name in names:
                values = read_array(source, name)
                check_count(raw.name, name, values, count)
                if values.ndim != ndim:
                    other = "vectors" if ndim == 1 else "scalars"
                    raise InputError(f"{raw.name}: input {name!r} is {list(values.shape)}; name it among {other}")
                values = values if origin is None else values[origin.vertex_from]
                wrong = int(np.isnan(values).any(axis=-1).sum() if ndim == 2 else np.isnan(values).sum())
                if wrong:
                    raise InputError(
                        f"{raw.name}: input {name!r} is not finite at {wrong} of {len(values)} vertices; give a number "
                        f"at each, or leave it out of {kind}"
                    )
                data[name] = values
        return replace(raw, vertex_data=data)

    def fields(self, mesh: TriangleMesh, graph: GaugeGraph) -> torch.Tensor:
        """Fields ``[V, type.dim]`` of a mesh, or of points, that have the arrays among their vertex data, float64."""
        of_points = mesh.num_faces == 0
        log_size = 0.5 * math.log(float(graph.areas.sum())) if of_points else _log_size(mesh)
        known = self.statistics or {}
        parts: list[torch.Tensor] = []
        for name in self.scalars:
            mean, size = known.get(name, (0.0, 1.0))
            parts.append((torch.from_numpy(self._data(mesh, name)) - mean)[:, None] / size)
        if self.size:
            mean, size = known.get(_SIZE, (0.0, 1.0))
            parts.append(torch.full((mesh.num_vertices, 1), (log_size - mean) / size, dtype=torch.float64))
        types = [FieldType("1x0")] * len(parts)
        for name in self.vectors:
            _, size = known.get(name, (0.0, 1.0))
            inside = torch.from_numpy(self._data(mesh, name))[:, None] / size
            parts.append(from_ambient(inside, graph, "1x0 + 1x1"))
            types.append(FieldType("1x0 + 1x1"))
        x = concatenate_fields(types, parts)
        if not of_points:
            x[torch.from_numpy(mesh.vertex_areas <= 0)] = 0.0
        return x

    def measured(self, files: Iterable[Path], of: str) -> GivenInputs:
        """The same with the statistics of some files; those that cannot be read are left out."""
        sums = {name: np.zeros(3) for name in (*self.scalars, *self.vectors, *([_SIZE] if self.size else []))}
        for path in track(list(files), of, "mesh"):
            try:
                raw = self.put_on(read_mesh(path, volume_surface=True), path)
                if self.size:
                    raw.check_area()
            except InputError:
                continue  # reported when it is prepared
            for name in self.scalars:
                values = raw.vertex_data[name]
                sums[name] += len(values), values.sum(), (values**2).sum()
            for name in self.vectors:
                sums[name] += len(raw.vertices), 0.0, (raw.vertex_data[name] ** 2).sum()
            if self.size:
                sums[_SIZE] += 1, _log_size(raw), _log_size(raw) ** 2
        found = {}
        for name, (count, total, squares) in sums.items():
            mean = float(total / max(count, 1))
            spread = math.sqrt(max(float(squares) / max(count, 1) - mean**2, 0.0))
            # What is the same everywhere, up to rounding, is not blown up.
            found[name] = (mean, spread if spread > 1e-6 * abs(mean) else 1.0)
        return replace(self, statistics=found)

    def _data(self, mesh: TriangleMesh, name: str) -> np.ndarray:
        if name not in mesh.vertex_data:
            raise InputError(f"{mesh.name}: no vertex data {name!r}, which is an input; put it into vertex_data")
        return np.asarray(mesh.vertex_data[name], dtype=np.float64)


def _log_size(mesh: TriangleMesh) -> float:
    return 0.5 * math.log(mesh.area)


def given_inputs(options: Mapping[str, Any]) -> GivenInputs:
    """From plain values: ``scalars``, ``vectors``, ``size`` and ``statistics``; other entries are not looked at."""
    size, statistics = options.get("size") or False, options.get("statistics")
    if not isinstance(size, bool):
        raise InputError(f"size {size!r} is neither true nor false")
    if statistics is not None and not isinstance(statistics, Mapping):
        raise InputError(f"statistics {statistics!r} are no table of mean and size by name")
    known = None
    if statistics:
        known = {name: tuple(pair) if isinstance(pair, list | tuple) else () for name, pair in statistics.items()}
    return GivenInputs(options.get("scalars") or (), options.get("vectors") or (), size, known)
