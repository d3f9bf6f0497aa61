"""Vector calculus with exact identities: scalars at vertices, tangent fields on triangles."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.complex import SurfaceComplex
from meshconv.nn.calculus.differential import at_least_single, single_order
from meshconv.nn.surface_module import SurfaceModule
from meshconv.ops import transport_sum
from meshconv.ops.dirichlet import dirichlet_solve
from meshconv.ops.gauge_conv import Edges


class FaceGradient(SurfaceModule):
    r"""Gradient of scalars at vertices, constant on each triangle: :math:`\nabla f = \sum_i f_i \nabla\varphi_i`.

    Exact for functions that are linear on the triangle, whatever its shape; else the error is of first order in the
    spacing (second for :class:`~meshconv.nn.Gradient`).

    Parameters
    ----------
    in_type : FieldType or str
        Scalars at vertices, ``"Nx0"``; ``out_type`` is ``"Nx1"``, tangent fields at triangles.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = single_order(self, in_type, 0)
        self.out_type = self.in_type.like([0, self.in_type.dim])

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., V, N]`` to ``[..., F, 2 N]``."""
        self.in_type.check(x, "input")
        return _gradient(at_least_single(x), surface.hat_gradient, surface.corners).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


class FaceDivergence(SurfaceModule):
    r"""Divergence at vertices of tangent fields on triangles.

    .. math:: (\nabla\cdot v)_i = -\frac{1}{A_i}\sum_f A_f \nabla\varphi_i\cdot v_f

    Minus the adjoint of :class:`FaceGradient`, :math:`\sum_f A_f \nabla u\cdot v = -\sum_i A_i u_i (\nabla\cdot v)_i`
    exactly, with triangle areas and a third of them at each vertex. It is exact for fields that are linear around
    an inner vertex, so the error is of first order in the spacing there. The flux through the boundary is zero: the
    divergence of boundary vertices includes the flux that arrives.

    Parameters
    ----------
    in_type : FieldType or str
        Tangent fields at triangles, ``"Nx1"``; ``out_type`` is ``"Nx0"``, scalars at vertices.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = single_order(self, in_type, 1)
        self.out_type = self.in_type.like([self.in_type.num_fields])

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., F, 2 N]`` to ``[..., V, N]``."""
        self.in_type.check(x, "input")
        flux = _adjoint(at_least_single(x), surface.hat_gradient, surface.areas, surface.corners)
        return (-flux / _positive(surface.vertex_areas, flux)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


class FaceCurl(SurfaceModule):
    r"""Curl at vertices of tangent fields on triangles: minus the :class:`FaceDivergence` of :math:`J v`.

    The curl of a :class:`FaceGradient` is zero up to rounding. It is set to zero at boundary vertices, where the
    circulation is not determined, and is hence the adjoint of :math:`-J\nabla` on scalars that vanish on the
    boundary.

    Parameters
    ----------
    in_type : FieldType or str
        Tangent fields at triangles, ``"Nx1"``; ``out_type`` is ``"Nx0"``, scalars at vertices.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = single_order(self, in_type, 1)
        self.out_type = self.in_type.like([self.in_type.num_fields])

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., F, 2 N]`` to ``[..., V, N]``."""
        self.in_type.check(x, "input")
        cos, sin = at_least_single(x).chunk(2, dim=-1)
        turned = torch.cat([-sin, cos], dim=-1)
        flux = _adjoint(turned, surface.hat_gradient, surface.areas, surface.corners)
        flux = torch.where(surface.on_boundary[:, None], 0, flux)
        return (flux / _positive(surface.vertex_areas, flux)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


class CotangentLaplacian(SurfaceModule):
    r"""Symmetric connection Laplacian: :math:`\frac{1}{A_p}\sum_q w_{pq}(\rho(g_{q\to p}) f_q - f_p)`, w cotangents.

    On scalars it is :class:`FaceDivergence` after :class:`FaceGradient`. Self-adjoint, and where no pair of angles
    opposite to an edge exceeds pi (Delaunay) it satisfies a maximum principle. Its eigenvalues and solutions converge;
    its values at single points of an irregular mesh need not, unlike those of :class:`~meshconv.nn.Laplacian`.

    Parameters
    ----------
    in_type : FieldType or str
        Any orders, at vertices; ``out_type`` is the same.

    References
    ----------
    Sharp, Soliman, Crane: The vector heat method, 2019.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., V, dim]`` to the same."""
        self.in_type.check(x, "input")
        graph, weight, dtype, x = surface.graph, surface.cotangent, x.dtype, at_least_single(x)
        ones = torch.ones_like(weight)
        total = transport_sum(ones.new_ones(graph.num_vertices, 1), weight, 0 * ones, graph.edges, FieldType("1x0"))
        around = transport_sum(x, weight, graph.transporter, graph.edges, self.in_type)
        return ((around - total.to(x.dtype) * x) / _positive(surface.vertex_areas, x)).to(dtype)

    def extra_repr(self) -> str:
        return str(self.in_type)


class ToFaces(SurfaceModule):
    """Mean of the fields at a triangle's corners, transported into its frame."""

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., V, dim]`` to ``[..., F, dim]``."""
        third = torch.full_like(surface.transporter, 1 / 3)
        return transport_sum(x, third, surface.transporter, surface.corners, self.in_type)

    def extra_repr(self) -> str:
        return str(self.in_type)


class ToVertices(SurfaceModule):
    """Area-weighted mean of the fields on the triangles round a vertex, the adjoint of :class:`ToFaces`."""

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(in_type)

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., F, dim]`` to ``[..., V, dim]``; zero at vertices without triangles."""
        third = surface.areas[surface.corners[2]] / 3
        wide = at_least_single(x)
        total = transport_sum(wide, third, surface.transporter, surface.corners, self.in_type, transpose=True)
        return (total / _positive(surface.vertex_areas, total)).to(x.dtype)

    def extra_repr(self) -> str:
        return str(self.in_type)


