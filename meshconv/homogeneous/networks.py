"""Networks of spin-weighted convolutions: U-Net for segmentation, classifier of whole spheres."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType, concatenate_fields
from meshconv.geometry.graph.hierarchy import Hierarchy, check_levels
from meshconv.homogeneous.spin_conv import SpinConv
from meshconv.homogeneous.spin_layers import PowerSpectrum, SpinBatchNorm, SpinResample
from meshconv.homogeneous.surfaces import Sphere, frame_angle, north_field, sphere_transform
from meshconv.homogeneous.transform import SphereTransform
from meshconv.models.invariants import InvariantLayers
from meshconv.nn import (
    ClusterPool,
    ClusterUnpool,
    GatedNonlinearity,
    Linear,
    NormNonlinearity,
    ResidualBlock,
    SurfaceModule,
    TensorProductNonlinearity,
)
from meshconv.nn.convolution.neighbours import Aggregation

Activation = Literal["gated", "norm", "quadratic"]


class SpinBlock(nn.Module):
    """Residual block: two spin-weighted convolutions with batch norm and nonlinearity, and a pointwise shortcut.

    Parameters
    ----------
    in_type, out_type : FieldType or str
    lmax
    num_functions
        As in :class:`SpinConv`.
    activation
        ``"gated"``, ``"norm"``, or ``"quadratic"``, which is exactly equivariant on grids of ``oversampling`` 1.5.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        lmax: int,
        num_functions: int | None = 6,
        activation: Activation = "gated",
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.act1, self.act2 = (make_activation(activation, self.out_type) for _ in range(2))
        inner: FieldType = self.act1.in_type  # type: ignore[assignment]
        self.conv1 = SpinConv(self.in_type, inner, lmax, num_functions=num_functions, bias=False)
        self.conv2 = SpinConv(self.out_type, inner, lmax, num_functions=num_functions, bias=False)
        self.norm1, self.norm2 = SpinBatchNorm(inner), SpinBatchNorm(inner)
        same = self.in_type == self.out_type
        self.shortcut = nn.Identity() if same else Linear(self.in_type, self.out_type)

    def forward(self, x: Tensor, transform: SphereTransform) -> Tensor:
        """Fields on the grid of ``transform``, which is finer than lmax asks for (oversampling)."""
        y = self.act1(self.norm1(self.conv1(x, transform), transform))
        y = self.act2(self.norm2(self.conv2(y, transform), transform))
        return self.shortcut(x) + y


class SpinLevels(SurfaceModule):
    """Base of networks with levels of spin-weighted convolutions, of half the degrees from one to the next.

    Parameters
    ----------
    in_type, channels, max_order, lmax, num_functions, activation, oversampling
        As in :class:`SpinUNet`.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        channels: Sequence[int],
        max_order: int,
        lmax: int,
        num_functions: int | None,
        activation: Activation,
        oversampling: float,
    ):
        super().__init__()
        self.in_type, self.types = FieldType(in_type), level_types(FieldType(in_type), channels, max_order)
        self.degrees = level_degrees(lmax, len(channels), max_order)
        self.grids = [SphereTransform(k, "gauss", oversampling) for k in self.degrees]
        self.stem = SpinConv(self.in_type, self.types[0], self.degrees[0], num_functions=num_functions)
        pairs = zip([self.types[0], *self.types[:-1]], self.types, self.degrees, strict=True)
        self.down = nn.ModuleList(SpinBlock(a, b, k, num_functions, activation) for a, b, k in pairs)

    def start(self, x: Tensor, surface: Sphere) -> tuple[Tensor, SphereTransform, Tensor | None]:
        """Fields of the stem on the finest grid, the transform of the surface's points, and the angle of its frames."""
        points, angle = sphere_transform(surface, self.grids[0].lmax), frame_angle(surface)
        upright = x if angle is None else self.in_type.change_gauge(x, angle.to(x))
        y = self.stem.coefficients(points.analysis(upright, self.in_type))
        return self.grids[0].synthesis(y, self.types[0]), points, angle


