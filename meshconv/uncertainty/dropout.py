"""Monte Carlo dropout of whole field copies, which keeps a network equivariant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from meshconv import models
from meshconv.datasets.class_path import import_class
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.nn.block import ResidualBlock
from meshconv.nn.dropout import FieldDropout
from meshconv.uncertainty.sampled import Kind, Sampled

# Which of ``n`` copies stay, bool [n], at a place with a probability of dropping each.
Draw = Callable[[int, float], Tensor]


class DroppedFields(nn.Module):
    """A network with dropout of whole field copies in training, for Monte Carlo dropout later.

    After every residual block a copy, one channel of one order, is zeroed at all points with probability ``p``, both
    components together, and the others are divided by ``1 - p``: every such network is equivariant.

    Parameters
    ----------
    in_type, out_type
        As of the network.
    network : str
        Name of a class in :mod:`meshconv.models`, or the path of another class with residual blocks.
    p
        Probability.
    options
        Further arguments of the network.

    Examples
    --------
    >>> network = DroppedFields("1x0", 3, network="ShapeClassifier", p=0.1, channels=4, blocks=1)
    >>> network.out_type
    FieldType('3x0')
    """

    def __init__(self, in_type: FieldType | str, out_type: Any, *, network: str, p: float = 0.1, **options: Any):
        super().__init__()
        cls = getattr(models, network) if network in models.__all__ else import_class(network, nn.Module)
        self.network, self.p = cls(in_type, out_type, **options), _probability(p)
        self.in_type, self.out_type = self.network.in_type, self.network.out_type
        self.num_levels: int | None = getattr(self.network, "num_levels", None)
        if not _places(self.network, False):
            raise InputError(f"{network} has no residual blocks whose fields could be dropped; use another network")

    def forward(self, x: Tensor, *surface: Any) -> Tensor:
        if not self.training:
            return self.network(x, *surface)
        with dropped(self.network, self.p, lambda n, p: torch.rand(n) >= p, others=False):
            return self.network(x, *surface)


class MonteCarloDropout(Sampled):
    """Samples of a network by dropout of whole field copies, the same copies in every call.

    Copies are dropped after residual blocks, and where the network drops in training anyhow. What each sample drops is
    drawn from ``seed`` alone: it is one subnetwork on all of a surface, so that it is equivariant, and a mesh has the
    same result in every batch.

    Parameters
    ----------
    network : nn.Module
        Best one that was trained so, :class:`DroppedFields`.
    p
        Probability after residual blocks; None: that of :class:`DroppedFields`, else 0.1.
    samples
        Number of samples.
    seed, kind
        ``kind``: ``"classes"`` or ``"fields"``.

    References
    ----------
    Gal, Ghahramani, "Dropout as a Bayesian approximation", 2016.

    Notes
    -----
    ``tests/test_uncertainty.py`` checks equivariance of every sample.
    """

    def __init__(
        self, network: nn.Module, p: float | None = None, samples: int = 16, seed: int = 0, kind: Kind = "classes"
    ):
        super().__init__(network, kind)
        if samples < 2:
            raise InputError(f"samples {samples}: a spread needs at least 2")
        self.network, self.count, self.seed = network, samples, seed
        self.p = _probability(getattr(network, "p", 0.1) if p is None else p)
        if not _places(network, True):
            raise InputError(f"{type(network).__name__} has nothing to drop: no residual blocks, no dropout; use "
                             "an ensemble or the Laplace approximation")  # fmt: skip

    def samples(self, x: Tensor, *surface: Any) -> Tensor:
        found = []
        for k in range(self.count):
            with dropped(self.network, self.p, _drawn(self.seed * 1_000_003 + k), others=True):
                found.append(self.network(x, *surface))
        return torch.stack(found)


@contextmanager
def dropped(network: nn.Module, p: float, draw: Draw, others: bool) -> Iterator[None]:
    """A context in which copies of fields are dropped after residual blocks and, with ``others``, in dropout layers."""

    def drop(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        chance = p if isinstance(module, ResidualBlock) else float(module.p)  # type: ignore[arg-type]
        kind = FieldType(module.out_type) if hasattr(module, "out_type") else None  # type: ignore[arg-type]
        keep = draw(output.shape[-1] if kind is None else kind.num_fields, chance).to(output)
        factor = keep / (1 - chance) if chance < 1 else keep
        return output * (factor if kind is None else kind.per_component(factor))

    handles = [module.register_forward_hook(drop) for module in _places(network, others)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drawn(seed: int) -> Draw:
    """The same copies in every call, one place after the other."""
    generator = torch.Generator().manual_seed(seed)
    return lambda n, p: torch.rand(n, generator=generator) >= p


def _places(network: nn.Module, others: bool) -> list[nn.Module]:
    kinds = (ResidualBlock, nn.Dropout, FieldDropout) if others else (ResidualBlock,)
    return [module for module in network.modules() if isinstance(module, kinds)]


def _probability(p: float) -> float:
    if not 0 < p < 1:
        raise InputError(f"dropout {p} is not between 0 and 1; write 0.1 for one in ten")
    return p