class HodgeParts(SurfaceModule):
    r"""Hodge decomposition of tangent fields on triangles: :math:`v = \nabla f + J\nabla g + h`.

    The gradient of a scalar at vertices, the rotated gradient of a scalar at edge midpoints that vanishes on the
    boundary, and the harmonic rest. The three are orthogonal in the inner product :math:`\sum_f A_f u_f\cdot v_f`
    and add up to v, exactly; harmonic fields form a space of dimension 2 genus on a closed surface (first
    Betti number with a boundary), zero on the sphere. For fields at vertices, apply :class:`ToFaces` before and
    :class:`ToVertices` after.

    Parameters
    ----------
    in_type : FieldType or str
        Tangent fields at triangles, ``"Nx1"``; ``out_type`` is ``"3Nx1"``: gradient, curl and harmonic parts.

    Notes
    -----
    Two sparse systems of the surface are factorised at first use, on the CPU in float64; each call then solves
    them, as does the backward pass. ``tests/test_exterior.py`` checks dimensions, orthogonality and closed forms.

    References
    ----------
    Polthier, Preuss: Identifying vector field singularities using a discrete Hodge decomposition, 2003.
    """

    def __init__(self, in_type: FieldType | str):
        super().__init__()
        self.in_type = single_order(self, in_type, 1)
        self.out_type = self.in_type.like([0, 3 * self.in_type.num_fields])

    def forward(self, x: Tensor, surface: SurfaceComplex) -> Tensor:
        """``[..., F, 2 N]`` to ``[..., F, 6 N]``: all cosines of the three parts, then all sines."""
        self.in_type.check(x, "input")
        v = x.double()
        parts = []
        for gradient, rows in ((surface.hat_gradient, surface.corners), (surface.side_gradient, surface.sides)):
            source = _adjoint(v, gradient.double(), surface.areas, rows)
            potential = dirichlet_solve(source, gradient, surface.areas, rows[1], rows[2])
            parts.append(_gradient(potential, gradient.double(), rows))
        parts.append(v - parts[0] - parts[1])
        halves = [p.chunk(2, dim=-1) for p in parts]
        return torch.cat([h[0] for h in halves] + [h[1] for h in halves], dim=-1).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}"


def _gradient(x: Tensor, gradient: Tensor, rows: Edges) -> Tensor:
    """``sum_i x_i g_i`` on every triangle: two blocks of scalars, each with its own weights."""
    both = torch.cat([x, x], dim=-1)
    still = torch.zeros_like(gradient[:, 0])
    return transport_sum(both, gradient, still, rows, FieldType.from_multiplicities([both.shape[-1]]))


def _adjoint(v: Tensor, gradient: Tensor, areas: Tensor, rows: Edges) -> Tensor:
    """``sum_f A_f g_i . v_f`` of every function i."""
    weight = gradient * areas.to(gradient.dtype)[rows[2], None]
    still = torch.zeros_like(gradient[:, 0])
    both = transport_sum(v, weight, still, rows, FieldType.from_multiplicities([v.shape[-1]]), transpose=True)
    return both.unflatten(-1, (2, -1)).sum(-2)


def _positive(areas: Tensor, like: Tensor) -> Tensor:
    """Areas as divisors ``[V, 1]``; vertices without triangles get zero."""
    areas = areas.to(like.dtype)[:, None]
    return torch.where(areas > 0, areas, torch.inf)
