"""Inputs of exported programs from files, and their outputs back on the files' elements; without Lightning."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.meshes.collation import collate
from meshconv.datasets.meshes.collection import prepare_meshes
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import MeshSample
from meshconv.datasets.meshes.transfer.elements import ElementLabels, elements_of_file
from meshconv.datasets.meshes.transfer.file_fields import fields_in_space
from meshconv.errors import InputError
from meshconv.export.layout import Input, Layout, check_oriented
from meshconv.fields import FieldType
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.cache import Cache

if TYPE_CHECKING:
    from meshconv.datasets.maps.surface import MapSurface
    from meshconv.io.maps.fields import SphereFields

FORMAT = 1
"""Version of ``preprocess.json``; it changes when older programs would misread it."""
NAME = "preprocess.json"


class Prepared(ABC):
    """Inputs of a program, made from one file.

    Attributes
    ----------
    steps : list of dict of Tensor
        Inputs of each run of the program by name, in its order: one for a mesh, one for each map.
    """

    def __init__(self, steps: list[dict[str, Tensor]]):
        self.steps = steps

    def run(self, program: Callable[[dict[str, Tensor]], Any]) -> dict[str, NDArray]:
        """:meth:`results` of a program that is called with the inputs by name."""
        return self.results(torch.cat([torch.as_tensor(program(inputs)) for inputs in self.steps]))

    @property
    def arrays(self) -> list[dict[str, NDArray]]:
        """The steps for numpy."""
        return [{name: value.numpy() for name, value in inputs.items()} for inputs in self.steps]

    @abstractmethod
    def results(self, output: Any) -> dict[str, NDArray]:
        """What the program's outputs, one after the other, say of the file's elements by name; NaN where nothing."""


class Preprocess:
    """Preprocessing of an exported network: files to inputs, outputs to the elements of files.

    Parameters
    ----------
    path : str or Path
        ``preprocess.json``, or the folder or an exported file beside it.
    cache
        Folder of prepared meshes and regridding weights; true: ``MESHCONV_CACHE`` or ``~/.cache/meshconv``; false:
        nothing is kept.

    Attributes
    ----------
    inputs : list of Input
        Names, types and shapes.
    output : dict
        ``name``; ``rows``: what the rows belong to; ``columns`` and their ``units``; ``kind``: ``"logits"`` whose
        softmax are probabilities, ``"fields"`` in their units, an ``"embedding"`` of unit vectors, or
        ``"numbers"`` of the mesh. ``numbers``: of columns of fields those that are the same in all rows.

    Raises
    ------
    InputError
        A file that :func:`meshconv.export.export_network` did not write, or of a later format.

    Examples
    --------
    ::

        preprocess = meshconv.Preprocess("exported")
        prepared = preprocess("hand.ply")
        session = onnxruntime.InferenceSession("exported/model.onnx")
        (logits,) = session.run(None, prepared.arrays[0])
        labels = prepared.results(logits)["label"]
    """

    def __init__(self, path: str | os.PathLike[str], cache: bool | str | None = True):
        self.path = _description(Path(path))
        content = read_description(self.path)
        self.output, self.spec, self.maps = content["output"], content["hyper_parameters"]["spec"], content["maps"]
        self.layout = Layout.from_spec(content)
        self._content, self._cache = content, Cache.choose(cache)

    @property
    def inputs(self) -> list[Input]:
        return self.layout.inputs

    def __call__(self, source: Any, **options: Any) -> Prepared:
        """Inputs for one mesh, or for the maps of one file.

        Parameters
        ----------
        source : str, Path, TriangleMesh or xarray.Dataset
        options
            Of maps: ``pixel_order`` and ``select``, as of :class:`meshconv.Predictor`.

        Raises
        ------
        InputError
            It cannot be read, or is none that the program takes.
        """
        if self.maps is not None:
            return _PreparedMaps(self, source, **options)
        if options:
            raise InputError(f"{next(iter(options))}: an option of maps, the program takes meshes")
        if not isinstance(source, TriangleMesh):
            source = Path(source)
            if not source.is_file():
                raise InputError(f"{source}: no such file")
        labelling = labelling_of(self.output)
        how = Preparation.from_spec(self.spec)
        (sample,), _ = prepare_meshes([(source, labelling)], how, strict=True, cache=self._cache, workers=0)
        check_oriented(sample.surface.finest, sample.name)
        return _PreparedMesh(self, sample)


class _PreparedMesh(Prepared):
    def __init__(self, preprocess: Preprocess, sample: MeshSample):
        super().__init__([preprocess.layout.pack(collate([sample]))])
        self._sample, self._output, self._spec = sample, preprocess.output, preprocess.spec

    def results(self, output: Any) -> dict[str, NDArray]:
        values, rows, names = torch.as_tensor(output).detach(), self._output["rows"], self._output["columns"]
        if self._output["kind"] == "logits":
            probability = values.softmax(-1).numpy()
            if rows != "surfaces":
                place = elements_of_file(rows, self._sample, self._sample.raw())
                probability = np.where((place >= 0)[:, None], probability[place], np.float32(np.nan))
            return {"probability": probability, "label": _labels(probability, names)}
        origin = self._sample.origin
        assert origin is not None  # prepared from a mesh or its file
        if self._output["kind"] == "embedding":
            return {"embedding": origin.to_original_vertices(values.numpy())}
        if self._output["kind"] == "numbers":
            return {name: np.asarray(value) for name, value in zip(names, values[0].tolist(), strict=True)}
        out_type, tangent = FieldType(self._spec["out_type"]), self._output["tangent"]
        found = fields_in_space(values, out_type, names, tangent, rows == "faces", self._sample)
        numbers = {name: np.asarray(values[0, names.index(name)]) for name in self._output.get("numbers", ())}
        return {**found, **numbers}


class _PreparedMaps(Prepared):
    def __init__(
        self, preprocess: Preprocess, source: Any, pixel_order: str | None = None,
        select: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        from meshconv.datasets.maps.inputs import MapInputs
        from meshconv.datasets.maps.steps import step_dimension
        from meshconv.datasets.maps.surface import MapSurface
        from meshconv.io.maps.fields import open_fields

        spec = preprocess.spec
        if (spec.get("targets") or {}).get("history", 1) > 1:
            raise InputError("the network sees several maps at once; use meshconv predict with the exported file")
        inputs = MapInputs(**spec["inputs"])
        fields = open_fields(source, pixel_order, inputs.variables).select(select or {})
        inputs.check_units(fields)
        self.surface, self._output, self._spec = MapSurface(inputs, fields, preprocess._cache), preprocess.output, spec
        check_points(self.surface, preprocess.maps, fields)
        dimension = step_dimension(fields.dataset, spec["dimension"])
        steps = [{}] if dimension is None else [{dimension: k} for k in range(fields.dataset.sizes[dimension])]
        raws, self._known = zip(*(self.surface.raw(step) for step in steps), strict=True)
        x, self._present = zip(*(inputs.normalise(raw) for raw in raws), strict=True)
        super().__init__([{"x": torch.from_numpy(one[None])} for one in x])

    def results(self, output: Any) -> dict[str, NDArray]:
        values, names = torch.as_tensor(output).detach(), self._output["columns"]
        logits = self._output["kind"] == "logits"
        values = values.softmax(-1) if logits else values
        grids = []
        for step, present, known in zip(values.numpy(), self._present, self._known, strict=True):
            there = np.where(present[:, None], step, np.nan)
            if logits:
                grids.append(self.surface.to_file(there.T, known))
            else:
                grids.append(self.surface.fields_to_file(there, FieldType(self._spec["out_type"]), known))
        found = np.stack(grids).astype(np.float32)
        if not logits:
            return {name: found[:, k] for k, name in enumerate(names)}
        probability = np.moveaxis(found, 1, -1)
        return {"probability": probability, "label": _labels(probability, names)}


def labelling_of(output: Mapping[str, Any]) -> ElementLabels | int:
    """What a mesh is prepared with, so that a network gives the rows of an output."""
    return -1 if output["rows"] == "surfaces" else ElementLabels(output["rows"])


def point_digest(points: NDArray) -> dict[str, Any]:
    """What tells the points ``[V, 3]`` of a map network from others: their number, and a digest of their places."""
    places = np.round(points.astype(np.float32).astype(np.float64), 4) + 0.0  # no -0
    return {"points": len(places), "digest": hashlib.sha256(places.tobytes()).hexdigest()}


def check_points(surface: MapSurface, exported: Mapping[str, Any], fields: SphereFields) -> None:
    """Raise an :class:`InputError` where a file has the network work on other points than the exported ones."""
    found = point_digest(surface.points)
    if found != {key: exported.get(key) for key in found}:
        raise InputError(
            f"{fields.path}: the network would work on {len(surface.points)} points of it, the exported program has "
            f"{exported['points']} others; export again with --like {fields.path}"
        )


def read_description(path: Path) -> dict[str, Any]:
    """The content of ``preprocess.json``, with all that is needed.

    Raises
    ------
    InputError
        It is something else, or of a later format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; it lies beside the files that meshconv export writes") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: no description of an exported network; use one from meshconv export") from error
    if version != FORMAT:
        raise InputError(f"{path}: has format {version!r}, this version reads {FORMAT}; use a matching meshconv")
    wanted = {"task": str, "hyper_parameters": dict, "output": dict, "inputs": list, "levels": int}
    for key, kind in wanted.items():
        if not isinstance(content.get(key), kind):
            raise InputError(f"{path}: {key} is missing or damaged; export the network again")
    output = content["output"]
    if not {"name", "rows", "columns", "kind"} <= set(output) or "spec" not in content["hyper_parameters"]:
        raise InputError(f"{path}: the description of the output is damaged; export the network again")
    return content


def _description(path: Path) -> Path:
    if path.is_dir():
        return path / NAME
    return path if path.suffix == ".json" else path.with_name(NAME)


def _labels(probability: NDArray, names: list[str]) -> NDArray:
    """Name of the most probable class; empty where nothing is known."""
    known = np.isfinite(probability).all(-1)
    best = np.nan_to_num(probability).argmax(-1)
    return np.where(known, np.array(names, dtype=object)[best], "")
