"""Radial basis functions of a convolution: modules from the relative radius of every edge to ``num_radial`` values."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from meshconv.geometry.graph.gauge_graph import GaugeGraph

Radial = Literal["linear", "gaussian", "zernike", "smooth", "network"]


def relative_radius(graph: GaugeGraph, cutoff: float) -> Tensor:
    """Relative radius of every edge ``[E]``: 1 at ``cutoff`` times the graph's ``scale``, and clamped to 1 beyond."""
    return (graph.log_radius / (cutoff * graph.scale[graph.dst])).clamp(max=1)


class LinearHats(nn.Module):
    """Linear hats at ``count`` radii equally spaced from 0 to 1; they sum to one at every radius.

    At most two are non-zero at any radius. Continuous, with kinks at those radii.
    """

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, radius: Tensor) -> Tensor:
        """``[E]`` to ``[E, count]``."""
        if self.count == 1:
            return torch.ones_like(radius)[:, None]
        knots = torch.arange(self.count, dtype=radius.dtype, device=radius.device)
        return (1 - (radius[:, None] * (self.count - 1) - knots).abs()).clamp(min=0)

    def extra_repr(self) -> str:
        return str(self.count)


class GaussianBumps(nn.Module):
    r"""Gaussians at ``count`` radii equally spaced from 0 to 1, of standard deviation half the spacing.

    .. math:: R_b(r) = e^{-(r - r_b)^2 / 2 s^2}, \qquad r_b = \tfrac{b}{count - 1}, \quad s = \tfrac{1}{2 (count - 1)}

    Smooth everywhere. A single one is at 0 with s = 1/2.
    """

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, radius: Tensor) -> Tensor:
        """``[E]`` to ``[E, count]``."""
        intervals = max(self.count - 1, 1)
        knots = torch.arange(self.count, dtype=radius.dtype, device=radius.device)
        return torch.exp(-2 * (radius[:, None] * intervals - knots).square())

    def extra_repr(self) -> str:
        return str(self.count)


class ZernikePolynomials(nn.Module):
    r"""Radially symmetric Zernike polynomials, orthonormal over the unit disc.

    .. math:: R_n(r) = \sqrt{2n + 1} \, P_n(2 r^2 - 1), \qquad \frac{1}{\pi} \int_{disc} R_n R_m \, dA = \delta_{nm}

    with Legendre's :math:`P_n`. Polynomials in the square of the radius: smooth in the position, at 0 as well.

    References
    ----------
    Born, Wolf: Principles of Optics, section 9.2.1.
    """

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, radius: Tensor) -> Tensor:
        """``[E]`` to ``[E, count]``."""
        z = 2 * radius.square() - 1
        values = [torch.ones_like(z), z]
        for n in range(1, self.count - 1):
            values.append(((2 * n + 1) * z * values[n] - n * values[n - 1]) / (n + 1))
        return torch.stack([(2 * n + 1) ** 0.5 * values[n] for n in range(self.count)], dim=1)

    def extra_repr(self) -> str:
        return str(self.count)


class SmoothBumps(nn.Module):
    r"""Smooth bumps that vanish at radius 1, for quadrature by matched moments.

    .. math:: R_b(r) = (1 - r^2)^2 \, r^b

    A neighbour that enters or leaves at the cutoff has no effect, to first order.
    """

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, radius: Tensor) -> Tensor:
        """``[E]`` to ``[E, count]``."""
        inside = (1 - radius.square()).clamp(min=0).square()
        return inside[:, None] * radius[:, None] ** torch.arange(self.count, device=radius.device)

    def extra_repr(self) -> str:
        return str(self.count)


class RadialNetwork(nn.Module):
    """Learnt radial functions: a network of the radius with one hidden layer and silu.

    At initialisation the kinks of the hidden units are spread over radii from 0 to 1. It runs in the precision of its
    parameters under autocast too, as all geometry does.

    Parameters
    ----------
    count
        Number of outputs.
    hidden
        Width of the hidden layer.
    """

    def __init__(self, count: int, hidden: int = 16):
        super().__init__()
        self.count = count
        self.inner, self.outer = nn.Linear(1, hidden), nn.Linear(hidden, count)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.inner.weight, std=4)
        with torch.no_grad():
            self.inner.bias.copy_(-self.inner.weight[:, 0] * torch.rand_like(self.inner.bias))
        nn.init.normal_(self.outer.weight, std=self.outer.in_features**-0.5)
        nn.init.zeros_(self.outer.bias)

    def forward(self, radius: Tensor) -> Tensor:
        """``[E]`` to ``[E, count]``."""
        with torch.autocast(radius.device.type, enabled=False):
            column = radius[:, None].to(self.inner.weight.dtype)
            return self.outer(nn.functional.silu(self.inner(column)))


BASES: dict[str, type[nn.Module]] = {
    "linear": LinearHats,
    "gaussian": GaussianBumps,
    "zernike": ZernikePolynomials,
    "smooth": SmoothBumps,
    "network": RadialNetwork,
}


def radial_functions(radial: Radial | nn.Module, count: int) -> nn.Module:
    """Basis by name with ``count`` functions, or the given module."""
    if isinstance(radial, nn.Module):
        return radial
    if radial not in BASES:
        raise ValueError(f"radial {radial!r} is not a module or one of {', '.join(map(repr, BASES))}")
    return BASES[radial](count)


def probe_disc(basis: nn.Module) -> Tensor:
    """Mean square of each radial function over the unit disc, ``[count]``.

    Raises
    ------
    ValueError
        Unless the module maps ``[E]`` to ``[E, count]`` finite numbers.
    """
    parameter = next(iter(basis.parameters()), None)
    like = torch.empty(0) if parameter is None else parameter.detach()
    points = 64
    radius = ((torch.arange(points, dtype=like.dtype, device=like.device) + 0.5) / points).sqrt()
    with torch.no_grad():
        values = basis(radius)
        ends = basis(radius.new_tensor([0.0, 1.0]))
    if values.dim() != 2 or len(values) != points or not values.shape[1]:
        raise ValueError(
            f"radial functions have to map radii [edges] to [edges, functions], {type(basis).__name__} made "
            f"{tuple(values.shape)} of ({points},)"
        )
    if not (torch.isfinite(values).all() and torch.isfinite(ends).all()):
        raise ValueError(f"{type(basis).__name__} is not finite at all radii from 0 to 1")
    return values.square().mean(0)
