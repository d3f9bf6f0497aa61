"""Weights of kernels as integers with a scale for each field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.convolution.depthwise import DepthwiseGaugeConv
from meshconv.nn.linear import Linear

BITS = (4, 8)


class Kernel(NamedTuple):
    """Coefficients of the kernel of a layer.

    Attributes
    ----------
    name : str
        Of the parameter in the network.
    weight : Tensor
    group : int64 Tensor
        Along the last axis of :meth:`rows`: the output field of every coefficient there, which have one scale.
    last : bool
        Whether outputs are along the last axis, otherwise along the first.
    """

    name: str
    weight: Tensor
    group: Tensor
    last: bool

    def scales(self, bits: int) -> Tensor:
        """Step of the integers of every output field, ``[fields]``; 1 where all coefficients are zero."""
        largest = self.largest(self.weight.detach())
        return torch.where(largest > 0, largest / levels(bits), 1)

    def largest(self, value: Tensor) -> Tensor:
        """Largest absolute value of the coefficients of every output field."""
        columns = (value if self.last else value.mT).abs().flatten(0, -2).amax(0)
        return columns.new_zeros(int(self.group.max()) + 1).scatter_reduce(0, self.group, columns, "amax")

    def spread(self, scale: Tensor) -> Tensor:
        """A value of every output field in a shape that multiplies the weight."""
        return scale[self.group] if self.last else scale[self.group][:, None]


def levels(bits: int) -> int:
    """Largest of the integers; they are symmetric about 0.

    Raises
    ------
    InputError
        There are no such integers.
    """
    if bits not in BITS or isinstance(bits, bool):
        raise InputError(f"bits {bits!r} are not supported; weights have {' or '.join(map(str, BITS))}")
    return 2 ** (bits - 1) - 1


def kernels(network: nn.Module) -> Iterator[Kernel]:
    """Coefficients of all convolutions and linear layers.

    Whatever number stands for a coefficient, the layer is equivariant: coefficients are free, or projected after they
    are read (:class:`~meshconv.nn.convolution.kernel.KernelSpace`). Biases, normalisations and radial functions are not
    among them.
    """
    for name, layer in network.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(layer, GaugeConv):
            fields = layer.out_type.per_component(torch.arange(layer.out_type.num_fields))
            yield Kernel(f"{prefix}weight", layer.weight, fields, True)
        elif isinstance(layer, DepthwiseGaugeConv):
            # Its kernels are of one channel each, [radial, channels, in, out]: a scale for each order of the outputs.
            kind = layer.kernel_types[1]
            yield Kernel(f"{prefix}weight", layer.weight, kind.per_component(torch.arange(kind.num_fields)), True)
        elif isinstance(layer, Linear):
            for key, weight in layer.weights.items():
                yield Kernel(f"{prefix}weights.{key}", weight, torch.arange(weight.shape[-1]), True)
        elif isinstance(layer, nn.Linear):
            yield Kernel(f"{prefix}weight", layer.weight, torch.arange(len(layer.weight)), False)


def nearest(kernel: Kernel, bits: int) -> Tensor:
    """The nearest integers, int8 in the shape of the weight."""
    top = levels(bits)
    return (kernel.weight.detach() / kernel.spread(kernel.scales(bits))).round().clamp(-top, top).to(torch.int8)


def integer_state(network: nn.Module, bits: int) -> dict[str, Tensor]:
    """The state of a network whose weights have been rounded, with integers and scales in the place of kernels.

    ``NAME_integers`` is int8, or uint8 with two integers of 4 bits in each; ``NAME_scale`` float32.

    Raises
    ------
    ValueError
        The weights have not been rounded to integers times a scale.
    """
    state = dict(network.state_dict())
    for kernel in kernels(network):
        scale = kernel.scales(bits)
        values = nearest(kernel, bits)
        if not torch.allclose(values * kernel.spread(scale), kernel.weight.detach(), rtol=1e-5, atol=0):
            raise ValueError(f"{kernel.name} has not been rounded to {bits} bits")
        del state[kernel.name]
        state[f"{kernel.name}_integers"] = values if bits == 8 else _packed(values)
        state[f"{kernel.name}_scale"] = scale.float()
    return state


def take_integers(network: nn.Module, bits: int) -> None:
    """Have ``load_state_dict`` read weights from integers where a state has these: the network computes in floats."""
    levels(bits)

    def read(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        for kernel in kernels(module):
            name = prefix + kernel.name
            if f"{name}_integers" not in state:
                continue
            values, scale = state.pop(f"{name}_integers"), state.pop(f"{name}_scale", torch.empty(0))
            shape = kernel.weight.shape
            count = shape.numel() if bits == 8 else (shape.numel() + 1) // 2
            if values.numel() != count or scale.shape != (int(kernel.group.max()) + 1,):
                raise RuntimeError(f"{name}: {values.numel()} integers do not fit {list(shape)} weights")
            values = values if bits == 8 else _unpacked(values)[: shape.numel()]
            state[name] = values.reshape(shape).to(kernel.weight.dtype) * kernel.spread(scale)

    network.register_load_state_dict_pre_hook(read)


def _packed(values: Tensor) -> Tensor:
    """Two integers from -8 to 7 in a byte, ``[(n + 1) // 2]``."""
    flat = torch.nn.functional.pad(values.flatten(), (0, values.numel() % 2)).to(torch.uint8) & 15
    return flat[::2] | (flat[1::2] << 4)


def _unpacked(packed: Tensor) -> Tensor:
    halves = torch.stack([packed & 15, packed >> 4], dim=-1).flatten().to(torch.int8)
    return torch.where(halves > 7, halves - 16, halves)
