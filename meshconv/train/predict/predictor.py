"""The Predictor: a trained task applied to meshes or maps."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch

from meshconv.datasets.class_path import import_class
from meshconv.datasets.meshes.module import MESH_SUFFIXES, MeshData, meshes_below
from meshconv.datasets.meshes.preparation import MeshSource, Preparation
from meshconv.errors import InputError, PlaceError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.cache import Cache
from meshconv.train.checkpoint import load_task
from meshconv.train.predict.files import write_results, write_tables
from meshconv.train.predict.meshes import Meshes, MeshResult
from meshconv.train.tasks.base import Task

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps

log = logging.getLogger(__name__)

# A path, an address, an open xarray.Dataset, or files that are joined.
MapSource = Any

_MAP_SUFFIXES = (".nc", ".nc4", ".zarr")


class Predictions(list):
    """Results in the order of the inputs.

    Attributes
    ----------
    skipped : list of str
        A line for each input that could not be used and has no result.
    """

    def __init__(self, results: Iterable[Any] = (), skipped: Sequence[str] = ()):
        super().__init__(results)
        self.skipped = list(skipped)


class Predictor:
    """Predictor: a trained task applied to meshes, files, folders or data sets.

    Parameters
    ----------
    checkpoint : str, Path or Task
        Written by ``meshconv fit``; or a task in memory.
    device
        ``"auto"``: the GPU if there is one; else a device of torch, as ``"cpu"`` or ``"cuda:1"``.
    trust
        Packages whose classes the checkpoint may import, see :func:`~meshconv.train.load_task`.
    cache
        Folder of prepared meshes and regridding weights; true: ``MESHCONV_CACHE`` or ``~/.cache/meshconv``; false:
        nothing is kept.
    workers
        Processes that prepare meshes; 0: this one.

    Raises
    ------
    InputError
        On a bad checkpoint, or a device that is not there.

    Notes
    -----
    ``tests/test_predictor.py`` checks that results are those that ``meshconv predict`` writes, to the bit.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | Task,
        device: str = "auto",
        trust: Sequence[str] = (),
        cache: bool | str | None = True,
        workers: int | None = None,
    ):
        self.task = checkpoint if isinstance(checkpoint, Task) else load_task(checkpoint, trust)
        self.device = device_of(device)
        self.task.to(self.device).eval()
        if "data" not in self.task.spec:
            raise InputError(f"{type(self.task).__name__}: its spec names no data module, so inputs cannot be prepared")
        # The checkpoint's has been checked.
        data = import_class(self.task.spec["data"], lightning.LightningDataModule)
        self._of_meshes = issubclass(data, MeshData)
        self._cache, self._workers = Cache.choose(cache), workers

    def __call__(
        self,
        inputs: Any,
        *,
        strict: bool = False,
        template: MeshSource | str | None = None,
        pixel_order: str | None = None,
        select: Mapping[str, Any] | None = None,
        dimension: Sequence[str] | None = None,
        join: bool = False,
    ) -> Any:
        """Predictions for the vertices, faces, edges or grid points of the inputs.

        Parameters
        ----------
        inputs : TriangleMesh, str, Path, xarray.Dataset, or a list of them
            A mesh, a file, a folder of meshes, or maps: a file, a pattern, a Zarr store or its address.
        strict
            Raise the error of the first input that cannot be used instead of leaving it out.
        template
            Mesh to which the others are matched; by default the first.
        pixel_order
            ``"nest"`` or ``"ring"``, of HEALPix maps whose attributes leave it open.
        select, dimension
            Values of dimensions of maps, ``{"member": 3}``; and dimensions to predict along, by default that of the
            training.
        join
            Map files together are one input.

        Returns
        -------
        MeshResult, xarray.Dataset or Predictions
            Of one input its result; of a list or a folder a list, without the inputs that could not be used.

        Raises
        ------
        InputError
            No input can be used.
        """
        of_maps = {"pixel_order": pixel_order, "select": select, "dimension": dimension, "join": join}
        alone = join or (not isinstance(inputs, list | tuple) and not _is_folder_of_meshes(inputs))
        if self._of_meshes:
            meshes, results = self._meshes(inputs, strict, template, of_maps)
            number = {id(source): k for k, source in enumerate(meshes.sources)}
            found = Predictions(sorted(results, key=lambda result: number[id(result.source)]), meshes.skipped)
        else:
            sources = self._map_sources(inputs, template, join)
            found = _each(sources, strict, lambda _, source: self._map(source, of_maps))
        return found[0] if alone else found

    def save(
        self,
        inputs: Any,
        output: str | os.PathLike[str],
        *,
        strict: bool = False,
        template: MeshSource | str | None = None,
        pixel_order: str | None = None,
        select: Mapping[str, Any] | None = None,
        dimension: Sequence[str] | None = None,
        join: bool = False,
        pictures: bool = False,
        steps: list[int] | None = None,
        probability: str | None = None,
        horizon: int | None = None,
    ) -> list[Path]:
        """Write what :meth:`__call__` returns, each result when it is there; returns the files.

        Of meshes ``output.json``, and ``output.csv`` and ``output_<name>...`` as the task's results have them. Of maps
        ``output.nc``, or ``output_<input>.nc`` and ``output.json`` if there are several; and of classes, with
        ``pictures``, those of ``steps`` (the first and the last), with the ``probability`` of a class too
        (:func:`~meshconv.viz.predicted_maps.write_maps`). With a ``horizon`` that many steps of a forecast, as
        ``output.nc`` or, if it ends so, ``output.zarr`` (:class:`~meshconv.train.predict.forecast.Forecast`).
        """
        output = Path(output)
        of_maps = {"pixel_order": pixel_order, "select": select, "dimension": dimension, "join": join}
        if self._of_meshes:
            meshes, results = self._meshes(inputs, strict, template, of_maps | {"steps": horizon})
            _make_folder(output)
            return write_results(results, meshes, output)
        sources = self._map_sources(inputs, template, join)
        if horizon is not None:
            return [self._forecast(sources, output, of_maps, horizon)]
        targets = _targets(sources, output)
        names = ["_".join(name.split()) for name in getattr(self.task, "class_names", ())]
        if probability is not None and probability not in names:
            raise InputError(f"probability: no class {probability!r}; it has {', '.join(names)}")
        _make_folder(output)

        from meshconv.viz.predicted_maps import write_maps

        def predict(k: int, source: MapSource) -> list[Path]:
            self._map(source, of_maps, targets[k])
            return [targets[k], *(write_maps(targets[k], steps, probability) if pictures and names else ())]

        found = _each(sources, strict, predict)
        written = [path for files in found for path in files]
        if len(sources) == 1:
            return written
        file_of = {target: _name(source) for source, target in zip(sources, targets, strict=True)}
        rows = [{"file": file_of[target], "prediction": str(target)} for target, *_ in found]
        return written + write_tables(output, rows, (), found.skipped)

    def of_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        """Results of prepared meshes: what a subclass adds to."""
        return self.task.predict_meshes(meshes)

    def of_maps(self, maps: Maps) -> xr.Dataset:
        """Result of a map: what a subclass adds to."""
        return self.task.predict_maps(maps)

    def _meshes(
        self, inputs: Any, strict: bool, template: MeshSource | str | None, of_maps: dict[str, Any]
    ) -> tuple[Meshes, Iterator[MeshResult]]:
        for name, value in of_maps.items():
            if value:
                raise InputError(f"{name} is for maps; the network was trained on meshes")
        if template is not None and not self.task.takes_template:
            raise InputError(f"template: {type(self.task).__name__} takes none; leave it out")
        sources, empty = [], []
        for given in _listed(inputs):
            found = self._mesh_sources(given)
            sources += found
            if not found:
                empty.append(f"{given}: no mesh files below it")
                log.warning("skipped: %s", empty[-1])
        if not sources or (strict and empty):
            raise InputError(f"{empty[0]}; meshes are {', '.join(sorted(MESH_SUFFIXES))}")
        sources = [_named(source, k) for k, source in enumerate(sources)]
        if template is not None and not isinstance(template, TriangleMesh) and _existing(template).is_dir():
            raise InputError(f"template {template}: a folder; give one mesh")
        first = None if template is None else _named(self._mesh_sources(template)[0], 0)
        how = Preparation.from_spec(self.task.spec)
        meshes = Meshes(sources, how, self.device, strict, self._cache, self._workers, first)
        meshes.skipped += empty
        return meshes, self.of_meshes(meshes)

    def _mesh_sources(self, given: Any) -> list[MeshSource]:
        if isinstance(given, TriangleMesh):
            return [given]
        path = _existing(given)
        if path.suffix.lower() in _MAP_SUFFIXES:
            raise InputError(f"{path}: the network was trained on meshes, which this file is not; use another")
        return list(meshes_below(path)) if path.is_dir() else [path]

    def _map_sources(self, inputs: Any, template: Any, join: bool) -> list[MapSource]:
        """Inputs of maps: a path, an address, a data set, or files that are joined."""
        if template is not None:
            raise InputError(f"template {template}: the network was trained on maps, which take none")
        from meshconv.io.maps.files import find_files
        from meshconv.io.maps.remote import remote_address

        sources: list[Any] = []
        for given in _listed(inputs):
            if isinstance(given, TriangleMesh):
                raise InputError("the network was trained on maps, not on meshes; give maps")
            if _is_dataset(given) or (isinstance(given, str | Path) and remote_address(given) is not None):
                sources.append(given)
                continue
            _check_path(given)
            for path in find_files(given):
                if path.suffix.lower() in MESH_SUFFIXES:
                    raise InputError(f"{path}: the network was trained on maps, which this file is not; use another")
                sources.append(path)
        if not join or len(sources) == 1:
            return sources
        for source in sources:
            if not isinstance(source, Path):
                raise InputError(
                    f"join: {_name(source)} is no file; open all with xarray, combine them (xarray.merge, "
                    "xarray.concat) and give the one data set"
                )
        return [sources]

    def _forecast(self, sources: list[MapSource], output: Path, options: dict[str, Any], horizon: int) -> Path:
        """Write a forecast of ``horizon`` steps from the one source."""
        from meshconv.train.predict.forecast import Forecast, forecast_target
        from meshconv.train.tasks.forecast import ForecastTask

        if not isinstance(self.task, ForecastTask):
            raise InputError(f"steps: {type(self.task).__name__} makes no forecast; leave --steps out")
        if horizon < 1:
            raise InputError(f"steps {horizon} is not a positive number")
        target = forecast_target(output, sources)
        if target.suffix == ".nc":
            (target,) = _targets(sources, output)
        _make_folder(output)
        with self._maps(sources[0], options) as maps:
            Forecast(self.task, maps, _name(sources[0])).write(target, horizon)
        return target

    def _map(self, source: MapSource, options: dict[str, Any], target: Path | None = None) -> xr.Dataset | None:
        """The result of one input, in memory; or written to ``target``."""
        from meshconv.train.predict.maps import load, write

        with self._maps(source, options) as maps, maps.progress:
            result = self.of_maps(maps)
            if target is None:
                return load(result, maps)
            write(result, maps, target)
            return None

    @contextmanager
    def _maps(self, source: MapSource, options: dict[str, Any]) -> Iterator[Maps]:
        """An input on the points of the network, open meanwhile."""
        from meshconv.datasets.maps.inputs import MapInputs
        from meshconv.io.maps.fields import open_fields
        from meshconv.train.predict.maps import Maps

        given = {name: value for name, value in options.items() if name != "join"}
        inputs = MapInputs(**self.task.spec["inputs"])
        fields = open_fields(source, options["pixel_order"], inputs.variables)
        try:
            yield Maps(fields, self.task.spec, self.task.num_levels or 1, self.device, cache=self._cache, **given)
        finally:
            if not _is_dataset(source):
                fields.dataset.close()


