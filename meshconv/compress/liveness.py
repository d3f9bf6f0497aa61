"""Which fields of a network are used, found from one call of it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meshconv.compress.surfaces import sphere_for
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.compact.shrinking import has_kernel, in_type, is_fieldwise, needed, out_type
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.linear import Linear
from meshconv.nn.nonlinearity import GatedNonlinearity
from meshconv.nn.norm import FieldBatchNorm


@dataclass(eq=False)
class _Call:
    """A call of a layer: what it was given, with the graph of the code before it, and what it returned, without."""

    name: str
    layer: nn.Module
    given: Tensor
    made: Tensor


@torch.enable_grad()
def outer_layers(network: nn.Module) -> list[str]:
    """Names of the layers that can lose fields, in the order of their calls.

    Those are layers that are not called by another of them, and not more than once.
    """
    calls, _, _ = _trace(copy.deepcopy(network))
    counts = Counter(call.name for call in calls)
    return [call.name for call in calls if counts[call.name] == 1]


@torch.enable_grad()
def plan_of(network: nn.Module, kept: Mapping[str, list[int]], whole: bool = False) -> dict[str, Any]:
    """The plan (:func:`~meshconv.nn.compact.plan.compact`) of a network that reads some of its fields alone.

    A field that is read nowhere is not computed. Between two layers it is not there either; where code of the network
    stands between them, such as a sum or a concatenation, its components are zero.

    Code between layers is followed by its derivatives at a random input: what the derivative of all that comes after
    does not see is not used.

    Parameters
    ----------
    network
        Called with fields and a surface.
    kept : mapping
        Input fields that layers with kernels read, by their names; others read all.
    whole
        All layers return all components, also those between two layers.

    Raises
    ------
    InputError
        No field is left between input and output.
    """
    once = set(outer_layers(network))
    network = copy.deepcopy(network)
    calls, x, y = _trace(network, once)
    variables = [x, *(call.made for call in calls)]
    alive = {id(v): torch.zeros(v.shape[-1], dtype=torch.bool) for v in variables}
    in_code = _in_code(calls, x, y)
    generator = torch.Generator().manual_seed(0)

    def follow(tensor: Tensor, components: Tensor) -> None:
        """Mark what some components of a tensor depend on, back to the layers before it."""
        if id(tensor) in alive:
            alive[id(tensor)] |= components
            return
        if not tensor.requires_grad:
            return
        seed = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) * components
        for v, g in zip(variables, torch.autograd.grad(tensor, variables, seed, True, allow_unused=True), strict=True):
            if g is not None:
                alive[id(v)] |= (g != 0).reshape(-1, g.shape[-1]).any(0)

    follow(y, torch.ones(y.shape[-1], dtype=torch.bool))
    reads: list[list[int]] = []
    for call in reversed(calls):
        wanted, _ = needed(call.layer, _copies(alive[id(call.made)], out_type(call.layer)))
        reads.insert(0, sorted(set(wanted) & set(kept.get(call.name, wanted))))
        source = in_type(call.layer)
        follow(call.given, torch.isin(torch.arange(source.dim), source.components(reads[0])))
    if not alive[id(x)].any():
        raise InputError("pruning leaves no field between input and output; lower the sparsity")
    gives = {}
    for call in calls:
        _, gives[id(call.made)] = needed(call.layer, _copies(alive[id(call.made)], out_type(call.layer)))
    layers: dict[str, Any] = {}
    for call, read in zip(calls, reads, strict=True):
        given, made = id(call.given), id(call.made)
        there = gives[given] if given in gives and given not in in_code else None
        if (len(read), len(gives[made])) != (in_type(call.layer).num_fields, out_type(call.layer).num_fields):
            entry: dict[str, Any] = {"reads": read, "gives": gives[made], "arrives": None if whole else there}
            entry["wide"] = whole or made in in_code
            layers[call.name] = entry
    return layers


def kernel_layers(network: nn.Module) -> list[str]:
    """Names of the layers with kernels among the outer ones.

    Raises
    ------
    InputError
        There are none.
    """
    names = [name for name in outer_layers(network) if has_kernel(network.get_submodule(name))]
    if not names:
        raise InputError(f"{type(network).__name__}: no convolution or linear layer inside that could lose fields")
    return names


class Chain(NamedTuple):
    """A normalisation, the gated nonlinearity after it, and the layers with kernels that alone read its output."""

    norm: str
    act: str
    readers: list[str]


@torch.enable_grad()
def chains(network: nn.Module) -> list[Chain]:
    """All of them, by names of layers."""
    calls, x, y = _trace(copy.deepcopy(network), set(outer_layers(network)))
    in_code, found = _in_code(calls, x, y), []
    for norm, act in _pairs(calls, in_code):
        readers = [call for call in calls if call.given is act.made]
        by_kernels = all(isinstance(call.layer, GaugeConv | Linear) for call in readers)
        gated = isinstance(norm.layer, FieldBatchNorm) and isinstance(act.layer, GatedNonlinearity)
        if gated and readers and by_kernels and id(act.made) not in in_code:
            found.append(Chain(norm.name, act.name, [call.name for call in readers]))
    return found


@torch.enable_grad()
def following_norms(network: nn.Module) -> dict[str, str]:
    """The batch normalisation that alone reads the output of a layer with a kernel, by names."""
    calls, x, y = _trace(copy.deepcopy(network), set(outer_layers(network)))
    pairs = _pairs(calls, _in_code(calls, x, y))
    return {a.name: b.name for a, b in pairs if has_kernel(a.layer) and isinstance(b.layer, FieldBatchNorm)}


def _pairs(calls: list[_Call], in_code: set[int]) -> list[tuple[_Call, _Call]]:
    """Calls of which the second alone takes what the first returns."""
    readers = {id(a.made): [b for b in calls if b.given is a.made] for a in calls if id(a.made) not in in_code}
    return [(a, readers[id(a.made)][0]) for a in calls if len(readers.get(id(a.made), [])) == 1]


def _in_code(calls: list[_Call], x: Tensor, y: Tensor) -> set[int]:
    """Inputs and outputs of layers that code between layers takes, or that are those of the network."""
    variables = [x, *(call.made for call in calls)]
    found, direct = {id(x), id(y)}, {id(v) for v in variables}
    for tensor in (*(call.given for call in calls), y):
        if id(tensor) not in direct and tensor.requires_grad:
            seen = torch.autograd.grad(tensor.sum(), variables, retain_graph=True, allow_unused=True)
            found |= {id(v) for v, g in zip(variables, seen, strict=True) if g is not None}
    return found


def _copies(components: Tensor, field_type: FieldType) -> list[int]:
    """Fields with a component among some."""
    owner = field_type.per_component(torch.arange(field_type.num_fields))
    return owner[components].unique().tolist()


def _trace(network: nn.Module, only: set[str] | None = None) -> tuple[list[_Call], Tensor, Tensor]:
    """Calls of layers of a network, of those named ``only`` if given, and its input and output."""
    network = network.double().eval()
    surface = sphere_for(network)
    calls: list[_Call] = []
    depth = 0

    def enter(layer: nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal depth
        depth += 1

    def leave(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Any, ...], made: Tensor) -> Tensor | None:
            nonlocal depth
            depth -= 1
            if depth or not given or (only is not None and name not in only):
                return None
            calls.append(_Call(name, layer, given[0], made.detach().requires_grad_()))
            return calls[-1].made

        return hook

    def whole(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """A layer of layers takes its input type: what it is given is there in whole, an object of its own."""
        return (given[0].view_as(given[0]), *given[1:]) if given and isinstance(given[0], Tensor) else given

    for name, layer in network.named_modules():
        if name and (has_kernel(layer) or is_fieldwise(layer)):
            layer.register_forward_pre_hook(enter)
            layer.register_forward_hook(leave(name))
        elif getattr(layer, "in_type", None) is not None and not isinstance(layer, nn.Sequential):
            layer.register_forward_pre_hook(whole)
    generator = torch.Generator().manual_seed(0)
    own = getattr(network, "in_type", None)
    if own is None:
        raise InputError(f"{type(network).__name__} has no attribute in_type, the type of its inputs; give it one")
    x = FieldType(own).randn(surface.num_vertices, generator=generator, dtype=torch.float64).requires_grad_()
    y = network(x, surface)
    return calls, x, y
