"""Temperature of probabilities, and noise of fields, by maximum likelihood."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from meshconv.errors import InputError
from meshconv.uncertainty.sampled import mean_log_probability

# Temperatures from 1/50 to 50; noise from 1e-4 to 100 times the error.
_WIDEST = math.log(50)


def fit_temperature(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> float:
    r"""The temperature T of least :math:`-\sum_i a_i \log \frac1S \sum_s \mathrm{softmax}(z_{si} / T)_{t_i}`.

    Parameters
    ----------
    logits : Tensor [S, N, classes]
        Of S samples; of a single network S is 1.
    target : int64 Tensor [N]
    weights : Tensor [N], optional

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017.

    Examples
    --------
    >>> logits = torch.tensor([[[2.0, 0.0]] * 4])  # three of four are right: the logit of 3/4 is log 3
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])) * math.log(3), 4)
    2.0
    """
    if not len(target):
        raise InputError("a temperature needs targets, there are none; use a split that has some")
    z = logits.double()
    a = torch.ones(len(target), dtype=z.dtype) if weights is None else weights.to(z)

    def loss(log_t: float) -> float:
        logp = mean_log_probability(z, math.exp(log_t))
        return float(-(a * logp.gather(-1, target[:, None])[:, 0]).sum() / a.sum())

    return math.exp(minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-7}).x)


def fit_noise(squares: Tensor, variance: Tensor, weights: Tensor | None = None) -> float:
    r"""The variance :math:`\sigma^2` of least :math:`\sum_i a_i [\log(\sigma^2 + v_i) + r_i^2 / (\sigma^2 + v_i)]`.

    Parameters
    ----------
    squares : Tensor [N]
        Square errors :math:`r_i^2` of a component.
    variance : Tensor [N]
        :math:`v_i` between samples; 0 for a single network, whose noise is the mean square error.
    weights : Tensor [N], optional

    Examples
    --------
    >>> round(fit_noise(torch.tensor([1.0, 3.0]), torch.zeros(2)), 6)
    2.0
    """
    r, v = squares.double(), variance.double()
    if not len(r):
        raise InputError("noise needs targets, there are none; use a split that has some")
    a = torch.ones_like(r) if weights is None else weights.to(r)
    mean = float((a * r).sum() / a.sum())
    if mean == 0 or not v.any():
        return mean

    def loss(log_noise: float) -> float:
        total = mean * math.exp(log_noise) + v
        return float((a * (total.log() + r / total)).sum() / a.sum())

    return mean * math.exp(minimize_scalar(loss, bounds=(-18.0, 2.0), method="bounded", options={"xatol": 1e-7}).x)
