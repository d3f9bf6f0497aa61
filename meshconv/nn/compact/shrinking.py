"""Layers with some of their fields: the inputs that outputs need, and the smaller layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meshconv.fields import FieldType
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.convolution.kernel import KernelSpace
from meshconv.nn.dropout import FieldDropout
from meshconv.nn.linear import Linear
from meshconv.nn.nonlinearity import FourierNonlinearity, GatedNonlinearity, NormNonlinearity
from meshconv.nn.norm import FieldBatchNorm, FieldInstanceNorm
from meshconv.nn.pool import ClusterInterpolation, ClusterMaxPool, ClusterPool, ClusterUnpool

Copies = Sequence[int]
"""Ascending numbers of fields of a type, those of order 0 first (:meth:`meshconv.FieldType.choose`)."""


def in_type(layer: Any) -> FieldType:
    """Type of the inputs of a layer; features of :class:`torch.nn.Linear` are scalars."""
    return FieldType.from_multiplicities([layer.in_features]) if isinstance(layer, nn.Linear) else layer.in_type


def out_type(layer: Any) -> FieldType:
    """Type of the outputs of a layer."""
    return FieldType.from_multiplicities([layer.out_features]) if isinstance(layer, nn.Linear) else layer.out_type


def has_kernel(layer: nn.Module) -> bool:
    """Whether it is a layer with a kernel: one whose outputs may depend on all input fields."""
    return type(layer) in _KERNELS


def is_fieldwise(layer: nn.Module) -> bool:
    """Whether it is a layer whose output fields depend on few input fields each."""
    return type(layer) in _FIELDWISE


def needed(layer: nn.Module, gives: Copies) -> tuple[list[int], list[int]]:
    """Input fields that the outputs ``gives`` of a layer depend on, and the outputs that exist with these together."""
    if not gives:
        return [], []
    if type(layer) in _FIELDWISE:
        return _FIELDWISE[type(layer)].needs(layer, gives)
    if isinstance(layer, Linear):  # orders do not mix
        kinds, target = _kinds(layer.in_type), _kinds(layer.out_type)
        wanted = {target[copy] for copy in gives}
        return [copy for copy, kind in enumerate(kinds) if kind in wanted], list(gives)
    return list(range(in_type(layer).num_fields)), list(gives)


def shrunken(layer: nn.Module, reads: Copies, gives: Copies) -> nn.Module:
    """A copy of the layer from its input fields ``reads`` to its output fields ``gives``.

    Raises
    ------
    ValueError
        Layers of this class have no smaller form, or the fields are not its own.
    """
    cls = type(layer)
    if cls not in _KERNELS and cls not in _FIELDWISE:
        raise ValueError(f"{cls.__name__} has no form with fewer fields")
    new = copy.deepcopy(layer)
    with torch.no_grad():
        (_KERNELS[cls] if cls in _KERNELS else _FIELDWISE[cls].shrink)(new, reads, gives)
    return new


class Constant(nn.Module):
    """What is left of a layer that reads nothing: its bias on scalars, zeros in all other components.

    Parameters
    ----------
    width
        Components of the output.
    place : int64 Tensor, optional
        Where those of ``bias`` stand.
    bias : Tensor, optional
    layer
        What it was: between levels it has the points of the other level.
    """

    in_type: FieldType | None = None
    out_type: FieldType | None = None
    place: Tensor

    def __init__(
        self, width: int, place: Tensor | None = None, bias: Tensor | None = None, layer: nn.Module | None = None
    ):
        super().__init__()
        self.width = width
        self.coarser = isinstance(layer, ClusterPool | ClusterMaxPool)
        self.finer = isinstance(layer, ClusterUnpool | ClusterInterpolation)
        self.register_buffer("place", place, persistent=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor, *surface: Any) -> Tensor:
        """``[..., width]`` for any ``[..., n]``."""
        shape = list(x.shape[:-1])
        if self.coarser or self.finer:
            shape[-1] = surface[0].num_coarse if self.coarser else surface[0].num_fine
        y = x.new_zeros(*shape, self.width)
        if self.bias is None:
            return y
        return y.index_copy(-1, self.place, self.bias.to(y.dtype).expand(*y.shape[:-1], -1))

    def extra_repr(self) -> str:
        return str(self.width)


class Restricted(nn.Module):
    """A smaller layer in the place of a larger one.

    Parameters
    ----------
    layer
        The smaller layer, or :class:`Constant`.
    select : int64 Tensor, optional
        Components of the input that it takes; all by default.
    place : int64 Tensor, optional
        Where its outputs stand among ``width`` components, of which the others are zero and used by nothing; by default
        the output is returned as it is.
    width
        Components of the output with ``place``.
    """

    in_type: FieldType | None = None
    out_type: FieldType | None = None
    select: Tensor | None
    place: Tensor | None

    def __init__(self, layer: nn.Module, select: Tensor | None, place: Tensor | None, width: int):
        super().__init__()
        self.layer, self.width = layer, width
        self.takes_surface = bool(getattr(layer, "takes_surface", False))
        self.register_buffer("select", select, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        """``[..., n]`` to ``[..., width]``; further arguments are those of the layer."""
        if self.select is not None:  # of a matrix, for which torch is several times faster
            x = x.flatten(0, -2).index_select(-1, self.select).unflatten(0, x.shape[:-1])
        y = self.layer(x, *others)
        if self.place is None:
            return y
        return y.new_zeros(*y.shape[:-1], self.width).scatter_(-1, self.place.expand(y.shape), y)


def bias_of(layer: Any, gives: Copies) -> tuple[Tensor, Tensor] | None:
    """Bias of the outputs ``gives`` of a layer with a kernel and their components among them; None without any."""
    chosen = [copy for copy in gives if copy < out_type(layer).scalars]
    if layer.bias is None or not chosen:
        return None
    return torch.arange(len(chosen)), layer.bias[chosen]


def _kinds(field_type: FieldType) -> list[int | str]:
    """Order of every field, ``"0-"`` for odd scalars."""
    return [order for count, order in field_type for _ in range(count)]


def _cut(parameter: Tensor, *indices: Tensor | Sequence[int] | None) -> nn.Parameter:
    """Some of the entries along each axis."""
    value = parameter.detach()
    for axis, index in enumerate(indices):
        if index is not None:
            value = value.index_select(axis, torch.as_tensor(index, dtype=torch.int64, device=value.device))
    return nn.Parameter(value.clone(), parameter.requires_grad)


def _scalars(field_type: FieldType, copies: Copies) -> list[int]:
    return [copy for copy in copies if copy < field_type.scalars]


def _shrink_linear(linear: Linear, reads: Copies, gives: Copies) -> None:
    source, target = _by_kind(linear.in_type, reads), _by_kind(linear.out_type, gives)
    kept = {key: w for key, w in linear.weights.items() if source.get(key) and target.get(key)}
    linear.weights = nn.ParameterDict({key: _cut(w, None, source[key], target[key]) for key, w in kept.items()})
    linear.bias = _cut_bias(linear, gives)
    linear.in_type, linear.out_type = linear.in_type.choose(reads), linear.out_type.choose(gives)


def _by_kind(field_type: FieldType, copies: Copies) -> dict[str, list[int]]:
    """The numbers of ``copies`` among fields of their kind."""
    found, first = {}, 0
    for count, order in field_type:
        found[str(order)] = [copy - first for copy in copies if first <= copy < first + count]
        first += count
    return found


def _cut_bias(layer: Any, gives: Copies) -> nn.Parameter | None:
    chosen = _scalars(out_type(layer), gives)
    return _cut(layer.bias, chosen) if layer.bias is not None and chosen else None


def _shrink_conv(conv: GaugeConv, reads: Copies, gives: Copies) -> None:
    # Radial functions and their quadrature stay those of the larger layer.
    conv.weight = _cut(conv.weight, None, conv.in_type.components(reads), conv.out_type.components(gives))
    conv.bias = _cut_bias(conv, gives)
    conv.in_type, conv.out_type = conv.kernel_types = conv.in_type.choose(reads), conv.out_type.choose(gives)
    device = conv.weight.device
    conv.kernel_space = KernelSpace(*conv.kernel_types, conv.band_limit).to(device)
    conv.steady = None if conv.steady is None else KernelSpace(*conv.kernel_types, 0).to(device)
    if conv.self_interaction is not None:
        _shrink_linear(conv.self_interaction, reads, gives)


def _shrink_dense(dense: nn.Linear, reads: Copies, gives: Copies) -> None:
    dense.weight, dense.bias = _cut(dense.weight, gives, reads), _cut_bias(dense, gives)  # type: ignore[assignment]
    dense.in_features, dense.out_features = len(reads), len(gives)


_KERNELS: dict[type, Callable[[Any, Copies, Copies], None]] = {
    GaugeConv: _shrink_conv,
    Linear: _shrink_linear,
    nn.Linear: _shrink_dense,
}


class _Fieldwise(NamedTuple):
    needs: Callable[[Any, Copies], tuple[list[int], list[int]]]
    shrink: Callable[[Any, Copies, Copies], None]


def _same(_: Any, gives: Copies) -> tuple[list[int], list[int]]:
    return list(gives), list(gives)


def _retype(layer: Any, reads: Copies, gives: Copies) -> None:
    layer.in_type, layer.out_type = in_type(layer).choose(reads), out_type(layer).choose(gives)


def _shrink_norm(norm: FieldBatchNorm | FieldInstanceNorm, reads: Copies, gives: Copies) -> None:
    scalars = _scalars(norm.in_type, gives)
    norm.scale, norm.shift = _cut(norm.scale, gives), _cut(norm.shift, scalars)
    if isinstance(norm, FieldBatchNorm):
        norm.running_mean, norm.running_var = norm.running_mean[scalars], norm.running_var[list(gives)]
    _retype(norm, reads, gives)


def _gated_needs(act: GatedNonlinearity, gives: Copies) -> tuple[list[int], list[int]]:
    """Scalars; gates, which are scalars after them; and the fields, which follow."""
    scalars = act.out_type.scalars
    others = [copy for copy in gives if copy >= scalars]
    gates = act.in_type.scalars - scalars
    return [*_scalars(act.out_type, gives), *others, *(copy + gates for copy in others)], list(gives)


def _shrink_norm_act(act: NormNonlinearity, reads: Copies, gives: Copies) -> None:
    others = [copy - act.in_type.scalars for copy in gives if copy >= act.in_type.scalars]
    act.slope, act.offset = _cut(act.slope, others), _cut(act.offset, others)
    _retype(act, reads, gives)


def _channels(act: FourierNonlinearity, gives: Copies) -> tuple[list[int], list[int]]:
    """All orders of a channel are the Fourier series of one function."""
    count = act.in_type.multiplicities[0]
    chosen = {copy % count for copy in gives}
    copies = [copy for copy in range(act.in_type.num_fields) if copy % count in chosen]
    return copies, copies


_FIELDWISE: dict[type, _Fieldwise] = {
    FieldBatchNorm: _Fieldwise(_same, _shrink_norm),
    FieldInstanceNorm: _Fieldwise(_same, _shrink_norm),
    GatedNonlinearity: _Fieldwise(_gated_needs, _retype),
    NormNonlinearity: _Fieldwise(_same, _shrink_norm_act),
    FourierNonlinearity: _Fieldwise(_channels, _retype),
    **{
        cls: _Fieldwise(_same, _retype)
        for cls in (FieldDropout, ClusterPool, ClusterMaxPool, ClusterUnpool, ClusterInterpolation)
    },
}
