"""Weights of few bits: equalisation, rounding, and correction of means."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from meshconv.compress.liveness import Chain, chains, following_norms, kernel_layers
from meshconv.compress.prune import scale_inputs
from meshconv.compress.surfaces import sphere_for
from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.nn.compact.integers import Kernel, kernels, levels, nearest
from meshconv.nn.compact.plan import NOTHING
from meshconv.nn.compact.shrinking import out_type
from meshconv.nn.convolution.conv import GaugeConv
from meshconv.nn.linear import Linear
from meshconv.nn.norm import FieldBatchNorm
from meshconv.progress import track
from meshconv.testing.calls import evaluating

if TYPE_CHECKING:
    from meshconv.train.tasks.base import Task

LEAST_SAMPLES = 4
"""Samples that adaptive rounding needs."""

_STEPS = 150
_NODES = 201
_WHOLE = 1e-4


def quantise(task: Task, bits: int = 8, samples: Sequence[SurfaceBatch] | None = None) -> Task:
    """A task whose kernels have integers of ``bits`` bits times a scale for each output field.

    Coefficients of kernels alone are rounded: activations, biases and normalisations stay floats, so that the network
    is as equivariant as before. It computes in floats; a checkpoint (:func:`save`) holds the integers.

    Without samples: cross-layer equalisation (:func:`equalise`), the nearest integers, and correction of the means of
    scalars that follow from the normalisation before them. With samples: integers that keep the outputs of each layer
    on them, and correction of all means of scalars. Means of fields of order 1 and more depend on the gauge, and are 0
    by symmetry: they are not corrected.

    Parameters
    ----------
    task
        Left as it is.
    bits
        8 or 4.
    samples
        Batches, such as those of a training set, four at least.

    Raises
    ------
    InputError
        Other bits, no kernels, or too few samples.

    References
    ----------
    Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization through Weight Equalization and Bias Correction,
    ICCV 2019.
    Nagel, Amjad, van Baalen, Louizos, Blankevoort: Up or Down? Adaptive Rounding for Post-Training Quantization, ICML
    2020.
    """
    levels(bits)
    if samples is not None and len(samples) < LEAST_SAMPLES:
        raise InputError(f"rounding with samples needs {LEAST_SAMPLES} of them, there are {len(samples)}; leave it out")
    small = copy.deepcopy(task).eval()
    for parameter in small.parameters():
        parameter.requires_grad_(False)
    network = small.network
    if not any(True for _ in kernels(network)):
        raise InputError(f"{type(network).__name__} has no convolution or linear layer whose weights could be rounded")
    equalise(network)
    before = copy.deepcopy(network)
    calls = _recorded(small, samples) if samples is not None else {}
    for name in track(list(calls), "rounding", "layers"):
        _round_adaptively(network.get_submodule(name), calls[name], bits)
    done = {f"{name}.{kernel.name}" for name in calls for kernel in kernels(network.get_submodule(name))}
    for kernel in kernels(network):
        if kernel.name not in done:
            _set(kernel, nearest(kernel, bits), bits)
    changes = _measured_changes(network, calls) if samples is not None else _expected_changes(before, network)
    _correct_means(network, changes)
    small.hparams["compact"] = {**(task.hparams.get("compact") or NOTHING), "bits": bits}
    for parameter in small.parameters():
        parameter.requires_grad_(True)
    return small


@torch.no_grad()
def equalise(network: nn.Module) -> None:
    """Scale fields of order 1 and more between two layers so that each is multiplied by coefficients of equal range.

    From a normalisation through a gated nonlinearity, which is linear in such a field, to the next kernel: its scale is
    multiplied and the coefficients are divided by the same number. The outputs are the same; the step of the integers,
    which is that of the largest coefficient, suits all of them.
    """
    for chain in chains(network):
        act: Any = network.get_submodule(chain.act)
        norm: Any = network.get_submodule(chain.norm)
        scalars, count = act.out_type.scalars, act.out_type.num_fields
        layers = [network.get_submodule(name) for name in chain.readers]
        ranges = torch.stack([_input_ranges(layer) for layer in layers]).amax(0)[scalars:]
        used = ranges > 0
        if not used.any():
            continue
        factor = torch.ones(count, dtype=ranges.dtype, device=ranges.device)
        factor[scalars:] = torch.where(used, ranges / ranges[used].log().mean().exp(), 1).clamp(1e-2, 1e2)
        norm.scale[norm.in_type.num_fields - (count - scalars) :] *= factor[scalars:]
        for layer in layers:
            scale_inputs(layer, 1 / factor)


def _input_ranges(layer: Any) -> Tensor:
    """Largest coefficient of each input field, ``[fields]``."""
    if isinstance(layer, GaugeConv):
        rows = layer.kernel_space(layer.weight).abs().amax((0, 2))
        source = layer.in_type
        owner = source.per_component(torch.arange(source.num_fields, device=rows.device))
        largest = rows.new_zeros(source.num_fields).scatter_reduce(0, owner, rows, "amax")
        own = None if layer.self_interaction is None else _input_ranges(layer.self_interaction)
        return largest if own is None else torch.maximum(largest, own)
    parts = [
        layer.weights[str(order)].abs().amax((0, 2)) if str(order) in layer.weights else torch.zeros(count)
        for count, order in layer.in_type
    ]
    return torch.cat(parts)


@torch.no_grad()
def _set(kernel: Kernel, integers: Tensor, bits: int) -> None:
    kernel.weight.copy_(integers * kernel.spread(kernel.scales(bits)))


def _recorded(task: Task, samples: Sequence[SurfaceBatch]) -> dict[str, list[tuple[tuple[Any, ...], Tensor]]]:
    """Arguments and outputs of all layers with kernels, by their names."""
    calls: dict[str, list[tuple[tuple[Any, ...], Tensor]]] = {}
    handles = []
    for name in kernel_layers(task.network):
        found = calls.setdefault(name, [])

        def keep(layer: nn.Module, given: tuple[Any, ...], made: Tensor, found: list = found) -> None:
            found.append((given, made))

        handles.append(task.network.get_submodule(name).register_forward_hook(keep))
    with evaluating(task):
        for batch in samples:
            task(batch)
    for handle in handles:
        handle.remove()
    return calls


def _round_adaptively(layer: nn.Module, calls: list[tuple[tuple[Any, ...], Tensor]], bits: int) -> None:
    """Round each coefficient up or down so that the outputs of the layer change least.

    The choice is relaxed to a number between, which a penalty drives to 0 or 1.
    """
    found, top = list(kernels(layer)), levels(bits)
    exact = [k.weight / k.spread(k.scales(bits)) for k in found]
    below = [(value + _WHOLE).floor() for value in exact]
    rest = [(value - b).clamp(min=0) for value, b in zip(exact, below, strict=True)]
    # The largest coefficients are integers and stay: the step is read off them.
    whole = [r < 2 * _WHOLE for r in rest]
    free = [((r + 0.1) / 1.2).clamp(1e-3, 1 - 1e-3).logit().requires_grad_() for r in rest]

    def weights(ups: Sequence[Tensor]) -> dict[str, Tensor]:
        values = zip(found, below, ups, whole, strict=True)
        return {
            k.name: (b + up.masked_fill(stays, 0)).clamp(-top, top) * k.spread(k.scales(bits))
            for k, b, up, stays in values
        }

    def error(values: dict[str, Tensor], some: Sequence[tuple[tuple[Any, ...], Tensor]]) -> Tensor:
        parts = [(functional_call(layer, values, given) - made).square().sum() for given, made in some]
        return torch.stack(parts).sum() / len(parts)

    to_nearest = [(r >= 0.5).to(r.dtype) for r in rest]
    with torch.no_grad():
        start = error(weights(to_nearest), calls)
    if start == 0:
        best = to_nearest
    else:
        optimizer = torch.optim.Adam(free, lr=0.02)
        for step in range(_STEPS):
            ups = [(f.sigmoid() * 1.2 - 0.1).clamp(0, 1) for f in free]
            power = 20 - 18 * step / _STEPS
            between = torch.stack([(1 - (2 * up - 1).abs() ** power).mean() for up in ups]).sum()
            loss = error(weights(ups), [calls[step % len(calls)]]) / start + (0 if step < _STEPS / 5 else 1) * between
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        best = [(f.detach() > 0).to(f.dtype) for f in free]
        with torch.no_grad():
            best = best if error(weights(best), calls) < start else to_nearest
    for kernel, value in zip(found, weights(best).values(), strict=True):
        kernel.weight.data.copy_(value)


@torch.no_grad()
def _measured_changes(network: nn.Module, calls: dict[str, Any]) -> dict[str, Tensor]:
    """Change of the mean of each scalar output of layers on recorded inputs, which are those before rounding."""
    changes = {}
    for name, found in calls.items():
        layer = network.get_submodule(name)
        scalars = out_type(layer).scalars
        differences = [(layer(*given) - made)[..., :scalars].reshape(-1, scalars) for given, made in found]
        changes[name] = torch.cat(differences).mean(0)
    return changes


@torch.no_grad()
def _expected_changes(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """The same without data, for layers whose inputs are normalised before a gated nonlinearity.

    A scalar has the mean and variance of the normalisation and is taken for Gaussian; at a point the radial functions
    of its neighbours have the sums that they have on a sphere, on average.
    """
    graph = sphere_for(before).finest.to(torch.float32)
    changes = {}
    for chain in chains(before):
        mean = _mean_after(before, chain)
        for name in chain.readers:
            changes[name] = _response(after.get_submodule(name), mean, graph) - _response(
                before.get_submodule(name), mean, graph
            )
    return changes


def _mean_after(network: nn.Module, chain: Chain) -> Tensor:
    """Expectation of silu of Gaussian scalars, ``[scalars]``."""
    norm: Any = network.get_submodule(chain.norm)
    act: Any = network.get_submodule(chain.act)
    scalars = act.out_type.scalars
    node = torch.linspace(-6, 6, _NODES, device=norm.scale.device)[:, None]
    density = torch.exp(-node.square() / 2)
    return (nn.functional.silu(norm.shift[:scalars] + norm.scale[:scalars] * node) * density).sum(0) / density.sum()


def _response(layer: Any, mean: Tensor, graph: Any) -> Tensor:
    """Mean of the scalar outputs of a layer for the mean of its scalar inputs, without bias."""
    scalars, count = layer.out_type.scalars, len(mean)
    if isinstance(layer, Linear):
        return mean @ layer.weights["0"][0] if "0" in layer.weights else mean.new_zeros(scalars)
    edges, centre = layer.edge_functions(graph)
    sums = edges.sum(0) / graph.num_vertices
    for b, share in enumerate(centre):
        sums[b] += share.to(sums.dtype).mean()
    kernel = layer.kernel_space(layer.weight)[:, :count, :scalars]
    total = torch.einsum("b,bio,i->o", sums.to(mean.dtype), kernel, mean)
    return total if layer.self_interaction is None else total + _response(layer.self_interaction, mean, graph)


@torch.no_grad()
def _correct_means(network: nn.Module, changes: dict[str, Tensor]) -> None:
    """Take changes of means out of the normalisation after a layer, or out of its bias."""
    norms = following_norms(network)
    for name, change in changes.items():
        layer = network.get_submodule(name)
        if name in norms:
            norm = network.get_submodule(norms[name])
            if isinstance(norm, FieldBatchNorm):
                norm.running_mean += change
        elif layer.bias is not None:
            layer.bias -= change  # type: ignore[operator]
