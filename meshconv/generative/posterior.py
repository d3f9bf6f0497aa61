"""Normal distributions of fields that turn with the gauge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from meshconv.fields import FieldType


@dataclass(frozen=True)
class FieldPosterior:
    r"""Independent normal fields: a mean of any type and one variance for each field copy.

    Both components of a field have one variance, so a change of gauge turns the mean and changes nothing else: the
    distribution is covariant, its divergence from the standard normal invariant.

    Attributes
    ----------
    field_type : FieldType
    mean : Tensor [..., V, dim]
    log_variance : Tensor [..., V, num_fields]
    """

    field_type: FieldType
    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw ``[..., V, dim]``, differentiable in mean and variance."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype).to(self.mean.device)
        return self.mean + self.field_type.scale_fields(noise, (self.log_variance / 2).exp())

    def divergence(self) -> Tensor:
        r"""Kullback-Leibler divergence from the standard normal at each point, nats, ``[..., V]``.

        :math:`\tfrac12 \sum_c |\mu_c|^2 + d_c (\sigma_c^2 - 1 - \log \sigma_c^2)`, with 1 or 2 components
        :math:`d_c`.
        """
        logs = self.field_type.per_component(self.log_variance)
        return 0.5 * (self.mean.square() + logs.exp() - 1 - logs).sum(-1)

    def log_density(self, z: Tensor) -> Tensor:
        """Logarithm of the density of ``z [..., V, dim]`` at each point, ``[..., V]``."""
        logs = self.field_type.per_component(self.log_variance)
        return normal_log_density(z - self.mean, logs).sum(-1)


def normal_log_density(off: Tensor, log_variance: Tensor) -> Tensor:
    """Of each component, from its distance from the mean."""
    return -0.5 * (off.square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))
