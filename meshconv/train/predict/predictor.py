"""The Predictor: a trained task applied to meshes or maps."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import MeshSource
from meshconv.errors import InputError, PlaceError
from meshconv.extras import require
from meshconv.io.cache.cache import Cache
from meshconv.train.checkpoints.load import load_inference
from meshconv.train.inference.base import Inference
from meshconv.train.predict.exported import is_exported, load_exported
from meshconv.train.predict.files import make_folder, write_results, write_tables
from meshconv.train.predict.meshes import Meshes, MeshResult
from meshconv.train.predict.sources import (
    MapSource,
    is_dataset,
    is_one,
    map_name,
    map_sources,
    map_targets,
    mesh_sources,
    template_source,
)

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapOptions:
    """What is predicted of maps.

    Parameters
    ----------
    pixel_order
        ``"nest"`` or ``"ring"``, of HEALPix maps whose attributes leave it open.
    select
        Values of dimensions, ``{"member": 3}``.
    dimension
        Dimensions to predict along, by default that of the training.
    join
        The files together are one input.
    """

    pixel_order: str | None = None
    select: Mapping[str, Any] | None = None
    dimension: Sequence[str] | None = None
    join: bool = False


_AS_TRAINED = MapOptions()


@dataclass(frozen=True)
class MapPictures:
    """Pictures of predicted classes, see :func:`~meshconv.viz.predicted_maps.write_maps`.

    Parameters
    ----------
    steps
        By number from 0; default the first and the last.
    probability
        A class whose probability is drawn too.
    """

    steps: list[int] | None = None
    probability: str | None = None


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
    checkpoint : str, Path or Inference
        Written by ``meshconv fit``, or a file that ``meshconv export`` made of it; or in memory, as a task is.
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
        checkpoint: str | os.PathLike[str] | Inference,
        device: str = "auto",
        trust: Sequence[str] = (),
        cache: bool | str | None = True,
        workers: int | None = None,
    ):
        in_memory = isinstance(checkpoint, Inference)
        exported = not in_memory and is_exported(checkpoint)
        if isinstance(checkpoint, Inference):
            self.task = checkpoint
        else:
            self.task = load_exported(Path(checkpoint), trust) if exported else load_inference(checkpoint, trust)
        self.device = device_of("cpu" if exported and device == "auto" else device)
        if exported and self.device.type != "cpu":
            raise InputError(f"device {device}: exported programs run on the CPU here; leave it out")
        self._together = not exported
        self.task.to(self.device).eval()
        if "data" not in self.task.spec:
            raise InputError(f"{type(self.task).__name__}: its spec names no data module, so inputs cannot be prepared")
        if not exported and not in_memory:
            self.task.check_inputs(checkpoint)
        self._of_meshes = "inputs" not in self.task.spec
        self._cache, self._workers = Cache.choose(cache), workers

    def __call__(
        self,
        inputs: Any,
        *,
        strict: bool = False,
        template: MeshSource | str | None = None,
        maps: MapOptions = _AS_TRAINED,
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
        maps
            What is predicted of maps.

        Returns
        -------
        MeshResult, xarray.Dataset or Predictions
            Of one input its result; of a list, a folder or a pattern of several files a list, without the inputs that
            could not be used.

        Raises
        ------
        InputError
            No input can be used.
        """
        one = is_one(inputs, maps.join)
        if self._of_meshes:
            meshes, results = self._meshes(inputs, strict, template, vars(maps))
            number = {id(source): k for k, source in enumerate(meshes.sources)}
            found = Predictions(sorted(results, key=lambda result: number[id(result.source)]), meshes.skipped)
        else:
            sources = self._maps_of(inputs, template, maps.join)
            found = _each(sources, strict, lambda _, source: self._map(source, maps))
            one = one and len(sources) == 1  # a pattern may stand for several
        return found[0] if one else found

    def save(
        self,
        inputs: Any,
        output: str | os.PathLike[str],
        *,
        strict: bool = False,
        template: MeshSource | str | None = None,
        maps: MapOptions = _AS_TRAINED,
        pictures: MapPictures | None = None,
        horizon: int | None = None,
    ) -> list[Path]:
        """Write what :meth:`__call__` returns, each result when it is there; returns the files.

        Of meshes ``output.json``, and ``output.csv`` and ``output_<name>...`` as the task's results have them. Of maps
        ``output.nc``, or ``output_<input>.nc`` and ``output.json`` if there are several; and of classes ``pictures``,
        if asked for. With a ``horizon`` that many steps of a forecast, as ``output.nc`` or, if it ends so,
        ``output.zarr`` (:class:`~meshconv.train.predict.forecast.Forecast`).
        """
        output = Path(output)
        if self._of_meshes:
            meshes, results = self._meshes(inputs, strict, template, vars(maps) | {"steps": horizon})
            make_folder(output)
            return write_results(results, meshes, output)
        sources = self._maps_of(inputs, template, maps.join)
        if horizon is not None:
            return [self._forecast(sources, output, maps, horizon)]
        targets = map_targets(sources, output)
        names = ["_".join(name.split()) for name in getattr(self.task, "class_names", ())]
        if pictures and pictures.probability is not None and pictures.probability not in names:
            raise InputError(f"probability: no class {pictures.probability!r}; it has {', '.join(names)}")
        if pictures and names:
            require("a picture of predicted maps (--maps false: none)", "viz")
        make_folder(output)

        def predict(k: int, source: MapSource) -> list[Path]:
            self._map(source, maps, targets[k])
            if not pictures or not names:
                return [targets[k]]
            from meshconv.viz.predicted_maps import write_maps

            return [targets[k], *write_maps(targets[k], pictures.steps, pictures.probability)]

        found = _each(sources, strict, predict)
        written = [path for files in found for path in files]
        if len(sources) == 1:
            return written
        file_of = {target: map_name(source) for source, target in zip(sources, targets, strict=True)}
        rows = [{"file": file_of[target], "prediction": str(target)} for target, *_ in found]
        return written + write_tables(output, rows, (), found.skipped)

    def of_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        """Results of prepared meshes: what a subclass adds to."""
        return self.task.predict_meshes(meshes)

    def of_maps(self, maps: Maps) -> xr.Dataset:
        """Result of a map: what a subclass adds to."""
        return self.task.predict_maps(maps)

    def _meshes(
        self, inputs: Any, strict: bool, template: MeshSource | str | None, of_maps: Mapping[str, Any]
    ) -> tuple[Meshes, Iterator[MeshResult]]:
        for name, value in of_maps.items():
            if value:
                raise InputError(f"{name} is for maps; the network was trained on meshes")
        if template is not None and not self.task.takes_template:
            raise InputError(f"template: {type(self.task).__name__} takes none; leave it out")
        sources, empty = mesh_sources(inputs, strict)
        first = None if template is None else template_source(template)
        how = Preparation.from_spec(self.task.spec)
        meshes = Meshes(sources, how, self.device, strict, self._cache, self._workers, first, self._together)
        meshes.skipped += empty
        return meshes, self.of_meshes(meshes)

    def _maps_of(self, inputs: Any, template: Any, join: bool) -> list[MapSource]:
        if template is not None:
            raise InputError(f"template {template}: the network was trained on maps, which take none")
        return map_sources(inputs, join)

    def _forecast(self, sources: list[MapSource], output: Path, options: MapOptions, horizon: int) -> Path:
        """Write a forecast of ``horizon`` steps from the one source."""
        from meshconv.train.inference.forecast import ForecastInference
        from meshconv.train.predict.forecast import Forecast, forecast_target

        if not isinstance(self.task, ForecastInference):
            raise InputError(f"steps: {type(self.task).__name__} makes no forecast; leave --steps out")
        if horizon < 1:
            raise InputError(f"steps {horizon} is not a positive number")
        target = forecast_target(output, sources)
        if target.suffix == ".nc":
            (target,) = map_targets(sources, output)
        make_folder(output)
        with self._maps(sources[0], options) as maps:
            Forecast(self.task, maps, map_name(sources[0])).write(target, horizon)
        return target

    def _map(self, source: MapSource, options: MapOptions, target: Path | None = None) -> xr.Dataset | None:
        """The result of one input, in memory; or written to ``target``."""
        from meshconv.train.predict.maps import load, write

        with self._maps(source, options) as maps, maps.progress:
            result = self.of_maps(maps)
            if target is None:
                return load(result, maps)
            write(result, maps, target)
            return None

    @contextmanager
    def _maps(self, source: MapSource, options: MapOptions) -> Iterator[Maps]:
        """An input on the points of the network, open meanwhile."""
        from meshconv.datasets.maps.inputs import MapInputs
        from meshconv.io.maps.fields import open_fields
        from meshconv.train.predict.maps import Maps

        given = {name: value for name, value in vars(options).items() if name != "join"}
        inputs = MapInputs(**self.task.spec["inputs"])
        fields = open_fields(source, options.pixel_order, inputs.variables)
        try:
            yield Maps(fields, self.task.spec, self.task.num_levels or 1, self.device, cache=self._cache, **given)
        finally:
            if not is_dataset(source):
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


def device_of(name: str) -> torch.device:
    """A device by its name, ``"auto"`` the GPU if there is one, once something was computed there."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); give auto, cpu or cuda") from error
    return device
