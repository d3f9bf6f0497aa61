"""Classification losses with weights of points and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from meshconv.datasets.class_path import import_class
from meshconv.errors import InputError
from meshconv.ranks import mean_over_ranks, sum_over_ranks

LossName = Literal["cross_entropy", "dice", "focal", "cross_entropy+dice"]
ClassWeights = Sequence[float] | Literal["balanced"] | None


class ClassLoss(nn.Module):
    r"""Classification loss of logits, with weights :math:`a_i` of points and :math:`w_c` of classes.

    - ``cross_entropy``: :math:`\sum_i a_i w_{t_i} \ell_i / \sum_i a_i w_{t_i}`, with ``label_smoothing`` as in torch.
    - ``focal`` (Lin et al. 2017): :math:`\ell_i = -(1 - p_{i t_i})^\gamma \log p_{i t_i}` in the same mean:
      well-classified points have small weights.
    - ``dice``: one minus the mean, with :math:`w_c`, of
      :math:`2 \sum_i a_i p_{ic} y_{ic} / \sum_i a_i (p_{ic} + y_{ic})` over the classes in the batch. All
      classes have the same weight.
    - ``cross_entropy+dice``: their sum.

    Parameters
    ----------
    num_classes
    kind : str
        One of the above.
    class_weights : list of float, "balanced" or None
        :math:`w_c`; ``"balanced"`` is set by :meth:`balance` before training; None: all 1. They stand in checkpoints.
    label_smoothing
        Share of the target spread over all classes; of the cross-entropy.
    focal_gamma
        :math:`\gamma`.

    Raises
    ------
    InputError
        Weights that do not fit the classes, or an unknown kind.

    Notes
    -----
    ``tests/test_losses.py`` compares with torch's own cross-entropy, and with the definitions.

    Examples
    --------
    >>> logits, target = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 1])
    >>> bool(ClassLoss(2)(logits, target) == nn.functional.cross_entropy(logits, target))
    True
    """

    weight: Tensor | None

    def __init__(
        self,
        num_classes: int,
        kind: str = "cross_entropy",
        class_weights: ClassWeights = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
    ):
        super().__init__()
        if kind not in get_args(LossName):
            known = ", ".join(get_args(LossName))
            raise InputError(f"loss {kind!r} is not known; use one of {known}, or a class path")
        if label_smoothing and "cross_entropy" not in kind:
            raise InputError(f"label_smoothing is for cross_entropy; set it to 0 for {kind}")
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing {label_smoothing} is not in [0, 1)")
        if focal_gamma < 0:
            raise InputError(f"focal_gamma {focal_gamma} is below 0")
        self.parts = [_KINDS[part] for part in kind.split("+")]
        self.balanced = class_weights == "balanced"
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        self.register_buffer("weight", _class_weights(class_weights, num_classes))

    def balance(self, counts: Tensor) -> None:
        """Set ``"balanced"`` weights: inverse class frequencies, normalised to 1 for an equal share.

        Parameters
        ----------
        counts : int64 Tensor [classes]
            Training targets of each class. One without any has weight 0.
        """
        assert self.weight is not None
        if counts.shape != self.weight.shape:
            raise InputError(f"class_counts has shape {list(counts.shape)} for {len(self.weight)} classes")
        present = counts > 0
        share = counts.to(torch.float64) / counts.sum().clamp(min=1) * present.sum()
        self.weight.copy_(torch.where(present, 1 / share.clamp(min=1e-300), 0.0))

    def forward(self, logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Scalar loss; 0 (with a gradient of 0) if nothing is given.

        Parameters
        ----------
        logits : Tensor [N, classes]
        target : int64 Tensor [N]
            None below 0.
        weights : Tensor [N], optional
            :math:`a_i`; all 1 by default.
        """
        if not len(target):
            return logits.sum()
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        a = logits.new_ones(len(target)) if weights is None else weights.to(logits.dtype)
        w = logits.new_ones(logits.shape[-1]) if self.weight is None else self.weight.to(logits.dtype)
        return torch.stack([part(self, logits, target, a, w) for part in self.parts]).sum()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load checkpoints without class weights, keeping those of this loss."""
        if self.weight is not None:
            state_dict.setdefault(f"{prefix}weight", self.weight)
        super()._load_from_state_dict(state_dict, prefix, *args)


class OwnLoss(nn.Module):
    """A loss by its class path, called with predictions ``[N, ...]`` and targets ``[N]``.

    It returns one value for each of them, of which the weighted mean is taken, or, where nothing has weights, the mean
    itself. Losses of torch do the former with ``reduction: none``.

    Parameters
    ----------
    path : str
    options : dict, optional
        Arguments of the constructor.

    Raises
    ------
    InputError
        No such class, or arguments that it does not take; when called, one value where there are weights.

    Examples
    --------
    >>> loss = OwnLoss("torch.nn.MultiMarginLoss", {"reduction": "none"})
    >>> loss(torch.eye(2), torch.tensor([0, 0]), torch.tensor([1.0, 0.0])).item()
    0.0
    """

    balanced = False

    def __init__(self, path: str, options: Mapping[str, Any] | None = None):
        super().__init__()
        self.path, self.loss = path, construct_loss(path, options)

    def forward(self, prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Scalar loss; 0 (with a gradient of 0) if nothing is given."""
        if not len(target):
            return prediction.sum()
        each = self.loss(prediction, target)
        if each.ndim == 0:
            if weights is not None:
                raise InputError(
                    f"loss {self.path} gives one value for all points, which have weights; let it give one for each "
                    "(of torch's: reduction: none), or set area_weights to false"
                )
            return each
        a = torch.ones_like(each) if weights is None else weights.to(each.dtype)
        return (a * each).sum() / _total(a, self)