def _each(sources: Sequence[Any], strict: bool, predict: Callable[[int, Any], Any]) -> Predictions:
    """Results of inputs one by one; what is wrong with the others is kept, or raised if all are bad."""
    found = Predictions()
    for k, source in enumerate(sources):
        try:
            found.append(predict(k, source))
        except PlaceError:
            raise
        except InputError as error:
            if strict or len(sources) == 1:
                raise
            log.warning("skipped: %s", error)
            found.skipped.append(str(error))
    if not found:
        raise InputError(f"none of {len(sources)} inputs can be used, the first: {found.skipped[0]}")
    return found


def _listed(inputs: Any) -> list[Any]:
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not given:
        raise InputError("no inputs are given")
    return given


def _check_path(given: Any) -> None:
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"an input is a {type(given).__name__}; give a path, a TriangleMesh or an xarray.Dataset")


def _existing(given: Any) -> Path:
    _check_path(given)
    path = Path(given)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return path


def _named(source: MeshSource, k: int) -> MeshSource:
    """An object of its own for each input, with a name: by it results find their places."""
    if isinstance(source, TriangleMesh):
        return replace(source, name=source.name or f"mesh{k}")
    return Path(str(source))


def _is_dataset(given: Any) -> bool:
    """Whether it is an ``xarray.Dataset``; a network of meshes does without xarray."""
    return type(given).__module__.split(".")[0] == "xarray"


