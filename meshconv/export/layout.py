"""Layout of a program's inputs: the tensors of a batch by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.graph.record import Record, Role


@dataclass(frozen=True)
class Input:
    """One tensor of a program's inputs.

    Attributes
    ----------
    name : str
    dtype : str
        ``"float32"`` or ``"int64"``.
    shape : tuple of str or int
        Sizes that vary by name; ``"edges0 + 1"`` is one more than the number of edges.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]

    @property
    def like(self) -> torch.dtype:
        """The dtype of torch."""
        return getattr(torch, self.dtype)


class Layout:
    """Inputs of a program by name: features, graphs of all levels and the pooling between them, elements.

    Names are those of the fields of :class:`~meshconv.GaugeGraph` and :class:`~meshconv.Pooling`, of hierarchies after
    ``level0_``, ``level1_``, ... and ``pool0_``, ... (from level 0 to 1); and ``x``, ``elements``, ``shares`` of a
    :class:`~meshconv.datasets.SurfaceBatch`.

    Parameters
    ----------
    inputs : list of Input
        All that a program takes; the other tensors of a batch are left out.
    levels
        Number of levels of the hierarchy; 0: a graph alone.

    Notes
    -----
    ``tests/test_export_layout.py`` checks that :meth:`unpack` inverts :meth:`pack`.
    """

    def __init__(self, inputs: Iterable[Input], levels: int):
        self.inputs, self.levels = list(inputs), levels
        self._of_records = {name: (axes, part) for name, axes, part in _parts(levels)}

    @classmethod
    def of(cls, batch: SurfaceBatch) -> Layout:
        """The layout of all tensors of a batch of meshes."""
        if isinstance(batch.surface, GaugeGraph):
            levels, graphs = 0, [batch.surface]
        else:
            levels, graphs = len(batch.surface.levels), batch.surface.levels
        for graph in graphs:
            check_oriented(graph, ", ".join(batch.names))
        if graphs[0].num_graphs != 1:
            raise ValueError(f"a program takes one surface, the batch has {graphs[0].num_graphs}")
        given = _tensors(batch, levels)
        axes: dict[str, tuple[str | int, ...]] = {"x": ("vertices0",)}
        axes |= {"elements": ("elements",), "shares": ("elements",)}
        for name, own, part in _parts(levels):
            role = part.metadata["role"]
            one = role.axis == "surfaces"
            axes[name] = (2,) if one else (own[role.axis] + (" + 1" if role.kind == "pointers" else ""),)
        found = []
        for name, tensor in given.items():
            first = axes[name]
            found.append(Input(name, str(tensor.dtype).removeprefix("torch."), (*first, *tensor.shape[1:])))
        return cls(found, levels)

    def keep(self, names: Iterable[str]) -> Layout:
        """The layout of some of the inputs."""
        kept = set(names)
        return Layout([i for i in self.inputs if i.name in kept], self.levels)

    @property
    def spec(self) -> dict[str, Any]:
        """Plain values for :meth:`from_spec`."""
        inputs = [{"name": i.name, "dtype": i.dtype, "shape": list(i.shape)} for i in self.inputs]
        return {"levels": self.levels, "inputs": inputs}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Layout:
        """From plain values.

        Raises
        ------
        InputError
            They are of another kind.
        """
        try:
            inputs = [Input(str(i["name"]), str(i["dtype"]), tuple(i["shape"])) for i in spec["inputs"]]
            levels = int(spec["levels"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("the list of inputs is damaged; export the network again") from error
        return cls(inputs, levels)

    def pack(self, batch: SurfaceBatch) -> dict[str, Tensor]:
        """The inputs of a batch, contiguous, in this order."""
        given = _tensors(batch, self.levels)
        missing = [i.name for i in self.inputs if i.name not in given]
        if missing:
            raise InputError(f"{', '.join(batch.names)}: the program takes {missing[0]}, which these inputs lack")
        return {i.name: given[i.name].contiguous() for i in self.inputs}

    def unpack(self, inputs: Mapping[str, Tensor]) -> SurfaceBatch:
        """The batch of some inputs; zeros stand for tensors that are left out."""
        sizes = self._sizes(inputs)
        x = inputs["x"]

        def record(cls: type[Record], prefix: str) -> Any:
            made = {}
            for part in fields(cls):  # type: ignore[arg-type]
                name = prefix + part.name
                if name in inputs:
                    made[part.name] = inputs[name]
                elif part.default is MISSING:
                    axes, role = self._of_records[name][0], part.metadata["role"]
                    rows = sizes[axes[role.axis]] + int(role.kind == "pointers")
                    made[part.name] = x.new_zeros((rows, *role.shape), dtype=role.dtype or x.dtype)
            return _record(cls, made)

        surface: GaugeGraph | Hierarchy
        if not self.levels:
            surface = record(GaugeGraph, "")
        else:
            levels = [record(GaugeGraph, f"level{k}_") for k in range(self.levels)]
            pools = [record(Pooling, f"pool{k}_") for k in range(self.levels - 1)]
            surface = _record(Hierarchy, {"levels": levels, "pools": pools})
        elements, shares = inputs.get("elements"), inputs.get("shares")
        return SurfaceBatch(x, surface, x.new_zeros(0), None, [], elements, shares)

    def _sizes(self, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        sizes: dict[str, Any] = {"surfaces": 1}
        for entry in self.inputs:
            name = str(entry.shape[0])
            axis = name.removesuffix(" + 1")
            if axis not in sizes or axis == name:
                sizes[axis] = inputs[entry.name].shape[0] - int(axis != name)  # of a symbol torch 2.10 takes no bool
        return sizes


def check_oriented(graph: GaugeGraph, name: str) -> None:
    """Raise an :class:`InputError` for a surface that exported programs do not take."""
    if graph.reflected is not None:
        raise InputError(f"{name}: not orientable, which exported programs do not take; predict from the checkpoint")


def _parts(levels: int) -> Iterator[tuple[str, dict[str, str], Field]]:
    """Name, names of its axes, and field of each tensor of a surface."""
    for k in range(max(levels, 1)):
        prefix = f"level{k}_" if levels else ""
        axes = {"vertices": f"vertices{k}", "edges": f"edges{k}", "surfaces": "surfaces"}
        yield from ((prefix + part.name, axes, part) for part in _with_roles(GaugeGraph))
    for k in range(levels - 1):
        axes = {"points": f"vertices{k}", "clusters": f"vertices{k + 1}"}
        yield from ((f"pool{k}_{part.name}", axes, part) for part in _with_roles(Pooling))


def _with_roles(cls: type[Record]) -> list[Field]:
    return [part for part in fields(cls) if isinstance(part.metadata.get("role"), Role)]  # type: ignore[arg-type]


def _tensors(batch: SurfaceBatch, levels: int) -> dict[str, Tensor]:
    """All tensors of a batch that a network may see, by name."""
    found = {"x": batch.x, "elements": batch.elements, "shares": batch.shares}
    surface: Any = batch.surface
    if isinstance(surface, GaugeGraph) == bool(levels):
        raise InputError(f"{', '.join(batch.names)}: the program takes {levels or 'no'} levels")
    records = {"": surface}
    if levels:
        if len(surface.levels) != levels:
            raise InputError(f"{', '.join(batch.names)}: {len(surface.levels)} levels, the program takes {levels}")
        records = {f"level{k}_": graph for k, graph in enumerate(surface.levels)}
        records |= {f"pool{k}_": pool for k, pool in enumerate(surface.pools)}
    for prefix, record in records.items():
        found |= {prefix + part.name: getattr(record, part.name) for part in _with_roles(type(record))}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _record(cls: type[Record], values: Mapping[str, Any]) -> Any:
    """A record without its checks, which look at values: a program is traced without any."""
    record = object.__new__(cls)
    for part in fields(cls):  # type: ignore[arg-type]
        default = None if part.default is MISSING else part.default
        object.__setattr__(record, part.name, values.get(part.name, default))
    return record
