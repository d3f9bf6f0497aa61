"""GaugeGraph and TriangleMesh <-> PyTorch Geometric."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.extras import require
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.ops.rows import compressed_rows, transposed_rows

if TYPE_CHECKING:
    from torch_geometric.data import Data

# Attribute of Data for each field of a graph; positions have PyTorch Geometric's own name.
_FIELDS = {"pos": "positions", "frames": "frames", "areas": "areas", "scale": "scale", "log_radius": "log_radius",
           "log_angle": "log_angle", "transporter": "transporter"}  # fmt: skip
_EDGES = ("log_radius", "log_angle", "transporter")


def to_pyg(surface: GaugeGraph | TriangleMesh, **attributes: Any) -> Data:
    """A graph or mesh as Data, which the DataLoader and the layers of PyTorch Geometric take.

    Parameters
    ----------
    surface : GaugeGraph or TriangleMesh
    **attributes
        More to keep beside it: ``x`` for features, ``y`` for a target.

    Returns
    -------
    torch_geometric.data.Data
        Of a graph: ``edge_index`` ``[2, E]`` with sources above targets (PyTorch Geometric's own order), ``pos``,
        ``frames``, ``areas``, ``scale``, ``log_radius``, ``log_angle``, ``transporter``, ``reflected``, and the number
        of vertices of each of its surfaces, ``surface_sizes`` ``[G]``. Of a mesh: ``pos`` float64, ``face`` ``[3, F]``,
        and numbers of vertices and faces as ``vertex_<name>`` and ``face_<name>``. All keep their meaning in a batch:
        :func:`from_pyg` of the batch is :meth:`GaugeGraph.batch <meshconv.GaugeGraph.batch>` of the parts.

    Raises
    ------
    MissingExtraError
        PyTorch Geometric is not installed.

    Notes
    -----
    ``tests/test_interop.py`` checks the way there and back, alone and in batches, bit for bit.
    """
    require("to_pyg", "pyg")
    from meshconv.io.interop.surface_data import SurfaceData

    if isinstance(surface, TriangleMesh):
        found: dict[str, Tensor] = {"pos": torch.tensor(surface.vertices), "face": torch.tensor(surface.faces.T)}
        for kind, data in (("vertex", surface.vertex_data), ("face", surface.face_data)):
            numbers = {key: np.asarray(values) for key, values in data.items()}
            found |= {f"{kind}_{key}": torch.tensor(v) for key, v in numbers.items() if v.dtype.kind in "biuf"}
    else:
        found = {"edge_index": torch.stack([surface.src, surface.dst]), "surface_sizes": surface.graph_ptr.diff()}
        found |= {name: getattr(surface, field) for name, field in _FIELDS.items()}
        # Always there: batches need the same attributes in all their parts.
        none = torch.zeros_like(surface.src, dtype=torch.bool)
        found["reflected"] = none if surface.reflected is None else surface.reflected
    return SurfaceData(**found, **attributes)


def from_pyg(data: Data) -> GaugeGraph | TriangleMesh:
    """The graph of Data that :func:`to_pyg` made, or the mesh of any Data with ``pos`` and ``face``.

    Parameters
    ----------
    data : torch_geometric.data.Data or Batch
        Edges may have been put in another order.

    Returns
    -------
    GaugeGraph or TriangleMesh
        A graph where there is ``log_radius``, kept as long as the Data live and their tensors are the same: the layers
        of a model that take Data sort and check its edges once. Of a batch it is one of several surfaces. A batch of
        plain meshes becomes one mesh of several parts: convert each of ``batch.to_data_list()`` to keep them apart.

    Raises
    ------
    InputError
        Neither a graph nor a mesh, with what is missing.
    ValueError
        Numbers that are no valid graph.
    """
    keys = set(data.keys())
    if {"pos", "face"} <= keys and "log_radius" not in keys:
        return _mesh(data, keys)
    missing = sorted({*_FIELDS, "edge_index"} - keys)
    if missing:
        raise InputError(
            f"Data with {', '.join(sorted(keys)) or 'nothing'} has no {', '.join(missing)}: neither what to_pyg made "
            "nor a mesh with pos and face; make a TriangleMesh from vertices and faces, and to_pyg of its gauge_graph()"
        )
    names = [name for name in (*_FIELDS, "edge_index", "reflected", "surface_sizes") if name in keys]
    given = [(data[name], _changes(data[name])) for name in names]
    known = _GRAPHS.get(id(data))
    if known is not None and _same(known[0], given):
        return known[1]
    graph = _graph(data, keys)
    if not any(tensor.requires_grad for tensor, _ in given):  # whose history serves one backward pass
        if known is None:
            weakref.finalize(data, _GRAPHS.pop, id(data), None)
        _GRAPHS[id(data)] = (given, graph)
    return graph


# By the identity of Data, which have no hash: what they held when their graph was made, tensors and the number of their
# changes in place, and the graph. The entry goes when the Data go.
_Given = list[tuple[Tensor, int]]
_COUNTER = "_version"
_GRAPHS: dict[int, tuple[_Given, GaugeGraph]] = {}


def _changes(tensor: Tensor) -> int:
    """Number of changes in place, for which torch has no public name."""
    return getattr(tensor, _COUNTER)


def _same(known: _Given, given: _Given) -> bool:
    pairs = zip(known, given, strict=False)
    return len(known) == len(given) and all(a is b and m == n for (a, m), (b, n) in pairs)


def _graph(data: Data, keys: set[str]) -> GaugeGraph:
    values: dict[str, Tensor] = {field: data[name] for name, field in _FIELDS.items()}
    src, dst = data["edge_index"]
    count = values["positions"].shape[0]
    order = torch.argsort(dst * max(count, 1) + src, stable=True)
    reflected = data["reflected"] if "reflected" in keys else torch.zeros(0, dtype=torch.bool)
    for name in _EDGES:
        values[name] = values[name][order]
    dst_ptr = compressed_rows(dst, count)
    _, src_ptr, src_edge = transposed_rows(dst_ptr, src[order], count)
    sizes = data["surface_sizes"] if "surface_sizes" in keys else dst.new_tensor([count])
    graph = GaugeGraph(
        src=src[order],
        dst=dst[order],
        dst_ptr=dst_ptr,
        src_ptr=src_ptr,
        src_edge=src_edge,
        graph_ptr=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
        reflected=reflected[order] if bool(reflected.any()) else None,
        **values,
    )
    graph.validate()
    return graph


def _mesh(data: Data, keys: set[str]) -> TriangleMesh:
    def named(prefix: str) -> dict[str, Any]:
        return {key.removeprefix(prefix): data[key].cpu().numpy() for key in sorted(keys) if key.startswith(prefix)}

    arrays = data["pos"].detach().cpu().numpy(), data["face"].T.cpu().numpy()
    return TriangleMesh(*arrays, "", named("vertex_"), named("face_"))
