"""Networks that are several: what they predict is a mean, how they differ is its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.linear import Linear

Kind = Literal["classes", "fields"]


class Sampled(nn.Module):
    r"""Base class of networks that are several; such a network stands in the place of a task's.

    Of classes the output is the logarithm of the mean probability, :math:`\log \frac1S \sum_s \mathrm{softmax}(z_s /
    T)`, which tasks and losses take as logits; of fields it is the mean. Each sample has the symmetries of the
    network, so the output has them too.

    Parameters
    ----------
    network : nn.Module
        What the samples have in common, with ``out_type``.
    kind
        ``"classes"`` or ``"fields"``.

    Attributes
    ----------
    temperature : float64 Tensor
        T, 1 until it is fitted.
    """

    temperature: Tensor

    def __init__(self, network: nn.Module, kind: Kind = "classes"):
        super().__init__()
        self.kind = kind
        self.out_type = FieldType(network.out_type)  # type: ignore[arg-type]
        self.num_levels: int | None = getattr(network, "num_levels", None)
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))

    @property
    def alone(self) -> nn.Module:
        """The network as it was trained."""
        return self.network  # type: ignore[return-value]

    def samples(self, x: Tensor, *surface: Any) -> Tensor:
        """Outputs ``[S, ..., out]`` of all samples, for the arguments of the network."""
        raise NotImplementedError

    def forward(self, x: Tensor, *surface: Any) -> Tensor:
        """Logarithms of probabilities, or fields, ``[..., out]``."""
        samples = self.samples(x, *surface)
        return mean_log_probability(samples, self.temperature) if self.kind == "classes" else samples.mean(0)

    def moments(self, x: Tensor, *surface: Any) -> tuple[Tensor, Tensor]:
        """Mean ``[..., out]``, and variance of a component of each field, ``[..., num_fields]``, which is invariant."""
        samples = self.samples(x, *surface)
        mean = samples.mean(0)
        square = self.out_type.norms(samples - mean).square().sum(0) / max(len(samples) - 1, 1)
        return mean, square / components(self.out_type).to(square)


class Ensemble(Sampled):
    """Deep ensemble: networks that were trained from different seeds; or a single one.

    Parameters
    ----------
    networks : sequence of nn.Module
        Of one ``out_type``.
    kind
        ``"classes"`` or ``"fields"``.

    References
    ----------
    Lakshminarayanan, Pritzel, Blundell, "Simple and scalable predictive uncertainty estimation", 2017.
    """

    def __init__(self, networks: Sequence[nn.Module], kind: Kind = "classes"):
        if not networks:
            raise InputError("an ensemble needs at least one network, got none")
        super().__init__(networks[0], kind)
        for network in networks[1:]:
            if network.out_type != self.out_type:
                said = f"here {self.out_type} and {network.out_type}"
                raise InputError(f"networks of an ensemble have one out_type, {said}; leave one out")
        self.networks = nn.ModuleList(networks)

    @property
    def alone(self) -> nn.Module:
        return self.networks[0]

    def samples(self, x: Tensor, *surface: Any) -> Tensor:
        return torch.stack([network(x, *surface) for network in self.networks])


class LastLayers(Sampled):
    """One network with several last layers, such as draws from their posterior (:func:`laplace`).

    Parameters
    ----------
    network : nn.Module
    layers : sequence of nn.Module
        In the place of the last layer, see :func:`last_layer`.
    kind
        ``"classes"`` or ``"fields"``.
    """

    def __init__(self, network: nn.Module, layers: Sequence[nn.Module], kind: Kind = "classes"):
        super().__init__(network, kind)
        self.network, self.layers = network, nn.ModuleList(layers)

    def samples(self, x: Tensor, *surface: Any) -> Tensor:
        features = last_inputs(self.network, x, *surface)
        return torch.stack([layer(features) for layer in self.layers])


def last_layer(network: nn.Module) -> nn.Module:
    """The linear layer that a network ends with: :class:`torch.nn.Linear` or :class:`~meshconv.nn.Linear`."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | Linear)]
    if not layers:
        raise InputError(f"{type(network).__name__} has no linear layer to approximate; use an ensemble or dropout")
    return layers[-1]


def last_inputs(network: nn.Module, x: Tensor, *surface: Any) -> Tensor:
    """Inputs of the last layer, ``[..., features]``.

    Raises
    ------
    InputError
        The output of the network is not that of the layer.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    handle = last_layer(network).register_forward_hook(lambda _, given, output: seen.append((given[0], output)))
    try:
        output = network(x, *surface)
    finally:
        handle.remove()
    if len(seen) != 1 or seen[0][1].shape != output.shape or not torch.equal(seen[0][1], output):
        raise InputError(
            f"{type(network).__name__} does not end with its last linear layer; use an ensemble or dropout"
        )
    return seen[0][0]


def mean_log_probability(logits: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """Logarithm of the mean probability ``[..., classes]`` of samples of logits ``[S, ..., classes]``."""
    return (logits / temperature).log_softmax(-1).logsumexp(0).to(logits.dtype) - math.log(len(logits))


def components(field_type: FieldType) -> Tensor:
    """Number of components of each field, int64 ``[num_fields]``."""
    return torch.cat([torch.full((c,), 1 if m == 0 else 2) for m, c in enumerate(field_type.multiplicities)])