class SpinBody(SpinLevels):
    """U-Net from fields to fields at the points of a HEALPix sphere, of spin-weighted convolutions alone.

    Parameters
    ----------
    in_type, channels, max_order, lmax, num_functions, activation, oversampling
        As in :class:`SpinUNet`.
    """

    def __init__(
        self,
        in_type: FieldType | str,
        channels: Sequence[int],
        max_order: int,
        lmax: int,
        num_functions: int | None,
        activation: Activation,
        oversampling: float,
    ):
        super().__init__(in_type, channels, max_order, lmax, num_functions, activation, oversampling)
        self.out_type = self.types[0]
        self.up = nn.ModuleList(
            SpinBlock(a + b, a, k, num_functions, activation)
            for a, b, k in zip(self.types[:-1], self.types[1:], self.degrees[:-1], strict=True)
        )
        self.resample = nn.ModuleList(SpinResample(t) for t in self.types)

    def forward(self, x: Tensor, surface: Sphere) -> Tensor:
        """Fields ``[..., V, out_type.dim]`` for ``[..., V, in_type.dim]``, in the frames of the surface."""
        y, points, angle = self.start(x, surface)
        skips = []
        for k, block in enumerate(self.down):
            y = block(y, self.grids[k])
            if k < len(self.up):
                skips.append(y)
                y = self.resample[k](y, self.grids[k], self.grids[k + 1])
        for k in reversed(range(len(self.up))):
            y = self.resample[k + 1](y, self.grids[k + 1], self.grids[k])
            y = self.up[k](concatenate_fields([self.types[k], self.types[k + 1]], [skips[k], y]), self.grids[k])
        y = self.resample[0](y, self.grids[0], points)
        return y if angle is None else self.out_type.change_gauge(y, -angle.to(y))


class PointLogits(nn.Module):
    """Logits of each point from the invariants of fields there.

    Parameters
    ----------
    types
        Of the fields, which are concatenated.
    num_classes, width, layers, dropout
        As in :class:`~meshconv.models.SphereUNet`.
    """

    def __init__(self, types: Sequence[FieldType], num_classes: int, width: int, layers: int, dropout: float):
        super().__init__()
        self.types = list(types)
        self.invariants = InvariantLayers(reduce(add, self.types), width, layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, *fields: Tensor) -> Tensor:
        """``[..., V, num_classes]`` for fields ``[..., V, type.dim]``."""
        return self.head(self.invariants(concatenate_fields(self.types, list(fields))))


