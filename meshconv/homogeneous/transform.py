"""Spherical harmonic transform of fields of any type, on Gauss-Legendre and HEALPix grids."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.sphere.frames import polar_frames, unit_vectors
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.homogeneous.ducc import ducc
from meshconv.homogeneous.sht import adjoint, inside, solve, synthesis

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SphereTransform:
    r"""Spin-weighted spherical harmonic transform between fields on a grid and their coefficients, up to degree lmax.

    A field of order s > 0 has components towards south and east in the frame's convention (cosine, sine), and
    coefficients (E, B) in their places; both have the degrees from s on. :math:`E = \sqrt{l(l+1)} \chi` synthesises the
    gradient of :math:`\chi`, B its rotation by a right angle.

    Parameters
    ----------
    lmax
        Highest degree.
    grid : "gauss" or HealpixSphere
        Gauss-Legendre rings, or HEALPix in its own pixel order, with lmax up to 2 nside.
    oversampling
        Rings of the Gauss-Legendre grid per degree: ``ceil(oversampling * lmax) + 1`` rings of twice as many points.
        With 1.5 the product of two fields is analysed exactly.

    Attributes
    ----------
    num_points : int
    theta, phi : float64 [num_points]
        Colatitude and longitude, radians.
    areas : float64 Tensor [num_points]
        Weights of an integral over the sphere; they sum to 4 pi.

    Raises
    ------
    InputError
        lmax too high for the grid, a grid of another kind, ducc0 missing (``pip install 'meshconv[homogeneous]'``; it
        is under the GPL, version 2 or later).

    Notes
    -----
    On Gauss-Legendre grids analysis is exact, on HEALPix it is the least-squares fit (pseudo-analysis), by conjugate
    gradients to rounding. Beyond degree 2 nside the fit is ill-conditioned. All are differentiable to any order, in
    float32 and float64 (half precision is computed in float32), with as many threads as torch has; the transforms are
    opaque operators for :func:`torch.compile`. ``tests/test_homogeneous_transform.py`` has round trips and adjoints.

    Examples
    --------
    >>> transform = SphereTransform(7)
    >>> c = transform.random("1x0 + 2x1", generator=torch.Generator().manual_seed(0))
    >>> x = transform.synthesis(c, "1x0 + 2x1")
    >>> c.shape, x.shape, torch.allclose(transform.analysis(x, "1x0 + 2x1"), c, atol=1e-12)
    (torch.Size([8, 16, 5]), torch.Size([128, 5]), True)
    """

    def __init__(self, lmax: int, grid: str | HealpixSphere = "gauss", oversampling: float = 1.0):
        if int(lmax) != lmax or lmax < 0:
            raise InputError(f"lmax {lmax} is not a whole number from 0")
        if not (math.isfinite(oversampling) and oversampling >= 1):
            raise InputError(f"oversampling {oversampling} has to be a number of at least 1")
        self.lmax, self.grid, self.oversampling = int(lmax), grid, oversampling
        self._order: Tensor | None = None
        if isinstance(grid, HealpixSphere):
            self._healpix(grid)
        elif isinstance(grid, str) and grid == "gauss":
            self._gauss(math.ceil(oversampling * self.lmax) + 1)
        else:
            raise InputError(_unknown(grid))
        self._rings = torch.from_numpy(self.rings)

    def _gauss(self, nlat: int) -> None:
        count = 2 * nlat
        theta = ducc().misc.GL_thetas(nlat)
        self.nlat, self.nlon = nlat, count
        rows = np.arange(nlat)
        self.rings = np.stack([theta, np.full(nlat, count), np.zeros(nlat), count * rows], axis=1)
        self.theta = np.repeat(theta, count)
        self.phi = np.tile(2 * np.pi * np.arange(count) / count, nlat)
        weights = ducc().misc.GL_weights(nlat, count)
        self.areas = torch.from_numpy(np.repeat(weights, count))

    def _healpix(self, sphere: HealpixSphere) -> None:
        if self.lmax > 2 * sphere.nside:
            raise InputError(
                f"lmax {self.lmax} is too high for HEALPix nside {sphere.nside}, which resolves degrees up to "
                f"{2 * sphere.nside}; use that, or nside {math.ceil(self.lmax / 2)}"
            )
        if self.oversampling != 1:
            raise InputError(f"oversampling {self.oversampling} is of Gauss grids; HEALPix has it by a lower lmax")
        info = ducc().healpix.Healpix_Base(sphere.nside, "RING").sht_info()
        columns = [info[k].astype(np.float64) for k in ("theta", "nphi", "phi0", "ringstart")]
        self.rings = np.stack(columns, axis=1)
        self.theta, self.phi = sphere.theta, sphere.phi
        self.areas = torch.from_numpy(sphere.areas)
        if sphere.pixel_order == "nest":
            base = ducc().healpix.Healpix_Base(sphere.nside, "RING")
            nest = ducc().healpix.Healpix_Base(sphere.nside, "NEST")
            ring = torch.from_numpy(base.ang2pix(nest.pix2ang(np.arange(sphere.npix))).astype(np.int64))
            self._order = ring  # place in ring order of every nested pixel
            self._back = torch.argsort(ring)

    @property
    def num_points(self) -> int:
        return len(self.theta)

    @functools.cached_property
    def xyz(self) -> NDArray[np.float64]:
        """Points as unit vectors, ``[num_points, 3]``."""
        return unit_vectors(self.theta, self.phi)

    @functools.cached_property
    def frames(self) -> NDArray[np.float64]:
        """Rows (south, east, outward), ``[num_points, 3, 3]``."""
        return polar_frames(self.theta, self.phi)

    def synthesis(self, coefficients: Tensor, field_type: FieldType | str) -> Tensor:
        """Fields ``[..., num_points, dim]`` on the grid from coefficients ``[..., l + 1, 2 l + 2, dim]``, l <= lmax."""
        kind = self._check_type(field_type)
        rows = _check_coefficients(coefficients, kind)
        if rows - 1 > self.lmax:
            raise InputError(
                f"coefficients of degrees up to {rows - 1} do not fit a transform of lmax {self.lmax}; cut them, or "
                f"make SphereTransform({rows - 1}, ...)"
            )
        return self._to_points(coefficients, kind)

    def adjoint_synthesis(self, x: Tensor, field_type: FieldType | str, lmax: int | None = None) -> Tensor:
        """The transpose of :meth:`synthesis`: sums over points, without their areas."""
        return self._sum(self._checked(x, field_type, lmax), FieldType(field_type), lmax)

    def analysis(self, x: Tensor, field_type: FieldType | str, lmax: int | None = None) -> Tensor:
        """Coefficients ``[..., lmax + 1, 2 lmax + 2, dim]`` of fields ``[..., num_points, dim]``.

        Parameters
        ----------
        x : Tensor [..., num_points, dim]
        field_type : FieldType or str
        lmax
            Highest degree that is wanted, if not all.
        """
        kind = FieldType(field_type)
        values = self._checked(x, kind, lmax)
        if isinstance(self.grid, HealpixSphere):
            # The fit has all degrees: what is left out would be taken for lower ones.
            return cut(self._solve(self._sum(values, kind), kind), self.lmax if lmax is None else lmax)
        return self._sum(values * self.areas[:, None].to(values), kind, lmax)

    def adjoint_analysis(self, coefficients: Tensor, field_type: FieldType | str) -> Tensor:
        """The transpose of :meth:`analysis`."""
        kind = self._check_type(field_type)
        _check_coefficients(coefficients, kind)
        if isinstance(self.grid, HealpixSphere):
            return self._to_points(self._solve(pad(coefficients, self.lmax), kind), kind)
        return self._to_points(coefficients, kind) * self.areas[:, None].to(coefficients)

    def random(
        self, field_type: FieldType | str, *shape: int, generator: torch.Generator | None = None, **options: Any
    ) -> Tensor:
        """Coefficients ``[*shape, lmax + 1, 2 lmax + 2, dim]``, independent standard normal numbers, float64."""
        kind = self._check_type(field_type)
        options = {"dtype": torch.float64} | options
        size = (*shape, self.lmax + 1, 2 * self.lmax + 2, kind.dim)
        return torch.randn(size, generator=generator, **options) * support(kind, self.lmax).to(options["dtype"])

    def _to_points(self, coefficients: Tensor, kind: FieldType) -> Tensor:
        lead = coefficients.shape[:-3]
        flat = _real(coefficients).reshape(-1, *coefficients.shape[-3:])
        rings = self._rings.to(flat.device)
        parts = [
            synthesis(flat[..., kind.slice(m)].contiguous(), rings, self.num_points, m) for m in kind.orders
        ]  # fmt: skip
        x = torch.cat(parts, dim=-1)
        if self._order is not None:
            x = x.index_select(1, self._order.to(x.device))
        return x.reshape(*lead, *x.shape[1:]).to(coefficients.dtype)

    def _sum(self, x: Tensor, kind: FieldType, lmax: int | None = None) -> Tensor:
        lead = x.shape[:-2]
        flat = _real(x).reshape(-1, *x.shape[-2:])
        if self._order is not None:
            flat = flat.index_select(1, self._back.to(flat.device))
        rings, top = self._rings.to(flat.device), self.lmax if lmax is None else lmax
        parts = [adjoint(flat[..., kind.slice(m)].contiguous(), rings, top, m) for m in kind.orders]
        c = torch.cat(parts, dim=-1)
        return c.reshape(*lead, *c.shape[1:]).to(x.dtype)

    def _solve(self, coefficients: Tensor, kind: FieldType) -> Tensor:
        flat = _real(coefficients).reshape(-1, *coefficients.shape[-3:])
        rings = self._rings.to(flat.device)
        parts = [solve(flat[..., kind.slice(m)].contiguous(), rings, self.num_points, m) for m in kind.orders]
        return torch.cat(parts, dim=-1).reshape(coefficients.shape).to(coefficients.dtype)

    def _checked(self, x: Tensor, field_type: FieldType | str, lmax: int | None) -> Tensor:
        kind = self._check_type(field_type)
        kind.check(x)
        if x.dim() < 2 or x.shape[-2] != self.num_points:
            raise InputError(
                f"fields have shape {tuple(x.shape)}, {self} has {self.num_points} points: "
                f"give [..., points, {kind.dim}]"
            )
        if lmax is not None and not 0 <= lmax <= self.lmax:
            raise InputError(f"lmax {lmax} is too high for {self}; make SphereTransform({lmax}, ...)")
        return x

    def _check_type(self, field_type: FieldType | str) -> FieldType:
        kind = FieldType(field_type)
        check_orders(kind, self.lmax)
        return kind

    def __repr__(self) -> str:
        if isinstance(self.grid, HealpixSphere):
            return f"SphereTransform(lmax={self.lmax}, HEALPix nside {self.grid.nside} {self.grid.pixel_order})"
        return f"SphereTransform(lmax={self.lmax}, Gauss-Legendre {self.nlat} x {self.nlon})"


def check_orders(field_type: FieldType, lmax: int) -> None:
    """Raise unless every field has a degree: those of order s begin at degree s."""
    if field_type.max_order > lmax:
        raise InputError(
            f"fields of order {field_type.max_order} have no degree below {field_type.max_order}, lmax is {lmax}; "
            "raise lmax or leave them out"
        )


def degrees(field_type: FieldType) -> Tensor:
    """The least degree, that is the order, of every component ``[dim]``."""
    counts = [c if m == 0 else 2 * c for m, c in enumerate(field_type.multiplicities)]
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def support(field_type: FieldType, lmax: int) -> Tensor:
    """Where coefficients of a type may differ from zero, bool ``[lmax + 1, 2 lmax + 2, dim]``."""
    return torch.stack([torch.from_numpy(inside(lmax, m)) for m in degrees(field_type).tolist()], dim=-1)


def cut(coefficients: Tensor, lmax: int) -> Tensor:
    """The degrees up to ``lmax``."""
    return coefficients[..., : lmax + 1, : 2 * lmax + 2, :]


def pad(coefficients: Tensor, lmax: int) -> Tensor:
    """The same with zeros at degrees up to ``lmax``."""
    more = lmax + 1 - coefficients.shape[-3]
    return torch.nn.functional.pad(coefficients, (0, 0, 0, 2 * more, 0, more)) if more else coefficients


def _check_coefficients(coefficients: Tensor, field_type: FieldType) -> int:
    field_type.check(coefficients, "coefficients")
    shape = coefficients.shape
    if coefficients.dim() < 3 or shape[-2] != 2 * shape[-3]:
        raise InputError(
            f"coefficients have shape {tuple(shape)}; they are [..., lmax + 1, 2 lmax + 2, {field_type.dim}]"
        )
    return shape[-3]


def _real(x: Tensor) -> Tensor:
    """float64 as it is, everything else in float32."""
    if not x.dtype.is_floating_point:
        raise InputError(f"fields are of dtype {x.dtype}; give float32 or float64")
    return x if x.dtype == torch.float64 else x.float()


def _unknown(grid: Any) -> str:
    theta = getattr(grid, "theta", None)
    if theta is not None and np.sin(np.asarray(theta)).min() < 1e-12:
        return f"{type(grid).__name__} has points at a pole, where fields have no south; use 'gauss' or a HealpixSphere"
    return f"grid {grid!r} is not known; use 'gauss' or a HealpixSphere, to which maps can be regridded"
