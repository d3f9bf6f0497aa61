"""Wall shear stress in models of coronary arteries (Suk et al. 2021), from the HDF5 file that they publish."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from meshconv.datasets.meshes.fields import MeshFields
from meshconv.datasets.meshes.files import Split
from meshconv.datasets.meshes.layouts.segments import LabelledFile
from meshconv.errors import InputError, PlaceError, first_line
from meshconv.extras import require
from meshconv.geometry.mesh.neighbourhood import Neighbourhood
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.save import save_mesh
from meshconv.progress import Progress

_DATABASE = "raw/database.hdf5"
# Arrays of a sample; the inlet has two names.
_ARRAYS = ("pos", "face", "wss")
_INLETS = ("inlet_idx", "inlet_idcs")


class ArteryWalls(MeshFields):
    """Data module of wall shear stress on artery models: ``root/raw/database.hdf5`` as Suk et al. publish it.

    The file has a group for each artery with ``pos`` ``[V, 3]``, ``face`` ``[F, 3]``, ``wss`` ``[V, 3]`` and the
    vertices of the inlet, ``inlet_idx`` or ``inlet_idcs``. They are written to ``root/meshes`` once, each a ``.vtp``
    with ``wss`` and the geodesic distance ``inlet_distance``, which is an input. The last tenth of the arteries, in the
    order of their names, is for testing and the tenth before for validation: 1,600, 200 and 200 of 2,000. The error of
    the publication is ``test/relative_l2_of_meshes/wss``.

    Parameters
    ----------
    root
        The folder ``single`` or ``bifurcating``.
    extensions
        Lengths at the inlet and at the far ends, in diameters of the inlet, where the vessel is prolonged: no target
        there. ``(4, 1)`` is for single vessels, ``(0, 1)`` for bifurcating ones.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Raises
    ------
    InputError
        No such file, another schema, or meshes that were written of another file or with other extensions.
    """

    def __init__(self, root: str, extensions: Sequence[float] = (4.0, 1.0), **options: Any):
        if len(extensions) != 2 or not all(0 <= length < np.inf for length in extensions):
            raise InputError(f"extensions {list(extensions)}: give two lengths from 0, at the inlet and at the ends")
        meshes = _written(Path(root), (float(extensions[0]), float(extensions[1])))
        options.setdefault("scalars", ["inlet_distance"])
        super().__init__(str(meshes), ["wss"], test_fraction=0.1, val_fraction=0.1, **options)

    def split(
        self, pairs: Sequence[LabelledFile], test_fraction: float, val_fraction: float
    ) -> dict[Split, list[LabelledFile]]:
        """The last tenth for testing, the one before for validation, as published."""
        test, val = (max(round(len(pairs) * part), 1) for part in (test_fraction, val_fraction))
        val = min(val, len(pairs) - test - 1)
        if val < 0:
            raise InputError(f"{self.root}: {len(pairs)} arteries; it takes 2 at least, for training and testing")
        ordered, last = sorted(pairs), len(pairs) - test
        return {"train": ordered[: last - val], "val": ordered[last - val : last], "test": ordered[last:]}


def _written(root: Path, extensions: tuple[float, float]) -> Path:
    """The folder with a file for each artery; those that are there stay."""
    database, folder = root / _DATABASE, root / "meshes"
    if not database.is_file():
        raise InputError(f"{database}: no such file; give the folder with raw/database.hdf5 in it")
    about, now = folder / "arteries.json", json.dumps({"bytes": database.stat().st_size, "extensions": extensions})
    if about.is_file() and about.read_text() != now:
        raise InputError(f"{folder}: was written of another file or with other extensions; remove it")
    try:
        folder.mkdir(exist_ok=True)
        about.write_text(now)
    except OSError as error:
        raise PlaceError.of(error) from error
    for name, artery in _arteries(database, folder):
        save_mesh(artery.mesh(extensions), folder / f"{name}.vtp")
    return folder


class Artery(NamedTuple):
    """A sample of the file.

    Attributes
    ----------
    points, faces, stress : float64 [V, 3], int64 [F, 3], float64 [V, 3]
    inlet : int64 [n]
        Vertices of the inlet.
    """

    points: NDArray[np.float64]
    faces: NDArray[np.int64]
    stress: NDArray[np.float64]
    inlet: NDArray[np.int64]

    def mesh(self, extensions: tuple[float, float]) -> TriangleMesh:
        """The mesh with ``wss``, NaN on the extensions, and ``inlet_distance``."""
        mesh = TriangleMesh(self.points, self.faces).repair()
        assert mesh.origin is not None  # of a repair
        start = mesh.origin.vertex_to[self.inlet]
        graph = mesh.gauge_graph(Neighbourhood(rings=2))
        lengths = np.maximum(graph.log_radius.numpy(), np.finfo(float).tiny)
        rows = csr_array((lengths, graph.src.numpy(), graph.dst_ptr.numpy()), shape=(mesh.num_vertices,) * 2)
        distance = dijkstra(rows, directed=False, indices=start[start >= 0], min_only=True)
        distance = mesh.to_original_vertices(distance)
        rim = self.points[self.inlet]
        diameter = 2 * np.linalg.norm(rim - rim.mean(axis=0), axis=1).max()
        known = np.isfinite(distance)
        first, last = extensions[0] * diameter, distance[known].max() - extensions[1] * diameter
        outside = ~known | (extensions[0] > 0) & (distance <= first) | (extensions[1] > 0) & (distance >= last)
        stress = np.where(outside[:, None], np.nan, self.stress)
        data = {"wss": stress, "inlet_distance": np.where(known, distance, distance[known].max())}
        return TriangleMesh(self.points, self.faces, "", data)


def _arteries(database: Path, folder: Path) -> Iterator[tuple[str, Artery]]:
    """Name and content of each sample that is not written yet."""
    require(f"{database}: HDF5", "formats", only="h5py")
    import h5py

    try:
        with h5py.File(database, "r") as file:
            names = [name for name in file if isinstance(file[name], h5py.Group)]
            if not names:
                raise ValueError("it has no groups, one for each artery")
            with Progress(len(names), "writing arteries", "artery") as bar:
                for name in names:
                    if not (folder / f"{name}.vtp").is_file():
                        yield name, _artery(name, file[name])
                    bar.update()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{database}: cannot be read ({first_line(error)}); download it again") from error


def _artery(name: str, group: Any) -> Artery:
    missing = [key for key in _ARRAYS if key not in group]
    inlet = next((key for key in _INLETS if key in group), None)
    if missing or inlet is None:
        lacks = [*missing, *([_INLETS[0]] if inlet is None else [])]
        raise ValueError(f"{name} has no {', '.join(lacks)}; it has {', '.join(group) or 'nothing'}")
    points, stress = (np.asarray(group[key], dtype=np.float64) for key in ("pos", "wss"))
    faces, start = (np.asarray(group[key], dtype=np.int64) for key in ("face", inlet))
    if points.ndim != 2 or points.shape[1:] != (3,) or faces.ndim != 2 or faces.shape[1:] != (3,):
        raise ValueError(f"{name} has pos {list(points.shape)} and face {list(faces.shape)}, not [V, 3] and [F, 3]")
    if stress.shape != points.shape:
        raise ValueError(f"{name} has wss {list(stress.shape)} at {len(points)} vertices; one vector at each is read")
    for what, numbers in (("face", faces), (inlet, start)):
        if not numbers.size or numbers.min() < 0 or numbers.max() >= len(points):
            raise ValueError(f"{name}: {what} names a vertex that does not exist, or none")
    return Artery(points, faces, stress, start.reshape(-1))