def construct_loss(path: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Module by its class path; an :class:`InputError` if it does not fit."""
    cls = import_class(path, nn.Module)
    try:
        return cls(**(options or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"loss_options of {path}: {error}") from error


def _cross_entropy(loss: ClassLoss, logits: Tensor, target: Tensor, a: Tensor, w: Tensor) -> Tensor:
    each = nn.functional.cross_entropy(logits, target, w, reduction="none", label_smoothing=loss.label_smoothing)
    return (a * each).sum() / _total(a * w[target], loss)


def _focal(loss: ClassLoss, logits: Tensor, target: Tensor, a: Tensor, w: Tensor) -> Tensor:
    log_p = logits.log_softmax(-1).gather(-1, target[:, None]).squeeze(-1)
    # The least value bounds the derivative of the power where gamma < 1.
    missing = -torch.expm1(log_p).clamp(max=-torch.finfo(logits.dtype).eps)
    a = a * w[target]
    return -(a * missing**loss.focal_gamma * log_p).sum() / _total(a, loss)


def _dice(loss: ClassLoss, logits: Tensor, target: Tensor, a: Tensor, w: Tensor) -> Tensor:
    p, y = logits.softmax(-1), nn.functional.one_hot(target, logits.shape[-1]).to(logits.dtype)
    sums = torch.stack([a @ (p * y), a @ p, a @ y])
    both, found, truth = sum_over_ranks(sums) if loss.training else sums
    present = truth > 0
    dice = 2 * both[present] / (found + truth)[present]
    return (w[present] * (1 - dice)).sum() / w[present].sum().clamp(min=torch.finfo(w.dtype).tiny)


def _total(weights: Tensor, loss: nn.Module) -> Tensor:
    """Their sum, in training the mean of the sums of all processes; where all are 0 so is what it divides."""
    total = mean_over_ranks(weights.sum()) if loss.training else weights.sum()
    return total.clamp(min=torch.finfo(weights.dtype).tiny)


def _class_weights(given: ClassWeights, num_classes: int) -> Tensor | None:
    if given is None:
        return None
    if isinstance(given, str):
        if given != "balanced":
            raise InputError(f"class_weights {given!r}: give a list of numbers, or 'balanced'")
        return torch.ones(num_classes)
    weight = torch.tensor(list(given), dtype=torch.float32)
    if len(weight) != num_classes:
        raise InputError(f"class_weights has {len(weight)} entries for {num_classes} classes")
    if not (weight.isfinite().all() and (weight >= 0).all() and weight.any()):
        raise InputError(f"class_weights {list(given)} have to be finite, not below 0, and one of them above")
    return weight


_KINDS: dict[str, Callable[..., Tensor]] = {"cross_entropy": _cross_entropy, "dice": _dice, "focal": _focal}
