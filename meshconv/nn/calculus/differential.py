"""Differential operators at the points of a gauge graph: gauge-equivariant and pointwise consistent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.nn.calculus.stencil import taylor_stencil
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import transport_sum


def single_order(module: nn.Module, field_type: FieldType | str, order: int) -> FieldType:
    """``field_type`` if it holds (even) fields of ``order`` alone, else a ``ValueError`` that names both."""
    found = FieldType(field_type)
    if found.orders != (order,) or found.odd_scalars:
        wanted = found.like([0] * order + [found.num_fields])
        name = type(module).__name__
        raise ValueError(f"{name} takes fields of order {order} alone, such as '{wanted}', not '{found}'")
    return found


def at_least_single(x: Tensor) -> Tensor:
    """``x`` in float32 where it is in half precision, whose rounding exceeds the differences of neighbours."""
    return x if x.dtype == torch.float64 else x.float()


class Gradient(SurfaceModule):
    r"""Gradient of scalars, a tangent field: :math:`\nabla f(p) = \sum_q a_{pq} (f_q - f_p)`.

    The weights are those of a second-order Taylor fit over the log map
    (:func:`~meshconv.nn.calculus.stencil.taylor_stencil` has the reasons and the boundaries), so the error is of
    second order in the spacing.

    Parameters
    ----------
    in_type : FieldType or str
        Scalars (order, or angular frequency, 0), ``"Nx0"``; ``out_type`` is ``"Nx1"``.

    Notes
    -----
    Per unit of length of the surface (radians on the unit sphere). ``tests/test_differential.py`` measures the order
    on HEALPix and meshes against spherical harmonics; ``docs/layers.md`` has the numbers.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(16).gauge_graph()
    >>> z = graph.positions[:, 2:]
    >>> slope = Gradient("1x0")(z, graph)   # in frames (south, east): (-sin theta, 0)
    >>> bool((slope[:, 0] + (1 - z[:, 0] ** 2).sqrt()).abs().max() < 0.002)
    True
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = single_order(self, in_type, 0)
        self.out_type = self.in_type.like([0, self.in_type.dim])

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, N]`` to ``[..., V, 2 N]``."""
        self.in_type.check(x, "input")
        stencil, dtype = taylor_stencil(graph), x.dtype
        # The components of the gradient are two blocks of scalars, each with its own weights.
        twice = FieldType.from_multiplicities([2 * self.in_type.dim])
        x = at_least_single(torch.cat([x, x], dim=-1))
        sources, still = graph.spread(x), torch.zeros_like(graph.log_angle)
        neighbours = transport_sum(sources, stencil.gradient, still, graph.edges, twice)
        return (neighbours - x * _per_run(stencil.gradient_sum, x)).to(dtype)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


class _DivergenceAndCurl(SurfaceModule):
    """Both are components of one product of complex numbers."""

    _component: int

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = single_order(self, in_type, 1)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, 2 N]`` to ``[..., V, N]``."""
        self.in_type.check(x, "input")
        stencil, dtype, x = taylor_stencil(graph), x.dtype, at_least_single(x)
        # conj(a) v = (a . v) + i (a x v): a vector rotated back by the angle of a has divergence and curl as
        # components, which are gauge-invariant.
        length = torch.linalg.vector_norm(stencil.gradient, dim=-1)
        angle = torch.atan2(stencil.gradient[:, 1], stencil.gradient[:, 0])
        sources, edges = graph.sources(x, self.in_type)
        both = transport_sum(sources, length, graph.transporter - angle, edges, self.in_type)
        a, b = stencil.gradient_sum.to(x.dtype)[:, :, None].unbind(1)
        cos, sin = x.chunk(2, dim=-1)
        here = a * cos + b * sin if self._component == 0 else a * sin - b * cos
        return (both.chunk(2, dim=-1)[self._component] - here).to(dtype)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


class Divergence(_DivergenceAndCurl):
    r"""Divergence of tangent fields: :math:`\nabla\cdot v\,(p) = \sum_q a_{pq} \cdot (\rho(g_{q\to p}) v_q - v_p)`.

    The trace of the covariant derivative, with the weights of :class:`Gradient` and its order of accuracy at every
    point. It is not minus the adjoint of :class:`Gradient`: on irregular points that adjoint has an error
    of a multiple of 1 / spacing. For exact conservation use :class:`~meshconv.nn.FaceDivergence`, which
    is both adjoint and consistent, as its vector fields are on triangles.

    Parameters
    ----------
    in_type : FieldType or str
        Tangent fields, ``"Nx1"``; ``out_type`` is ``"Nx0"``.
    """

    _component = 0

    def __init__(self, in_type: FieldType | str):
        super().__init__(in_type)
        self.out_type = self.in_type.like([self.in_type.num_fields])


class Curl(_DivergenceAndCurl):
    r"""Curl of tangent fields, the component along the normal: :math:`-\nabla\cdot J v`, J the quarter turn.

    Counter-clockwise rotation seen from outside is positive. The curl of a :class:`Gradient` is zero up to the error of
    both operators; with :class:`~meshconv.nn.FaceCurl` it is exactly zero.

    Parameters
    ----------
    in_type : FieldType or str
        Tangent fields, ``"Nx1"``; ``out_type`` is ``"Nx0"``, for O(2) odd scalars ``"Nx0-"``: reflections change the
        sign.
    """

    _component = 1

    def __init__(self, in_type: FieldType | str):
        super().__init__(in_type)
        count = self.in_type.num_fields
        self.out_type = self.in_type.like([count], count if self.in_type.group == "O(2)" else 0)


class Laplacian(SurfaceModule):
    r"""Connection Laplacian of fields of any order m: :math:`\Delta f(p) = \sum_q l_{pq} (\rho(g_{q\to p}) f_q - f_p)`.

    Of scalars it is the Laplace-Beltrami operator (negative: a maximum has a negative Laplacian); of tangent fields
    the trace of the second covariant derivative. The weights are the second derivatives of the same fit as in
    :class:`Gradient`; :class:`~meshconv.nn.CotangentLaplacian` is symmetric instead.

    Parameters
    ----------
    in_type : FieldType or str
        Any; ``out_type`` is the same.

    Notes
    -----
    On the unit sphere :math:`\Delta Y_l = -l(l+1) Y_l` and :math:`\Delta \nabla Y_l = (1 - l(l+1)) \nabla Y_l`; for a
    field of order m and spin-weighted harmonic of degree l the eigenvalue is :math:`m^2 - l(l+1)`.
    ``tests/test_differential.py`` measures the order: first at every point where log maps and transporters are exact,
    more in the mean. On irregular meshes the error of the transporters limits orders 1 and above to about 1 %.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, graph: GaugeGraph) -> Tensor:
        """``[..., V, dim]`` to the same."""
        self.in_type.check(x, "input")
        stencil, dtype, x = taylor_stencil(graph), x.dtype, at_least_single(x)
        sources, edges = graph.sources(x, self.in_type)
        around = transport_sum(sources, stencil.laplacian, graph.transporter, edges, self.in_type)
        return (around - stencil.laplacian_sum.to(x.dtype)[:, None] * x).to(dtype)

    def extra_repr(self) -> str:
        return str(self.in_type)


def _per_run(values: Tensor, x: Tensor) -> Tensor:
    """One value for each half of the last axis of ``x``, ``[V, 2]`` to ``[V, dim]``."""
    return values.to(x.dtype).repeat_interleave(x.shape[-1] // 2, dim=-1)
