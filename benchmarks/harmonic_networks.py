"""Networks of torch-harmonics with the interface of meshconv's: fields on HEALPix in, numbers of each point out.

Needs ``pip install torch-harmonics``. Fields are resampled to a Gauss-Legendre grid of about the spacing of the points,
pass the network there, and are resampled to the points, where a linear layer takes them and the input of the point;
compare :class:`~meshconv.models.PlanarUNet`.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meshconv import FieldType, HealpixSphere, Hierarchy
from meshconv.geometry import LatLonGrid, Regridder
from meshconv.models.upright import upright_components

NAMES = ("SphericalFourierNeuralOperator", "LocalSphericalNeuralOperator")
AVAILABLE = find_spec("torch_harmonics") is not None


class HarmonicNetwork(nn.Module):
    """A network of torch-harmonics on a grid of its own.

    Parameters
    ----------
    name
        One of :data:`NAMES`.
    in_type
        Vectors enter as components towards south and east.
    num_outputs
    nside
        Of the points, in nested order.
    options
        Of the network.
    """

    def __init__(self, name: str, in_type: FieldType, num_outputs: int, nside: int, **options: Any):
        super().__init__()
        from torch_harmonics.examples import models

        self.in_type = FieldType(in_type)
        sphere = HealpixSphere(nside)
        rows = 8 * round(math.sqrt(math.pi * sphere.num_points / 4) / 8)  # the spacing of the points at the equator
        self.shape = (rows, 2 * rows)
        latitude = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(rows)[0]))[::-1]
        grid = LatLonGrid(latitude.copy(), np.arange(2 * rows) * 180 / rows)
        for way, source, target in (("to_grid", sphere, grid), ("from_grid", grid, sphere)):
            weights = Regridder(source, target).weights.tocoo()
            index = torch.from_numpy(np.stack([weights.row, weights.col]).astype(np.int64))
            matrix = torch.sparse_coo_tensor(index, torch.from_numpy(weights.data).float(), weights.shape)
            self.register_buffer(way, matrix.coalesce().to_sparse_csr(), persistent=False)
        width = options["embed_dim"]
        self.network = getattr(models, name)(
            self.shape, "legendre-gauss", in_chans=self.in_type.dim, out_chans=width, **options
        )
        self.head = nn.Linear(width + self.in_type.dim, num_outputs)
        self.num_levels = None

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """``[N, V, num_outputs]`` for fields ``[N, V, in_type.dim]``."""
        given = upright_components(x, self.in_type, surface.finest)
        there = self.network(_along(self.to_grid, given).mT.unflatten(-1, self.shape))
        back = _along(self.from_grid, there.flatten(-2).mT)
        return self.head(torch.cat([back, given], dim=-1))


def _along(weights: Tensor, x: Tensor) -> Tensor:
    """Sparse ``[W, V]`` times ``[N, V, C]``."""
    n, v, c = x.shape
    return (weights @ x.transpose(0, 1).reshape(v, n * c)).unflatten(-1, (n, c)).transpose(0, 1)
