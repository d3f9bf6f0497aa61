"""Finite-difference stencils: weights of a second-order Taylor fit over the log map."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.inference_mode import outside_inference_mode
from meshconv.ops import transport_sum

# Minimal ratio of smallest to largest eigenvalue of the normal equations of a fit: below, the error constant outweighs
# the gain in order. For the quadratic fit, half a ring of five neighbours is above, four neighbours never are.
_QUADRATIC, _LINEAR = 1e-3, 1e-6


@dataclass(frozen=True)
class Stencil:
    """Stencil: weights of the differences ``rho(g) f_q - f_p``, and their sums at each point.

    Attributes
    ----------
    gradient, gradient_sum : float64 Tensor [E, 2], [V, 2]
        Per length; tangent vectors in the frame at ``dst``.
    laplacian, laplacian_sum : float64 Tensor [E], [V]
        Per length squared.
    """

    gradient: Tensor
    gradient_sum: Tensor
    laplacian: Tensor
    laplacian_sum: Tensor


_known: WeakKeyDictionary[GaugeGraph, Stencil] = WeakKeyDictionary()


def taylor_stencil(graph: GaugeGraph) -> Stencil:
    r"""Weights that fit a Taylor polynomial to the neighbours of each point.

    Transported to ``p`` along the geodesic, any field is
    :math:`\rho(g) f_q = f_p + \nabla_u f + \tfrac12 \nabla^2_{u,u} f + O(|u|^3)` with :math:`u = \log_p q`. The first
    and second derivatives that fit best, with weights :math:`e^{-r^2/\bar r^2}` where :math:`\bar r` is the root mean
    square radius of the neighbours, are linear in the differences; these are the coefficients. The weights are bounded,
    so coincident neighbours and slivers are safe.

    A fit is consistent at every point, of second order in the gradient and of at least first order in the
    Laplacian, on irregular neighbours too. Weak-form weights (cotangents, areas) are adjoint to each other
    but need not converge at single points of an irregular mesh.

    Where the neighbours do not determine second derivatives (fewer than five, or all near a conic through the point,
    as at many boundary vertices), the gradient is that of the linear fit and the Laplacian is zero; where they lie on
    a line, the gradient is the derivative along it; without neighbours it is zero.

    Returns
    -------
    Stencil
        Whatever the precision of ``graph``, computed in float64: small matrices are inverted.

    Notes
    -----
    The basis :math:`r\cos\theta, r\sin\theta, r^2\cos 2\theta, r^2\sin 2\theta, r^2` transforms by orthogonal matrices
    under a change of gauge, so the weights and the choice of the fit are equivariant
    (``tests/test_differential.py``).
    """
    # Cached: graphs are immutable, and inverting the matrices takes longer than a layer.
    keep = not (torch.compiler.is_compiling() or graph.log_radius.requires_grad or graph.log_angle.requires_grad)
    if not keep:
        return _fit(graph)
    if graph not in _known:
        with outside_inference_mode():
            _known[graph] = _fit(graph)
    return _known[graph]


def _fit(graph: GaugeGraph) -> Stencil:
    radius, angle = graph.log_radius.double(), graph.log_angle.double()
    weight = torch.ones_like(radius)
    count, square = _row_sums(torch.stack([weight, radius.square()], -1), graph).unbind(-1)
    mean = (square / count.clamp(min=1)).sqrt()
    unit = torch.where(mean > 0, mean, 1)[graph.dst]
    r = radius / unit
    weight = torch.exp(-r.square())
    basis = torch.stack(
        [
            r * torch.cos(angle),
            r * torch.sin(angle),
            r.square() * torch.cos(2 * angle),
            r.square() * torch.sin(2 * angle),
            r.square(),
        ],
        dim=-1,
    )
    products = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    normal = _row_sums(products * weight[:, None], graph).unflatten(-1, (5, 5))
    quadratic, is_quadratic = _inverse(normal, _QUADRATIC)
    linear, _ = _inverse(normal[:, :2, :2], _LINEAR, pseudo=True)
    weighted = basis * weight[:, None]
    by_quadratic = torch.einsum("eij,ej->ei", quadratic[graph.dst], weighted)
    by_linear = torch.einsum("eij,ej->ei", linear[graph.dst], weighted[:, :2])
    gradient = torch.where(is_quadratic[graph.dst, None], by_quadratic[:, :2], by_linear) / unit[:, None]
    # f = ... + c r^2 has the Laplacian 4 c; r^2 cos 2 theta and r^2 sin 2 theta have none.
    laplacian = 4 * by_quadratic[:, 4] / unit.square()
    sums = _row_sums(torch.cat([gradient, laplacian[:, None]], dim=-1), graph)
    return Stencil(gradient, sums[:, :2], laplacian, sums[:, 2])


def _row_sums(values: Tensor, graph: GaugeGraph) -> Tensor:
    """Sums ``[V, K]`` of ``values [E, K]`` over the edges into each point, in a fixed order."""
    k = values.shape[-1]
    ones = values.new_ones(graph.num_sources, k)
    still = values.new_zeros(graph.num_edges)
    return transport_sum(ones, values, still, graph.edges, FieldType.from_multiplicities([k]))


def _inverse(matrix: Tensor, threshold: float, pseudo: bool = False) -> tuple[Tensor, Tensor]:
    """Inverses of symmetric matrices, and which are well conditioned; others are zero, or regularised."""
    values, vectors = torch.linalg.eigh(matrix)
    good = (values > threshold * values[:, -1:]) & (values > 0)
    well = good.all(-1)
    keep = good if pseudo else good & well[:, None]
    inverse = torch.where(keep, 1 / torch.where(keep, values, 1), 0)
    return (vectors * inverse[:, None, :]) @ vectors.mT, well
