"""Errors of a module under isometries of the surface and renumbering of its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.ops.rows import compressed_rows, transposed_rows
from meshconv.testing.calls import below, call, evaluating, field_type, precision, relative_difference, tolerance_for

Prepare = Callable[[TriangleMesh], tuple[Tensor, GaugeGraph]]


@dataclass
class _Options:
    """What both measures take besides the module and the surface."""

    prepare: Prepare | None = None
    in_type: FieldType | str | None = None
    out_type: FieldType | str | None = None
    dtype: torch.dtype | None = None
    samples: int = 3
    seed: int = 0


def isometry_error(
    module: nn.Module, surface: GaugeGraph | TriangleMesh, prepare: Prepare | None = None, *, reflect: bool = False,
    in_type: FieldType | str | None = None, out_type: FieldType | str | None = None, dtype: torch.dtype | None = None,
    samples: int = 3, seed: int = 0,
) -> float:  # fmt: skip
    r"""Largest relative change of a module's output when the surface is moved rigidly.

    .. math:: \frac{\| M(x; T S) - M(x; S) \|}{\| M(x; S) \|}, \qquad T p = R p + t

    What the components of the output refer to moves along: outputs are compared in the frames of the original,
    carried over by the motion. Intrinsic features and the layers of this package see no motion at all.

    Parameters
    ----------
    module
        Called ``module(x, graph)``, or ``module(x)`` if its ``forward`` takes one argument; in evaluation mode.
    surface
        A graph, whose positions and frames are moved while the log maps stay, with random features; or a mesh, whose
        vertices are moved before ``prepare`` makes features and graph of it.
    prepare
        From a mesh to ``(x, graph)``: tests the inputs together with the module. Needed for a mesh.
    reflect
        Mirror the surface as well. Vectors and higher orders have to be of types of O(2) for that.
    in_type, out_type
        Default: the module's attributes. Outputs without a row per vertex have to be invariant.
    dtype
        Precision the module runs in; default: its parameters', float32 if it has none.
    samples
        Number of motions tried.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For outputs that are not finite or zero everywhere, for a mesh without ``prepare``, and for a reflection of
        fields that only turn.

    Examples
    --------
    >>> import meshconv
    >>> graph = meshconv.HealpixSphere(2).gauge_graph()
    >>> isometry_error(meshconv.nn.GaugeConv("2x0", "2x0 + 2x1"), graph) < 1e-12
    True
    >>> mirrored = meshconv.nn.GaugeConv("O(2): 2x0", "O(2): 2x0 + 2x1")
    >>> isometry_error(mirrored, graph, reflect=True) < 1e-6
    True
    """

    def move(generator: torch.Generator, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        motion = _random_rotation(generator)
        if reflect:
            motion = motion * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
        extent = points.abs().max() if len(points) else 1.0
        shift = torch.randn(3, generator=generator, dtype=torch.float64) * extent
        return motion, shift, torch.arange(len(points))

    options = _Options(prepare, in_type, out_type, dtype, samples, seed)
    return _worst(module, surface, move, reflect, options)


def permutation_error(
    module: nn.Module, surface: GaugeGraph | TriangleMesh, prepare: Prepare | None = None, *,
    in_type: FieldType | str | None = None, out_type: FieldType | str | None = None, dtype: torch.dtype | None = None,
    samples: int = 3, seed: int = 0,
) -> float:  # fmt: skip
    r"""Largest relative change of a module's output when the points are numbered otherwise.

    .. math:: \frac{\| M(P x; P S) - P M(x; S) \|}{\| M(x; S) \|}

    Parameters
    ----------
    module, surface, prepare, in_type, out_type, dtype, samples, seed
        As of :func:`isometry_error`. Points stay inside their surface of a batch.

    Returns
    -------
    float
        Sums over edges run in another order, so about 1e-7 in float32 for a module that is consistent.

    Raises
    ------
    ValueError
        As of :func:`isometry_error`.

    Examples
    --------
    >>> import meshconv
    >>> permutation_error(meshconv.nn.Linear("2x0", "1x0"), meshconv.HealpixSphere(2).gauge_graph())
    0.0
    """

    def renumber(generator: torch.Generator, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        order = torch.randperm(len(points), generator=generator)
        return torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), order

    options = _Options(prepare, in_type, out_type, dtype, samples, seed)
    return _worst(module, surface, renumber, False, options)


def assert_isometry_equivariant(
    module: nn.Module, surface: GaugeGraph | TriangleMesh, prepare: Prepare | None = None,
    tolerance: float | None = None, **options: Any,
) -> float:  # fmt: skip
    """Raise ``AssertionError`` if the isometry error exceeds ``tolerance``; return the error otherwise.

    The default tolerance is 1e-10 in float64 and 1e-5 in float32; ``options`` go to :func:`isometry_error`.
    """
    tolerance = tolerance_for(module, options.get("dtype")) if tolerance is None else tolerance
    return below(module, "isometry", isometry_error(module, surface, prepare, **options), tolerance)


def assert_permutation_equivariant(
    module: nn.Module, surface: GaugeGraph | TriangleMesh, prepare: Prepare | None = None,
    tolerance: float | None = None, **options: Any,
) -> float:  # fmt: skip
    """Raise ``AssertionError`` if the permutation error exceeds ``tolerance``; return the error otherwise.

    The default tolerance is 1e-10 in float64 and 1e-5 in float32; ``options`` go to :func:`permutation_error`.
    """
    tolerance = tolerance_for(module, options.get("dtype")) if tolerance is None else tolerance
    return below(module, "permutation", permutation_error(module, surface, prepare, **options), tolerance)


Change = Callable[[torch.Generator, Tensor], tuple[Tensor, Tensor, Tensor]]
"""From random numbers and points to a matrix, a shift, and which old point each new one is."""


def _worst(
    module: nn.Module, surface: GaugeGraph | TriangleMesh, change: Change, reflect: bool, options: _Options
) -> float:
    out_type = field_type(module, "out_type", options.out_type)
    dtype, worst = options.dtype or precision(module), 0.0
    generator = torch.Generator().manual_seed(options.seed)
    with evaluating(module):
        for _ in range(options.samples):
            if isinstance(surface, TriangleMesh):
                if options.prepare is None:
                    raise ValueError("a mesh takes prepare=, a function from a mesh to features and a graph")
                matrix, shift, order = change(generator, torch.from_numpy(surface.vertices))
                x, graph = options.prepare(surface)
                other_x, other = options.prepare(_changed_mesh(surface, matrix, shift, order, reflect))
                x, other_x = x.double(), other_x.double()
            elif isinstance(surface, GaugeGraph):
                graph = surface.to(torch.float64)
                in_type = field_type(module, "in_type", options.in_type)
                matrix, shift, order = change(generator, graph.positions.cpu())
                order = _inside_surfaces(order, graph)
                matrix, shift, order = (t.to(graph.device) for t in (matrix, shift, order))
                x = torch.randn(graph.num_vertices, in_type.dim, generator=generator, dtype=torch.float64)
                x = x.to(graph.device)
                other_x = _reflected(in_type, x, reflect)[order]
                other = _changed_graph(graph, matrix, shift, order, reflect)
            else:
                raise TypeError(f"expected a GaugeGraph or a TriangleMesh, got {type(surface).__name__}")
            y, found = call(module, x, graph, dtype), call(module, other_x, other, dtype)
            out_type.check(y, "output")
            if y.dim() > 1 and y.shape[-2] == graph.num_vertices:
                carried = _carried_frames(graph, matrix.to(graph.device), order.to(graph.device), reflect)
                y = _reflected(out_type, y, reflect)[..., order.to(y.device), :]
                y = out_type.rotate(y, -_turn(carried, other.frames.double()))
            elif out_type.max_order > 0:
                raise ValueError(f"output {tuple(y.shape)} has no row per vertex, so it cannot be of type {out_type}")
            else:
                y = _reflected(out_type, y, reflect)
            worst = max(worst, relative_difference(found, y))
    return worst


def _random_rotation(generator: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.linalg.det(q).sign()


def _reflected(field: FieldType, x: Tensor, reflect: bool) -> Tensor:
    if not reflect:
        return x
    still = x.new_zeros(x.shape[:-1])
    return field.change_gauge(x, still, torch.ones_like(still, dtype=torch.bool))


def _changed_mesh(mesh: TriangleMesh, matrix: Tensor, shift: Tensor, order: Tensor, reflect: bool) -> TriangleMesh:
    """Vertex ``i`` is the moved vertex ``order[i]``; a mirror image keeps its outside outside."""
    vertices = torch.from_numpy(mesh.vertices) @ matrix.T + shift
    place = torch.argsort(order).numpy()
    faces = place[mesh.faces]
    data = {key: values[order.numpy()] for key, values in mesh.vertex_data.items()}
    faces = faces[:, ::-1] if reflect else faces
    return replace(mesh, vertices=vertices[order].numpy(), faces=faces, vertex_data=data, origin=None)


def _changed_graph(graph: GaugeGraph, matrix: Tensor, shift: Tensor, order: Tensor, reflect: bool) -> GaugeGraph:
    """Moved, and numbered so that point ``i`` is the old point ``order[i]``; log maps stay, or are mirrored."""
    frames = _carried_frames(graph, matrix, order, reflect)
    place = torch.argsort(order)
    src, dst = place[graph.src], place[graph.dst]
    edge = torch.argsort(dst * max(graph.num_vertices, 1) + src, stable=True)
    dst_ptr = compressed_rows(dst, graph.num_vertices)
    _, src_ptr, src_edge = transposed_rows(dst_ptr, src[edge], graph.num_vertices)
    sign = -1 if reflect else 1
    moved = {key: getattr(graph, key)[order] for key in GaugeGraph.along("vertices")}
    moved |= {"positions": moved["positions"] @ matrix.T + shift, "frames": frames}
    return replace(
        graph,
        src=src[edge],
        dst=dst[edge],
        dst_ptr=dst_ptr,
        src_ptr=src_ptr,
        src_edge=src_edge,
        log_radius=graph.log_radius[edge],
        log_angle=sign * graph.log_angle[edge],
        transporter=sign * graph.transporter[edge],
        reflected=None if graph.reflected is None else graph.reflected[edge],
        **moved,
    )


def _carried_frames(graph: GaugeGraph, matrix: Tensor, order: Tensor, reflect: bool) -> Tensor:
    """The frames after the motion, in the new numbering; e2 of a mirrored frame turns round to stay right-handed."""
    frames = graph.frames.double() @ matrix.T
    if reflect:
        frames = frames * frames.new_tensor([1.0, -1.0, 1.0])[:, None]
    return frames[order]


def _turn(carried: Tensor, frames: Tensor) -> Tensor:
    """Angle from each carried frame to the frame that the graph has there."""
    e1 = frames[:, 0]
    return torch.atan2((carried[:, 1] * e1).sum(-1), (carried[:, 0] * e1).sum(-1))


def _inside_surfaces(order: Tensor, graph: GaugeGraph) -> Tensor:
    """The same order, surface by surface."""
    member = graph.batch_index.cpu()
    return order[torch.argsort(member[order], stable=True)]
