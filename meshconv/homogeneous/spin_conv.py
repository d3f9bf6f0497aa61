"""Spin-weighted spherical convolution: the complete SO(3)-equivariant linear map of fields on the sphere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.homogeneous.transform import SphereTransform, check_orders, degrees
from meshconv.nn.convolution.radial import Radial, radial_functions


class SpinConv(nn.Module):
    r"""Spin-weighted spherical convolution.

    .. math:: \hat f'_{lm} = K_l \hat f_{lm}, \qquad K_l = \sum_b R_b(l / l_{max}) \, W_b

    with (E, B) coefficients of every field. :math:`K_l` is any real matrix between all components of fields of orders
    s, s' up to l: 2 x 2 numbers for a pair of fields of orders above 0, 2 and 1 with scalars, as many as
    :class:`~meshconv.nn.GaugeConv` has. This is the complete space of SO(3)-equivariant linear maps up to degree lmax.
    Kernels that are smooth in l are localised on the sphere. For types of O(2) reflections of the sphere are a symmetry
    too, which leaves the entries of equal parity: E to E, B to B, E to scalars, B to odd scalars.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    lmax
        Highest degree that passes.
    num_functions
        Functions of the degree for every pair of components, at most lmax + 1; None: lmax + 1, a free number for each
        degree.
    bias
        Learnt constant at order 0.
    radial
        Basis of functions of the degree, as of the radius in :class:`~meshconv.nn.GaugeConv`.

    Raises
    ------
    InputError
        Fields of an order above lmax.

    Notes
    -----
    ``tests/test_spin_conv.py`` measures equivariance by Wigner matrices and by synthesis at turned points.

    References
    ----------
    Cohen, Geiger, Weiler: A General Theory of Equivariant CNNs on Homogeneous Spaces, NeurIPS 2019.
    Esteves, Makadia, Daniilidis: Spin-Weighted Spherical CNNs, NeurIPS 2020.

    Examples
    --------
    >>> transform = SphereTransform(7)
    >>> conv = SpinConv("2x0", "4x0 + 4x1", lmax=7)
    >>> conv(torch.randn(3, transform.num_points, 2), transform).shape
    torch.Size([3, 128, 12])
    """

    reached: Tensor

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        lmax: int,
        *,
        num_functions: int | None = 6,
        bias: bool = True,
        radial: Radial | nn.Module = "linear",
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.in_type.check_group(self.out_type)
        if int(lmax) != lmax or lmax < 0:
            raise InputError(f"lmax {lmax} is not a whole number from 0")
        if num_functions is not None and num_functions < 1:
            raise InputError(f"num_functions {num_functions} has to be at least 1; None is one for each degree")
        self.lmax = int(lmax)
        check_orders(self.in_type, self.lmax)
        check_orders(self.out_type, self.lmax)
        count = self.lmax + 1 if num_functions is None else min(num_functions, self.lmax + 1)
        self.radial = radial_functions(radial, count)
        self.register_buffer("reached", self._reached(), persistent=False)
        self.num_functions = self._functions(torch.zeros(())).shape[1]
        self.weight = nn.Parameter(torch.empty(self.num_functions, self.in_type.dim, self.out_type.dim))
        self.bias = nn.Parameter(torch.zeros(self.out_type.scalars)) if bias and self.out_type.scalars else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise to unit variance of the coefficients for inputs of unit variance."""
        inputs = self.reached[-1].sum(0).clamp(min=1)
        with torch.no_grad():
            power = self._functions(self.weight).square().sum(1).mean()
            self.weight.normal_().mul_((inputs * power).rsqrt())
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def kernel(self) -> Tensor:
        """The matrices :math:`K_l` ``[lmax + 1, in_type.dim, out_type.dim]``."""
        matrices = torch.einsum("lb,bio->lio", self._functions(self.weight), self.weight)
        return matrices * self.reached

    def coefficients(self, c: Tensor) -> Tensor:
        """The map of coefficients ``[..., l + 1, 2 l + 2, in_type.dim]``, l <= lmax; without the bias."""
        self.in_type.check(c, "coefficients")
        rows = c.shape[-3]
        if rows > self.lmax + 1:
            raise InputError(
                f"coefficients of degrees up to {rows - 1}, the convolution has lmax {self.lmax}; cut them"
            )
        return torch.einsum("...lpi,lio->...lpo", c, self.kernel()[:rows].to(c.dtype))

    def forward(self, x: Tensor, transform: SphereTransform, target: SphereTransform | None = None) -> Tensor:
        """Convolve ``[..., points, in_type.dim]`` on the grid of ``transform`` to ``[..., points, out_type.dim]``.

        Parameters
        ----------
        x : Tensor [..., points, in_type.dim]
        transform : SphereTransform
            Its lmax is at least that of the convolution; degrees beyond it are dropped.
        target : SphereTransform, optional
            Grid of the output, if another; of a lower lmax, degrees beyond that are dropped too.
        """
        if transform.lmax < self.lmax:
            raise InputError(
                f"the convolution has lmax {self.lmax}, which is too high for {transform}; "
                "make the grid finer or lmax lower"
            )
        target = transform if target is None else target
        lmax = min(self.lmax, target.lmax)
        y = target.synthesis(self.coefficients(transform.analysis(x, self.in_type, lmax)), self.out_type)
        return y if self.bias is None else y + nn.functional.pad(self.bias, (0, self.out_type.dim - len(self.bias)))

    def _reached(self) -> Tensor:
        """Which entries of every matrix there are, bool ``[lmax + 1, in_type.dim, out_type.dim]``."""
        least = torch.maximum(degrees(self.in_type)[:, None], degrees(self.out_type)[None])
        reached = torch.arange(self.lmax + 1)[:, None, None] >= least
        if self.in_type.group == "O(2)":
            like = torch.zeros(0)
            reached = reached & (self.in_type.parity(like)[:, None] == self.out_type.parity(like)[None])
        return reached

    def _functions(self, like: Tensor) -> Tensor:
        """Functions of the degree ``[lmax + 1, num_functions]``."""
        degree = torch.arange(self.lmax + 1, dtype=like.dtype, device=like.device)
        return self.radial(degree / max(self.lmax, 1))

    def extra_repr(self) -> str:
        return (
            f"{self.in_type} -> {self.out_type}, lmax={self.lmax}, num_functions={self.num_functions}, "
            f"bias={self.bias is not None}"
        )