class SpinUNet(SurfaceModule):
    """Rotation-equivariant U-Net on the sphere, with the interface of :class:`~meshconv.models.SphereUNet`.

    Spin-weighted convolutions on Gauss-Legendre grids, with half the degrees on each coarser level: pooling drops
    degrees, unpooling has none to add. Inputs are analysed on the points of a HEALPix sphere up to the highest degree,
    outputs are synthesised there and pass dense layers with the input fields of the point.

    Parameters
    ----------
    in_type, num_classes
    channels
        Fields of each order on every level, finest first.
    max_order
        Highest order inside the network.
    lmax
        Highest degree on the finest level, where the points resolve it: on HEALPix at most 2 nside.
    num_functions
        Functions of the degree of every convolution (see :class:`SpinConv`).
    activation
        ``"gated"``, ``"norm"`` or ``"quadratic"``.
    oversampling
        Of the grids for nonlinearities, see :class:`SphereTransform`.
    width, layers, dropout
        As in :class:`~meshconv.models.SphereUNet`.
    north
        Add the gradient of z as an input field, for tasks that depend on the axis of a planet; the network remains
        equivariant under turns about it.

    Notes
    -----
    Of a hierarchy, only the finest level is used. With ``"quadratic"`` the fields are exactly equivariant; with others
    up to aliasing, which ``tests/test_spin_networks.py`` measures.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> sphere = HealpixSphere(4).hierarchy(2).to(torch.float32)
    >>> SpinUNet("2x0 + 1x1", 5, channels=(4, 4))(torch.randn(192, 4), sphere).shape
    torch.Size([192, 5])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (16, 24),
        max_order: int = 1,
        *,
        lmax: int = 16,
        num_functions: int | None = 6,
        activation: Activation = "gated",
        oversampling: float = 1.5,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        north: bool = False,
    ):
        super().__init__()
        self.in_type, self.north = FieldType(in_type), north
        self.given = self.in_type + self.in_type.like([0, 1]) if north else self.in_type
        self.out_type = FieldType.from_multiplicities([num_classes])
        self.body = SpinBody(self.given, channels, max_order, lmax, num_functions, activation, oversampling)
        self.logits = PointLogits([self.body.out_type, self.given], num_classes, width, layers, dropout)

    def forward(self, x: Tensor, surface: Sphere) -> Tensor:
        """Logits ``[..., V, num_classes]`` for fields ``[..., V, in_type.dim]``.

        ``surface`` is a hierarchy or graph of a HEALPix sphere, or a :class:`SphereTransform`.
        """
        self.in_type.check(x)
        if self.north:
            x = concatenate_fields([self.in_type, self.in_type.like([0, 1])], [x, north_field(x, surface)])
        return self.logits(self.body(x, surface), x)


class MixedUNet(SurfaceModule):
    """U-Net of gauge convolutions on the finest levels of a HEALPix hierarchy, of spin-weighted ones below.

    Gauge convolutions take time by the number of points, spin-weighted ones by its power 3/2, and see the whole sphere.

    Parameters
    ----------
    in_type, num_classes
    channels
        Fields of each order on every level, finest first.
    max_order
    fine
        Number of levels of gauge convolutions.
    num_radial, cutoff, aggregation
        Of the gauge convolutions, as in :class:`~meshconv.nn.GaugeConv`.
    lmax, num_functions, activation, oversampling
        Of the spin-weighted convolutions, as in :class:`SpinUNet`; lmax is of the finest of their levels.
    width, layers, dropout
        As in :class:`~meshconv.models.SphereUNet`.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> sphere = HealpixSphere(8).hierarchy(2).to(torch.float32)
    >>> MixedUNet("2x0 + 1x1", 5, channels=(4, 4, 4), lmax=8)(torch.randn(768, 4), sphere).shape
    torch.Size([768, 5])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (16, 24, 32),
        max_order: int = 1,
        *,
        fine: int = 1,
        num_radial: int = 2,
        cutoff: float = 2.0,
        aggregation: Aggregation = "mean",
        lmax: int = 16,
        num_functions: int | None = 6,
        activation: Activation = "gated",
        oversampling: float = 1.5,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
    ):
        super().__init__()
        if not 1 <= fine < len(channels):
            raise InputError(f"fine {fine} has to leave levels of both kinds among {len(channels)}; give 1 to one less")
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([num_classes])
        types = level_types(self.in_type, channels[:fine], max_order)
        options: dict[str, Any] = {"num_radial": num_radial, "cutoff": cutoff, "aggregation": aggregation}
        starts = [self.in_type, *types[:-1]]
        self.down = nn.ModuleList(ResidualBlock(a, b, **options) for a, b in zip(starts, types, strict=True))
        self.pools = nn.ModuleList(ClusterPool(t) for t in types)
        self.body = SpinBody(types[-1], channels[fine:], max_order, lmax, num_functions, activation, oversampling)
        below = [*types[1:], self.body.out_type]
        self.unpools = nn.ModuleList(ClusterUnpool(t) for t in below)
        self.up = nn.ModuleList(ResidualBlock(a + b, a, **options) for a, b in zip(types, below, strict=True))
        self.types, self.below = types, below
        self.logits = PointLogits([types[0], self.in_type], num_classes, width, layers, dropout)

    @property
    def num_levels(self) -> int:
        """Number of levels of the hierarchy: those of gauge convolutions, and the one below."""
        return len(self.down) + 1

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Logits ``[..., V, num_classes]`` for fields ``[..., V, in_type.dim]`` on the finest level."""
        check_levels(surface, self.num_levels)
        y, skips = x, []
        for k, block in enumerate(self.down):
            y = block(y, surface.levels[k])
            skips.append(y)
            y = self.pools[k](y, surface.pools[k])
        y = self.body(y, surface.levels[-1])
        for k in reversed(range(len(self.up))):
            y = self.unpools[k](y, surface.pools[k])
            y = self.up[k](concatenate_fields([self.types[k], self.below[k]], [skips[k], y]), surface.levels[k])
        return self.logits(y, x)


class SpinClassifier(SpinLevels):
    """Rotation-invariant classifier of fields on a whole sphere.

    Blocks of spin-weighted convolutions with half the degrees from level to level, then the power spectra of the last
    fields and their means, which no rotation changes, and dense layers.

    Parameters
    ----------
    in_type, num_classes, channels, max_order, lmax, num_functions, activation, oversampling
        As in :class:`SpinUNet`.
    width, dropout
        Units of the dense layer, and the share of them dropped in training.

    Examples
    --------
    >>> transform = SphereTransform(8)
    >>> network = SpinClassifier("1x0", 10, channels=(4, 8), lmax=8)
    >>> network(torch.randn(3, transform.num_points, 1), transform).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (16, 24),
        max_order: int = 1,
        *,
        lmax: int = 16,
        num_functions: int | None = 6,
        activation: Activation = "gated",
        oversampling: float = 1.5,
        width: int = 64,
        dropout: float = 0.2,
    ):
        super().__init__(in_type, channels, max_order, lmax, num_functions, activation, oversampling)
        self.out_type = FieldType.from_multiplicities([num_classes])
        last = self.types[-1]
        self.resample = nn.ModuleList(SpinResample(t) for t in self.types[:-1])
        self.power = PowerSpectrum(last, self.degrees[-1])
        seen = self.power.out_type.dim + last.scalars
        self.norm = nn.BatchNorm1d(seen)
        self.head = nn.Sequential(nn.Linear(seen, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: Tensor, surface: Sphere) -> Tensor:
        """Logits ``[..., num_classes]`` for fields ``[..., V, in_type.dim]`` on one sphere."""
        y, _, _ = self.start(x, surface)
        for k, block in enumerate(self.down):
            y = block(y, self.grids[k])
            if k < len(self.resample):
                y = self.resample[k](y, self.grids[k], self.grids[k + 1])
        scalars = y[..., : self.types[-1].scalars]
        means = torch.einsum("...vc,v->...c", scalars, self.grids[-1].areas.to(y)) / (4 * torch.pi)
        power = self.power(y, self.grids[-1]).flatten(-2)
        found = torch.cat([(power + 1e-6).log(), means], dim=-1)
        return self.head(self.norm(found.reshape(-1, found.shape[-1])).reshape(found.shape))


def make_activation(name: Activation, field_type: FieldType) -> nn.Module:
    """A pointwise nonlinearity to ``field_type``, by name."""
    if name not in get_args(Activation):
        raise InputError(f"activation {name!r} is not one of {', '.join(map(repr, get_args(Activation)))}")
    if name == "gated":
        return GatedNonlinearity(field_type)
    return NormNonlinearity(field_type) if name == "norm" else TensorProductNonlinearity(field_type)


def level_types(like: FieldType, channels: Sequence[int], max_order: int) -> list[FieldType]:
    """As many fields of each order on every level."""
    if not channels or min(channels) < 1:
        raise InputError(f"channels {list(channels)} needs a number from 1 for each level")
    return [like.like([c] * (max_order + 1)) for c in channels]


def level_degrees(lmax: int, levels: int, max_order: int) -> list[int]:
    """Half the degrees from level to level."""
    if lmax >> (levels - 1) < max(max_order, 1):
        raise InputError(
            f"lmax {lmax} leaves degrees up to {lmax >> (levels - 1)} on level {levels}, for fields of order "
            f"{max_order}; raise it, or give fewer levels"
        )
    return [lmax >> k for k in range(levels)]
