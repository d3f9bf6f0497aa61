"""U-Net with isotropic (radial) kernels, as in graph convolutions on the sphere."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.models.sphere_unet import SphereUNet
from meshconv.models.upright import upright_components
from meshconv.nn import SurfaceModule
from meshconv.nn.convolution.neighbours import Aggregation


class IsotropicUNet(SurfaceModule):
    """Graph U-Net with radial kernels on scalars, with the interface of :class:`~meshconv.models.SphereUNet`.

    The same blocks and pooling on the same hierarchy, restricted to order (angular frequency) 0: the kernel depends on
    distance alone, as in DeepSphere, not on direction. For scalar inputs the network is equivariant under rotations of
    the sphere. Vectors enter as scalars, their components towards south and east, which breaks this equivariance.

    Parameters
    ----------
    in_type, num_classes
    channels
        Scalars on every level, finest first; three times the channels of a :class:`~meshconv.models.SphereUNet` of
        order 1 give the same number of features per point.
    num_radial, cutoff, width, layers, dropout
        As in :class:`~meshconv.models.SphereUNet`.
    aggregation
        How layers sum over neighbours (see :class:`~meshconv.nn.GaugeConv`). With ``"quadrature"`` pooling
        and unpooling are of second order as well.

    References
    ----------
    Perraudin, Defferrard, Kacprzak, Sgier: DeepSphere, Astronomy and Computing 27, 2019.

    Examples
    --------
    >>> import torch
    >>> from meshconv import HealpixSphere
    >>> sphere = HealpixSphere(4).hierarchy(2).to(torch.float32)
    >>> IsotropicUNet("2x0 + 1x1", 5)(torch.randn(192, 4), sphere).shape
    torch.Size([192, 5])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        num_classes: int,
        channels: Sequence[int] = (48, 72),
        *,
        num_radial: int = 2,
        cutoff: float = 2.0,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        aggregation: Aggregation = "mean",
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        scalars = FieldType.from_multiplicities([self.in_type.dim])
        self.body = SphereUNet(
            scalars, num_classes, channels, 0, num_radial=num_radial, cutoff=cutoff, width=width, layers=layers,
            dropout=dropout, aggregation=aggregation,
        )  # fmt: skip
        self.out_type = self.body.out_type

    @property
    def num_levels(self) -> int:
        """Number of levels of the hierarchy."""
        return self.body.num_levels

    def forward(self, x: Tensor, surface: Hierarchy) -> Tensor:
        """Logits ``[..., V, num_classes]`` for fields ``[..., V, in_type.dim]`` on the finest level."""
        self.in_type.check(x)
        return self.body(upright_components(x, self.in_type, surface.finest), surface)
