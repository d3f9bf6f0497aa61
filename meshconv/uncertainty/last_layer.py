"""Laplace approximation of the last layer, for classes and for fields of any order."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.linear import Linear
from meshconv.uncertainty.sampled import LastLayers, components, last_inputs, last_layer

# What a batch is: arguments of the network, targets [N] or [N, out], and weights [N]; rows of the output that count.
Batch = tuple[tuple, Tensor, Tensor, Tensor]
_ROUNDS = 100


def laplace(network: nn.Module, batches: Iterable[Batch], kind: str, samples: int = 32, seed: int = 0) -> LastLayers:
    r"""Last layers drawn from the Laplace approximation of their posterior.

    The Hessian of the loss is the generalised Gauss-Newton matrix. Of classes it is its Kronecker factorisation,
    :math:`\sum_i \phi_i \phi_i^T \otimes \frac1N \sum_i (\mathrm{diag}\, p_i - p_i p_i^T)`. Of fields it is exact: a
    linear regression of each order on the fields of that order, complex above 0, with the mean square error of the
    field as noise; it does not depend on the gauge, so each draw is an equivariant layer. The precision of the prior
    is the one of largest marginal likelihood.

    Parameters
    ----------
    network : nn.Module
        Trained, ending with a linear layer; other networks raise an :class:`~meshconv.InputError`.
    batches : iterable
        Of the training data: arguments of the network, rows of its output that count (bool), their targets
        (classes, or fields in units of the network), their weights.
    kind
        ``"classes"`` or ``"fields"``.
    samples
        Number of layers that are drawn.
    seed

    References
    ----------
    Ritter, Botev, Barber, "A scalable Laplace approximation for neural networks", 2018; Daxberger et al., "Laplace
    redux", 2021.

    Notes
    -----
    ``tests/test_uncertainty.py`` compares with the Hessian of the loss, by automatic differentiation.
    """
    if samples < 2:
        raise InputError(f"samples {samples}: a spread needs at least 2")
    layer = last_layer(network)
    with torch.no_grad():
        if kind == "classes":
            posteriors = _of_classes(network, layer, batches)
        else:
            posteriors = _of_fields(network, layer, batches)
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for _ in range(samples):
        drawn = copy.deepcopy(layer)
        for posterior in posteriors:
            _set_matrix(drawn, posterior.key, posterior.draw(generator))
        layers.append(drawn.requires_grad_(False))
    return LastLayers(network, layers, "classes" if kind == "classes" else "fields")


@dataclass(frozen=True)
class Posterior:
    """Normal distribution of a matrix ``[out, n]`` with precision :math:`G \\otimes A + \\tau`, by eigenvectors.

    Attributes
    ----------
    key : str
        Block of the layer, see :func:`matrices`.
    mean : float64 Tensor [out, n]
    outputs, inputs : (eigenvalues, eigenvectors)
        Of G ``[out, out]`` and A ``[n, n]``.
    prior : float
    """

    key: str
    mean: Tensor
    outputs: tuple[Tensor, Tensor]
    inputs: tuple[Tensor, Tensor]
    prior: float

    @classmethod
    def of(cls, key: str, mean: Tensor, outputs: Tensor, inputs: Tensor) -> Posterior:
        """With the prior of largest marginal likelihood, the fixed point :math:`\\tau = \\gamma / |W|^2` (MacKay)."""
        (g, u), (a, v) = torch.linalg.eigh(outputs), torch.linalg.eigh(inputs)
        h = g.clamp(min=0)[:, None] * a.clamp(min=0)
        size, prior = max(float(mean.square().sum()), 1e-12), 1.0
        for _ in range(_ROUNDS):
            new = float((h / (h + prior)).sum()) / size
            if abs(new - prior) <= 1e-6 * prior:
                break
            prior = max(new, 1e-6)
        return cls(key, mean, (g.clamp(min=0), u), (a.clamp(min=0), v), prior)

    def draw(self, generator: torch.Generator) -> Tensor:
        (g, u), (a, v) = self.outputs, self.inputs
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + u @ (noise / (g[:, None] * a + self.prior).sqrt()) @ v.T


def matrices(layer: nn.Module) -> dict[str, Tensor]:
    """Weights of a layer by kind of field, float64 ``[out, n]``: with the bias last, of orders >= 1 as (A, B)."""
    if isinstance(layer, nn.Linear):
        return {"0": _with_bias(layer.weight, layer.bias)}
    assert isinstance(layer, Linear)
    return {
        key: _with_bias(weight[0].T, layer.bias) if key == "0" else weight.flatten(0, 1).T.double()
        for key, weight in layer.weights.items()
    }


def _with_bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    parts = [weight] if bias is None else [weight, bias[:, None]]
    return torch.cat([part.detach().double().cpu() for part in parts], dim=1)


def _set_matrix(layer: nn.Module, key: str, matrix: Tensor) -> None:
    with torch.no_grad():
        bias = layer.bias if key == "0" else None
        if bias is not None:
            bias.copy_(matrix[:, -1])  # type: ignore[operator]
            matrix = matrix[:, :-1]
        if isinstance(layer, nn.Linear):
            layer.weight.copy_(matrix)
        else:
            weight = layer.weights[key]  # type: ignore[index, union-attr]
            weight.copy_(matrix.T.reshape(weight.shape))


def _rows(layer: nn.Module, key: str, x: Tensor) -> Tensor:
    """Regressors ``[components, N, n]`` of each component of an output field for inputs ``[N, in]``."""
    if key == "0":
        scalars = x if isinstance(layer, nn.Linear) else x[:, : layer.in_type.scalars]  # type: ignore[union-attr, index]
        ones = [] if layer.bias is None else [torch.ones_like(x[:, :1])]
        return torch.cat([scalars, *ones], dim=1)[None]
    assert isinstance(layer, Linear)
    if key == "0-":
        return x[None, :, layer.in_type.scalars : layer.in_type.multiplicities[0]]
    c, s = x[:, layer.in_type.slice(int(key))].chunk(2, dim=1)
    if len(layer.weights[key]) == 1:
        return torch.stack([c, s])
    return torch.stack([torch.cat([c, -s], dim=1), torch.cat([s, c], dim=1)])


def _of_classes(network: nn.Module, layer: nn.Module, batches: Iterable[Batch]) -> list[Posterior]:
    found = matrices(layer)
    if list(found) != ["0"]:
        raise InputError("classes: the last layer has fields of orders above 0; logits are scalars")
    (weight,) = found.values()
    inputs, outputs = weight.new_zeros(2 * weight.shape[1:]), weight.new_zeros(2 * weight.shape[:1])
    total = 0.0
    for given, counts, _, weights in batches:
        features = last_inputs(network, *given)[counts]
        p = layer(features).softmax(-1).double().cpu()
        x, w = _rows(layer, "0", features.double().cpu())[0], weights.double().cpu()
        inputs += x.T @ (w[:, None] * x)
        outputs += torch.diag(w @ p) - p.T @ (w[:, None] * p)
        total += float(w.sum())
    _check(total)
    return [Posterior.of("0", weight, outputs / total, inputs)]


def _of_fields(network: nn.Module, layer: nn.Module, batches: Iterable[Batch]) -> list[Posterior]:
    found = matrices(layer)
    kind = FieldType(network.out_type)  # type: ignore[arg-type]
    inputs = {key: weight.new_zeros(2 * weight.shape[1:]) for key, weight in found.items()}
    squares, total = torch.zeros(kind.num_fields, dtype=torch.float64), 0.0
    for given, counts, target, weights in batches:
        features = last_inputs(network, *given)[counts]
        error = kind.norms(layer(features).double().cpu() - target.double().cpu()).square()
        w = weights.double().cpu()
        squares += w @ error
        for key in found:
            for x in _rows(layer, key, features.double().cpu()):
                inputs[key] += x.T @ (w[:, None] * x)
        total += float(w.sum())
    _check(total)
    noise = (squares / total / components(kind)).clamp(min=1e-12)
    counts_of = {"0": kind.scalars, "0-": kind.odd_scalars}
    counts_of |= {str(m): c for m, c in enumerate(kind.multiplicities) if m}
    posteriors, start = [], 0
    for key, count in counts_of.items():
        if key in found:
            precision = torch.diag(1 / noise[start : start + count])
            posteriors.append(Posterior.of(key, found[key], precision, inputs[key]))
        start += count
    return posteriors


def _check(total: float) -> None:
    if total <= 0:
        raise InputError("laplace: the training data have no targets; give the data of the training")
