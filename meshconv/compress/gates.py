"""Gates of fields: random factors whose training says which fields a network can do without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import lightning
import torch
from torch import Tensor, nn

from meshconv.compress.liveness import kernel_layers
from meshconv.errors import InputError
from meshconv.nn.compact.shrinking import in_type

Method = Literal["l0", "jeffreys"]

# Stretched interval and temperature of the hard concrete distribution, as published.
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1

# log of the variance over the square of the mean from which a field is noise.
NOISE = 3.0


class HardConcrete(nn.Module):
    r"""Hard concrete gates: zero or one with positive probability, differentiable in between.

    .. math:: z = \min(1, \max(0, s (\zeta - \gamma) + \gamma)), \qquad
        s = \sigma\big((\log u - \log(1 - u) + \log\alpha) / \beta\big), \; u \sim U(0, 1)

    with :math:`\beta = 2/3, \gamma = -0.1, \zeta = 1.1`. In evaluation u is 1/2 and :math:`\beta` 1. The cost is the
    expected number of gates that are not zero,
    :math:`\sum \sigma(\log\alpha - \beta \log(-\gamma / \zeta))`.

    Parameters
    ----------
    count
        Number of gates.
    open_probability
        Of each gate at the start.

    References
    ----------
    Louizos, Welling, Kingma: Learning Sparse Neural Networks through L0 Regularization, ICLR 2018.
    """

    def __init__(self, count: int, open_probability: float = 0.9):
        super().__init__()
        start = math.log(open_probability / (1 - open_probability)) + BETA * math.log(-GAMMA / ZETA)
        self.log_alpha = nn.Parameter(torch.full((count,), start) + 0.01 * torch.randn(count))

    def sample(self) -> Tensor:
        """Factors in training, ``[count]``."""
        u = torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6)
        return self._stretched(((u.log() - (1 - u).log() + self.log_alpha) / BETA).sigmoid())

    def value(self) -> Tensor:
        """Factors in evaluation."""
        return self._stretched(self.log_alpha.sigmoid())

    def cost(self) -> Tensor:
        """Expected number of open gates."""
        return (self.log_alpha - BETA * math.log(-GAMMA / ZETA)).sigmoid().sum()

    @staticmethod
    def _stretched(s: Tensor) -> Tensor:
        return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


class NormalJeffreys(nn.Module):
    r"""Variational dropout with the scale-invariant prior :math:`p(z) \propto 1 / |z|` of every factor.

    .. math:: z = \mu (1 + \sqrt{\alpha}\, \epsilon), \qquad
        KL \approx -k_1 \sigma(k_2 + k_3 \log\alpha) + \tfrac{1}{2} \log(1 + 1 / \alpha) + k_1

    In evaluation a factor is its mean, or 0 where :math:`\log\alpha` is 3 or more: such a field is noise. Weights have
    no posterior of their own: they are point estimates.

    Parameters
    ----------
    count

    References
    ----------
    Louizos, Ullrich, Welling: Bayesian Compression for Deep Learning, NeurIPS 2017.
    Molchanov, Ashukha, Vetrov: Variational Dropout Sparsifies Deep Neural Networks, ICML 2017 (the approximation of
    the KL divergence and its constants).
    """

    def __init__(self, count: int):
        super().__init__()
        self.mean = nn.Parameter(torch.ones(count))
        self.log_variance = nn.Parameter(torch.full((count,), -4.0) + 0.01 * torch.randn(count))

    @property
    def log_alpha(self) -> Tensor:
        """Logarithm of the variance over the square of the mean."""
        return (self.log_variance - (self.mean.square() + 1e-8).log()).clamp(-10, 10)

    def sample(self) -> Tensor:
        """Factors in training, ``[count]``."""
        return self.mean + (self.log_variance / 2).exp() * torch.randn_like(self.mean)

    def value(self) -> Tensor:
        """Factors in evaluation."""
        return torch.where(self.log_alpha < NOISE, self.mean, 0)

    def cost(self) -> Tensor:
        """Divergence from the prior, up to a constant, in nats."""
        log_alpha = self.log_alpha
        return (
            0.63576 * (1 - (1.87320 + 1.48695 * log_alpha).sigmoid()) + nn.functional.softplus(-log_alpha) / 2
        ).sum()


_METHODS: dict[str, type[nn.Module]] = {"l0": HardConcrete, "jeffreys": NormalJeffreys}


class Gate(nn.Module):
    """A layer with a kernel, and a factor for each field of its input.

    The factor is that of all components of the field and of all radial functions of the kernel: the layer stays
    equivariant.

    Parameters
    ----------
    layer
    factors
        :class:`HardConcrete` or :class:`NormalJeffreys`, of as many fields as the input has.
    """

    def __init__(self, layer: nn.Module, factors: nn.Module):
        super().__init__()
        self.layer, self.factors = layer, factors
        self.takes_surface = bool(getattr(layer, "takes_surface", False))
        self.gated = in_type(layer)
        self.in_type, self.out_type = getattr(layer, "in_type", None), getattr(layer, "out_type", None)

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        """The layer of the gated fields ``[..., in_type.dim]``; further arguments are those of the layer."""
        factor = self.factors.sample() if self.training else self.factors.value()  # type: ignore[operator]
        return self.layer(self.gated.scale_fields(x, factor.to(x.dtype)), *others)


def add_gates(network: nn.Module, method: Method = "l0") -> list[str]:
    """Put a :class:`Gate` before every convolution and linear layer of a network, in place; returns their names.

    Layers that a call of the network uses more than once keep all their fields, as do the values of
    :class:`~meshconv.nn.GaugeAttention`.

    Parameters
    ----------
    network
    method
        ``"l0"`` (:class:`HardConcrete`) or ``"jeffreys"`` (:class:`NormalJeffreys`).

    Raises
    ------
    InputError
        Another method, or the network has no such layer.

    Examples
    --------
    >>> from meshconv.models import ShapeClassifier
    >>> add_gates(ShapeClassifier("3x0", 2, 4, 1, blocks=1))
    ['stem', 'blocks.0.conv1', 'blocks.0.conv2', 'invariants.linears.0', 'head.1']
    """
    if method not in _METHODS:
        raise InputError(f"prune {method!r} is not known; use one of {', '.join(_METHODS)}, magnitude")
    names = kernel_layers(network)
    for name in names:
        layer = network.get_submodule(name)
        weight = next(layer.parameters())
        factors = _METHODS[method](in_type(layer).num_fields).to(weight.device)
        network.set_submodule(name, Gate(layer, factors).train(layer.training))
    return names


def gates_of(network: nn.Module) -> Iterator[tuple[str, Gate]]:
    """Names and gates of a network."""
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Gate))


class Sparsity(lightning.Callback):
    r"""Cost of the gates in a training, :math:`\lambda(t) \sum \mathrm{cost} / N` for N gates, added to the loss.

    The weight rises from 0 to its value over the first third of the steps.

    Parameters
    ----------
    weight
        :math:`\lambda`: what the loss may rise by if all fields can go.
    """

    def __init__(self, weight: float):
        if not 0 <= weight < math.inf:
            raise InputError(f"sparsity {weight} is not a number of at least 0")
        self.weight = weight

    def weight_at(self, step: int, steps: float) -> float:
        """The weight at one of all steps."""
        return self.weight * min(1.0, 3 * step / max(steps, 1))

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Gradients of the cost, to which those of the loss are added."""
        gates = [gate.factors for _, gate in gates_of(pl_module)]
        count = sum(next(factors.parameters()).numel() for factors in gates)
        cost = torch.stack([factors.cost() for factors in gates]).sum() / count  # type: ignore[operator]
        weight = self.weight_at(trainer.global_step, trainer.estimated_stepping_batches)
        if weight:
            (weight * cost).backward()
        pl_module.log("train/open_fields", cost.detach(), on_step=False, on_epoch=True, batch_size=1)
