"""The field type that scalar data on a surface ask for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.lie.likelihood import coordinates
from meshconv.lie.pairs import as_signals
from meshconv.lie.rings import reach, ring_samples
from meshconv.lie.subgroup import ToroidalSubgroup
from meshconv.lie.von_mises import log_i0, modulus

_RADII = (0.4, 0.7)
_MOST_PAIRS = 4000
_FEWEST_PAIRS = 40


def ring_pairs(
    graph: GaugeGraph, x: Tensor, num_samples: int = 16, noise: float = 0.1, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Rings round points, in the frames of the graph and in frames turned at random.

    Parameters
    ----------
    graph : GaugeGraph
    x : Tensor [V] or [V, C]
        Scalars; each channel is brought to mean 0 and variance 1 and is a signal of its own.
    num_samples
        On each of two circles, at 0.4 and 0.7 of the radius of the neighbourhoods.
    noise
        Standard deviation of what is added to every sample of either ring.

    Returns
    -------
    x, y : float64 Tensor [n, 2 num_samples]
    angles : float64 Tensor [n]
        By which the signal turns in its frame, radians.

    Raises
    ------
    InputError
        Another number of points than the graph's, NaN, constant channels, or too few points with rings.
    """
    values = torch.as_tensor(x)
    values = as_signals(values[:, None] if values.dim() == 1 else values, "x")
    if len(values) != graph.num_vertices:
        raise InputError(f"x: {len(values)} points, the graph has {graph.num_vertices}; give [V] or [V, C]")
    spread = values.std(0)
    if bool((spread <= 1e-12 * values.abs().amax(0)).any()):
        number = int((spread <= 1e-12 * values.abs().amax(0)).nonzero()[0])
        raise InputError(f"x: channel {number} is constant; leave it out")
    if num_samples < 3:
        raise InputError(f"num_samples {num_samples}: an order above 0 takes at least 3 on a ring")
    if not noise > 0:
        raise InputError(f"noise {noise}: give a number above 0, the share of the signal that does not count")
    values = (values - values.mean(0)) / spread
    generator = torch.Generator().manual_seed(seed)
    alpha = graph.random_gauge(generator).cpu()
    radii = [share * reach(graph) for share in _RADII]
    first, inside = ring_samples(graph, values, radii, num_samples)
    second, also = ring_samples(graph, values, radii, num_samples, alpha)
    kept = inside & also
    if int(kept.sum()) * values.shape[1] < _FEWEST_PAIRS:
        raise InputError(
            f"graph: {int(kept.sum())} points have neighbours all round, {_FEWEST_PAIRS} are needed; "
            "take larger neighbourhoods or more points"
        )
    signals = [(r[kept].flatten(0, 1)).flatten(1) for r in (first, second)]
    signals = [s + noise * torch.randn(s.shape, generator=generator, dtype=s.dtype) for s in signals]
    angles = -alpha[kept].repeat_interleave(values.shape[1])
    rows = torch.randperm(len(angles), generator=generator)[:_MOST_PAIRS]
    return signals[0][rows], signals[1][rows], angles[rows]


def suggest_type(
    graph: GaugeGraph, x: Tensor, *, noise: float = 0.1, num_samples: int = 16, seed: int = 0
) -> FieldType:
    r"""Orders and multiplicities that a scalar's neighbourhoods are worth, by held-out likelihood.

    Rings round the points, turned by changes of gauge, are pairs from which a :class:`ToroidalSubgroup` learns planes;
    their weights are the orders. In each order the planes are brought to principal axes. A plane is kept where on
    held-out pairs it explains more than noise does,

    .. math:: \operatorname{mean}\big[\log I_0(|u||v| / \sigma^2) - |u|^2 / 2 \sigma^2\big] > 0

    by two standard errors; for components that do not turn, the scalars, the first term is :math:`u v / \sigma^2`.

    Parameters
    ----------
    graph : GaugeGraph
        One surface or a batch; neighbourhoods of some 20 points resolve orders up to about 4.
    x : Tensor [V] or [V, C]
        Scalars. Channels are taken as samples of one kind of signal: the type is that of one channel.
    noise
        What does not count: a share of the signal's standard deviation at every sample. Less noise, more orders.
    num_samples
        On a ring; orders up to half of it exclusive can be found.
    seed

    Returns
    -------
    FieldType

    Raises
    ------
    InputError
        As :func:`ring_pairs`, and where nothing rises above the noise.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> graph = HealpixSphere(8).gauge_graph()
    >>> suggest_type(graph, graph.positions)  # spherical harmonics of degree 1: a value and a gradient
    FieldType('1x0 + 1x1')
    """
    first, second, angles = ring_pairs(graph, x, num_samples, noise, seed)
    half = len(first) // 2
    train, held = (first[:half], second[:half]), (first[half:], second[half:])
    # On each of two rings, orders from 1 to below half of the samples.
    model = ToroidalSubgroup(2 * ((num_samples - 1) // 2), max_weight=num_samples // 2, steps=300, seed=seed)
    model.fit(train, angles[:half])
    columns, square = principal_columns(model, train[0]), model.noise.square()
    counts = [0] * (num_samples // 2 + 1)
    for order, basis in columns.items():
        u, v = (coordinates(p, basis) if order else (p @ basis)[..., None] for p in held)
        size = u.square().sum(-1) / (2 * square)
        fit = log_i0(modulus(u) * modulus(v) / square) if order else (u * v).sum(-1) / square
        gain = fit - size
        error = gain.std(0) / math.sqrt(len(gain))
        counts[order] = int((gain.mean(0) > 2 * error).sum())
    if not any(counts):
        raise InputError(f"x: nothing rises above noise {noise}; give less noise")
    return FieldType.from_multiplicities(counts)


def principal_columns(model: ToroidalSubgroup, x: Tensor) -> dict[int, Tensor]:
    """Orthonormal columns of every weight in its principal axes: ``[dim, m]`` of weight 0, ``[dim, 2 m]`` of others.

    Planes of one weight are known up to a unitary mixture; the covariance of their complex coordinates fixes it. Weight
    0 includes what lies outside of the planes.
    """
    moving = model.weights > 0
    basis = model.planes[moving].transpose(0, 1).flatten(1)
    kept = torch.linalg.qr(basis, mode="complete").Q[:, basis.shape[1] :]
    found = {0: kept @ torch.linalg.eigh((x @ kept).mT @ (x @ kept)).eigenvectors.flip(-1)}
    for weight in model.weights[moving].unique().tolist():
        planes = torch.view_as_complex(model.planes[model.weights == weight].contiguous())
        u = x.to(planes.dtype) @ planes.mT
        mixing = torch.linalg.eigh(u.mH @ u).eigenvectors.flip(-1)
        # Coordinates u of real signals mix as u @ mixing; so do the complex columns.
        found[weight] = torch.view_as_real((planes.mT @ mixing).contiguous()).flatten(1)
    return found
