"""Planar U-Net on a latitude-longitude map of the sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.models.invariants import InvariantLayers
from meshconv.models.upright import upright_components
from meshconv.nn import SurfaceModule


class PlanarUNet(SurfaceModule):
    """Planar U-Net on a latitude-longitude grid, with the interface of :class:`~meshconv.models.SphereUNet`.

    Fields are resampled to a grid with about the spacing of the points at the equator, pass a U-Net of 3 x 3
    convolutions, and are resampled to the points, where dense layers take them and the input of the point, as in
    :class:`~meshconv.models.SphereUNet`. The grid is periodic in longitude and continues across the poles; vectors
    enter as components towards south and east.

    Parameters
    ----------
    in_type, num_classes
    channels
        Channels on every level, finest first.
    width, layers, dropout
        As in :class:`~meshconv.models.SphereUNet`.

    Notes
    -----
    Of the hierarchy, only positions and frames of the finest level are used. ``tests/test_baselines.py`` checks that
    there is no seam.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> sphere = HealpixSphere(4).hierarchy(2).to(torch.float32)
    >>> PlanarUNet("2x0 + 1x1", 5)(torch.randn(192, 4), sphere).shape
    torch.Size([192, 5])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (28, 40),
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
    ):
        super().__init__()
        if not channels:
            raise ValueError("channels needs one entry per level, got none")
        self.in_type = FieldType(in_type)
        self.out_type = FieldType.from_multiplicities([num_classes])
        self.stem = MapConv(self.in_type.dim, channels[0])
        self.down = nn.ModuleList(
            MapBlock(a, b) for a, b in zip([channels[0], *channels[:-1]], channels, strict=True)
        )
        self.up = nn.ModuleList(MapBlock(a + b, a) for a, b in zip(channels[:-1], channels[1:], strict=True))
        point = FieldType.from_multiplicities([channels[0] + self.in_type.dim])
        self.invariants = InvariantLayers(point, width, layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Logits ``[..., V, num_classes]`` for fields ``[..., V, in_type.dim]`` on the finest level."""
        self.in_type.check(x)
        sphere = surface.finest
        given = upright_components(x, self.in_type, sphere)
        # A quarter turn about the axis then is a whole number of columns on every level.
        resampling = map_resampling(sphere, 2 ** len(self.down))
        picture = resampling.to_map(given.reshape(-1, *given.shape[-2:]))
        y = self.stem(picture)
        skips = []
        for k, block in enumerate(self.down):
            y = block(y)
            if k < len(self.up):
                skips.append(y)
                y = nn.functional.avg_pool2d(y, 2)
        for k in reversed(range(len(self.up))):
            y = self.up[k](torch.cat([skips[k], y.repeat_interleave(2, -1).repeat_interleave(2, -2)], dim=1))
        back = resampling.from_map(y).reshape(*given.shape[:-1], -1)
        return self.head(self.invariants(torch.cat([back, given], dim=-1)))


class MapConv(nn.Conv2d):
    """3 x 3 convolution of global maps ``[N, C, rows, columns]``, from north to south and periodic in longitude.

    Beyond a pole, the map continues with the last row, on the opposite meridian.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        x = torch.cat([x[..., :1, :].roll(half, -1), x, x[..., -1:, :].roll(half, -1)], dim=-2)
        return super().forward(torch.cat([x[..., -1:], x, x[..., :1]], dim=-1))


class MapBlock(nn.Module):
    """Two convolutions with batch norm and silu beside a shortcut: the planar :class:`~meshconv.nn.ResidualBlock`."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1, self.conv2 = (MapConv(c, out_channels, bias=False) for c in (in_channels, out_channels))
        self.norm1, self.norm2 = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.silu(self.norm1(self.conv1(x)))
        return self.shortcut(x) + nn.functional.silu(self.norm2(self.conv2(y)))


class Resampling(NamedTuple):
    """Fixed linear weights between the points of a sphere and a map of ``shape`` (rows, columns).

    ``to_index`` and ``to_weight`` are ``[rows * columns, 5]``, ``from_index`` and ``from_weight`` ``[V, 4]``.
    """

    shape: tuple[int, int]
    to_index: Tensor
    to_weight: Tensor
    from_index: Tensor
    from_weight: Tensor

    def to_map(self, x: Tensor) -> Tensor:
        """``[N, V, C]`` to ``[N, C, rows, columns]``."""
        return _weigh(x, self.to_index, self.to_weight).mT.unflatten(-1, self.shape)

    def from_map(self, x: Tensor) -> Tensor:
        """``[N, C, rows, columns]`` to ``[N, V, C]``."""
        return _weigh(x.flatten(-2).mT, self.from_index, self.from_weight)


def _weigh(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    parts = (x[:, index[:, k]] * weight[:, k : k + 1].to(x.dtype) for k in range(index.shape[1]))
    return torch.stack(tuple(parts)).sum(0)


RESAMPLINGS = WeakTensorKeyDictionary()


def map_resampling(sphere: GaugeGraph, multiple: int = 1) -> Resampling:
    """Resampling between the points of a sphere and a map of ``n`` rows and ``2 n`` columns of the same spacing.

    Parameters
    ----------
    sphere : GaugeGraph
        V points of one sphere of radius 1.
    multiple
        Rows are a multiple of it.

    Returns
    -------
    Resampling
        Bilinear from the map to the points, across the poles as well; to the map from the five nearest points, with
        weights that vanish at the sixth (Shepard's, modified by Franke and Little), so ties do not matter. Cached
        as long as ``sphere.positions`` lives.
    """
    if sphere.num_graphs != 1:
        raise ValueError(f"a map is of one sphere, got {sphere.num_graphs}; use a leading axis for several samples")
    known = RESAMPLINGS.setdefault(sphere.positions, {})
    if multiple not in known:
        known[multiple] = _resampling(sphere, multiple)
    return known[multiple]


def _resampling(sphere: GaugeGraph, multiple: int) -> Resampling:
    from scipy.spatial import cKDTree  # which other networks do without

    xyz = sphere.positions.detach().cpu().double().numpy()
    xyz = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
    spacing = math.sqrt(float(sphere.areas.double().mean()))
    rows = multiple * max(round(math.pi / spacing / multiple), 1)
    step = math.pi / rows
    theta, phi = np.meshgrid((np.arange(rows) + 0.5) * step, (np.arange(2 * rows) + 0.5) * step, indexing="ij")
    nodes = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    distance, near = cKDTree(xyz).query(nodes.reshape(-1, 3), k=6)
    weight = ((distance[:, 5:] - distance) / (distance + 1e-3 * spacing))[:, :5] ** 2
    to_map = near[:, :5], weight / weight.sum(1, keepdims=True)
    from_map = _bilinear(xyz, rows, step)
    tensors = (torch.as_tensor(a, device=sphere.device) for a in (*to_map, *from_map))
    return Resampling((rows, 2 * rows), *tensors)


def _bilinear(xyz: np.ndarray, rows: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Four nodes of the map around each point, and their weights."""
    v = np.arctan2(np.hypot(xyz[:, 0], xyz[:, 1]), xyz[:, 2]) / step - 0.5
    u = np.arctan2(xyz[:, 1], xyz[:, 0]) / step - 0.5
    i, j = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
    index, weight = [], []
    for di in (0, 1):
        for dj in (0, 1):
            row, column = i + di, j + dj
            across = (row < 0) | (row >= rows)
            column = (column + np.where(across, rows, 0)) % (2 * rows)
            row = np.where(row < 0, -1 - row, np.where(row >= rows, 2 * rows - 1 - row, row))
            index.append(row * 2 * rows + column)
            weight.append(np.abs(1 - di - (v - i)) * np.abs(1 - dj - (u - j)))
    return np.stack(index, axis=1), np.stack(weight, axis=1)