def _name(source: MapSource) -> str:
    if isinstance(source, list):
        source = source[0]
    if _is_dataset(source):
        return str(source.encoding.get("source", "dataset"))
    return str(source)


def _targets(sources: Sequence[MapSource], output: Path) -> list[Path]:
    """A NetCDF file for each input, none of which is another's or an input."""
    one = output.with_suffix(".nc")
    targets = [one if len(sources) == 1 else one.with_name(f"{one.stem}_{Path(_name(s)).stem}.nc") for s in sources]
    for k, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if target in targets[:k]:
            other = _name(sources[targets.index(target)])
            raise InputError(
                f"{_name(source)}: its prediction would overwrite that of {other}, {target}; give each an --output of "
                "its own"
            )
        files = [p for p in (source if isinstance(source, list) else [source]) if isinstance(p, Path)]
        if target.resolve() in [path.resolve() for path in files]:
            raise InputError(f"{target}: the prediction would overwrite its input; give another --output")
    return targets


def _make_folder(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output.parent}: no folder to write to ({error.strerror}); give another --output") from error


def _is_folder_of_meshes(given: Any) -> bool:
    return isinstance(given, str | os.PathLike) and Path(given).is_dir() and Path(given).suffix.lower() != ".zarr"


def device_of(name: str) -> torch.device:
    """A device by its name, ``"auto"`` the GPU if there is one, once something was computed there."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); give auto, cpu or cuda") from error
    return device
