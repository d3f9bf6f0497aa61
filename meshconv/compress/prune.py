"""Removal of fields from networks and tasks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from meshconv.compress.gates import gates_of
from meshconv.compress.liveness import kernel_layers, plan_of
from meshconv.compress.surfaces import sphere_for
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.compact.plan import NOTHING, compact
from meshconv.nn.compact.shrinking import in_type
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.linear import Linear
from meshconv.testing.calls import evaluating

if TYPE_CHECKING:
    from meshconv.train.tasks.base import Task

T = TypeVar("T", bound=nn.Module)


def prune(task: Task, masks: Mapping[str, Tensor] | None = None) -> Task:
    """A smaller task of the same class with the same predictions: what gates, or masks, leave.

    Fields that no layer reads are not computed, and the kernels of what remains have smaller types. The hyperparameters
    say which fields those are (``compact``), so that its checkpoint is one like any other.

    Parameters
    ----------
    task
        With gates (:func:`add_gates`), or without if there are ``masks``. It is left as it is.
    masks : mapping of bool Tensor, optional
        Input fields that layers read, as of :func:`magnitude_masks`.

    Raises
    ------
    InputError
        There are no gates and no masks, no field is left between input and output, or the network is a compressed one.
    """
    if task.hparams.get("compact") is not None:
        raise InputError("the network has been compressed already; prune the one that it was made from")
    small = copy.deepcopy(task)
    small.network, layers = prune_network(task.network, masks)
    small.hparams["compact"] = {**NOTHING, "layers": layers}
    return small


def prune_network(network: T, masks: Mapping[str, Tensor] | None = None) -> tuple[T, dict[str, Any]]:
    """The same for any network called with fields and a surface, and the ``layers`` of its plan.

    :func:`~meshconv.nn.compact.plan.compact` makes the same of a network as it was constructed.

    Examples
    --------
    >>> from meshconv.models import ShapeClassifier
    >>> network = ShapeClassifier("3x0", 2, 4, 1, blocks=1)
    >>> masks = magnitude_masks(network, keep=0.5)
    >>> prune_network(network, masks)[0].blocks[0].conv2.in_type.num_fields < 8
    True
    """
    plain, kept = copy.deepcopy(network), {}
    for name, gate in list(gates_of(plain)):
        value = gate.factors.value().detach()  # type: ignore[operator]
        plain.set_submodule(name, gate.layer)
        scale_inputs(gate.layer, value)
        kept[name] = value.nonzero()[:, 0].tolist()
    for name, mask in (masks or {}).items():
        kept[name] = mask.nonzero()[:, 0].tolist()
    if not kept:
        raise InputError("the network has no gates; train it with gates (add_gates) or give masks")
    for name, copies in kept.items():
        layer = plain.get_submodule(name)
        chosen = torch.zeros(in_type(layer).num_fields)
        chosen[copies] = 1
        scale_inputs(layer, chosen.to(next(layer.parameters()).device))
    for whole in (False, True):  # a network may have code that takes all components, and computes with none of them
        small, layers = copy.deepcopy(plain), plan_of(plain, kept, whole)
        compact(small, {**NOTHING, "layers": layers})
        if _same(plain, small):
            return small, layers
    raise InputError(f"{type(network).__name__}: its layers cannot lose fields, its own code needs all of them")


def _same(network: nn.Module, small: nn.Module) -> bool:
    """Whether two networks agree on a random input, up to rounding of float64."""
    one, other = copy.deepcopy(network).double(), copy.deepcopy(small).double()
    surface = sphere_for(network)
    in_type = FieldType(network.in_type)  # type: ignore[arg-type]
    x = in_type.randn(surface.num_vertices, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with evaluating(one), evaluating(other):
        expected = one(x, surface)
        try:
            found = other(x, surface)
        except (RuntimeError, ValueError):  # of sizes
            return False
    return found.shape == expected.shape and bool((found - expected).abs().max() <= 1e-9 * expected.abs().max())


@torch.no_grad()
def scale_inputs(layer: Any, factor: Tensor) -> None:
    """Multiply the kernel of a layer by a factor for each field of its input, in place."""
    if isinstance(layer, GaugeConv):
        layer.weight.mul_(layer.in_type.per_component(factor)[:, None])
        if layer.self_interaction is not None:
            scale_inputs(layer.self_interaction, factor)
    elif isinstance(layer, Linear):
        first = 0
        for count, order in layer.in_type:
            if str(order) in layer.weights:
                layer.weights[str(order)] *= factor[first : first + count, None]
            first += count
    else:
        layer.weight *= factor


def magnitude_masks(network: nn.Module, keep: float) -> dict[str, Tensor]:
    """Masks of the input fields with the largest weights, the baseline of learnt gates.

    The magnitude of a field is the root mean square of the coefficients of a kernel that multiply it, over the mean of
    that over all fields of the layer, so that layers are comparable; the threshold is one for all layers. A layer keeps
    one field at least.

    Parameters
    ----------
    network
    keep
        Share of all fields that stays, above 0 and at most 1.
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep {keep} is not a share above 0 and at most 1")
    names = kernel_layers(network)
    found = {name: input_magnitudes(network.get_submodule(name)) for name in names}
    relative = {name: value / value.mean().clamp(min=1e-30) for name, value in found.items()}
    everything = torch.cat(list(relative.values())).sort(descending=True).values
    threshold = everything[max(round(keep * len(everything)), 1) - 1]
    return {name: value >= torch.minimum(threshold, value.max()) for name, value in relative.items()}


@torch.no_grad()
def input_magnitudes(layer: Any) -> Tensor:
    """Root mean square of the coefficients of a kernel for each field of the input, ``[fields]``."""
    source = in_type(layer)
    if isinstance(layer, GaugeConv):
        rows = layer.kernel_space(layer.weight).square().sum((0, 2))
        owner = source.per_component(torch.arange(source.num_fields, device=rows.device))
        total = rows.new_zeros(source.num_fields).index_add(0, owner, rows)
        count = torch.bincount(owner) * layer.weight.shape[0] * layer.weight.shape[2]
        if layer.self_interaction is not None:
            total = total + input_magnitudes(layer.self_interaction).square() * count
        return (total / count).sqrt()
    if isinstance(layer, Linear):
        parts = []
        for multiplicity, order in source:
            known = str(order) in layer.weights
            parts.append(layer.weights[str(order)].square().mean((0, 2)).sqrt() if known else torch.zeros(multiplicity))
        return torch.cat(parts)
    return layer.weight.square().mean(0).sqrt()
