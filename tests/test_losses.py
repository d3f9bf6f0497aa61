"""Losses of classes against their definitions, torch's cross-entropy, and the ways in which they must not fail."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.nn.functional import cross_entropy

from meshconv import InputError
from meshconv.train.metrics.losses import ClassLoss, LossName

KINDS = get_args(LossName)


@pytest.fixture
def points():
    logits = torch.randn(40, 3, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(3, (40,)), torch.rand(40, dtype=torch.float64)


@pytest.mark.parametrize("class_weights", [None, [1.0, 5.0, 0.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_points_have_the_cross_entropy_of_torch(points, class_weights, smoothing):
    logits, target, _ = points
    w = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    expected = cross_entropy(logits, target, w, label_smoothing=smoothing)
    loss = ClassLoss(3, "cross_entropy", class_weights, smoothing)
    torch.testing.assert_close(loss(logits, target), expected)
    torch.testing.assert_close(loss(logits, target, torch.full((40,), 7.0)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_of_weight_two_is_two_points(points, kind):
    logits, target, _ = points
    weights = torch.tensor([2.0] * 20 + [1.0] * 20)
    loss = ClassLoss(3, kind, [1.0, 5.0, 0.5])
    twice = loss(torch.cat([logits, logits[:20]]), torch.cat([target, target[:20]]))
    torch.testing.assert_close(loss(logits, target, weights), twice)


def test_focal_by_hand(points):
    logits, target, a = points
    p = logits.softmax(-1)[torch.arange(40), target]
    expected = (a * -((1 - p) ** 1.5) * p.log()).sum() / a.sum()
    torch.testing.assert_close(ClassLoss(3, "focal", focal_gamma=1.5)(logits, target, a), expected)
    plain = ClassLoss(3, "focal", focal_gamma=0.0)(logits, target, a)
    torch.testing.assert_close(plain, ClassLoss(3)(logits, target, a))


def test_dice_by_hand(points):
    logits, target, a = points
    p, w = logits.softmax(-1), [1.0, 5.0, 0.5]
    dice = [2 * (a * p[:, c])[target == c].sum() / ((a * p[:, c]).sum() + a[target == c].sum()) for c in range(3)]
    expected = sum(w[c] * (1 - dice[c]) for c in range(3)) / sum(w)
    torch.testing.assert_close(ClassLoss(3, "dice", w)(logits, target, a), expected)
    both = ClassLoss(3, "cross_entropy+dice", w)(logits, target, a)
    torch.testing.assert_close(both, expected + ClassLoss(3, "cross_entropy", w)(logits, target, a))


def test_dice_is_of_the_classes_that_occur():
    sure = 50 * torch.eye(4)[[0, 0, 2]]
    assert float(ClassLoss(4, "dice")(sure, torch.tensor([0, 0, 2]))) < 1e-6
    assert float(ClassLoss(4, "dice")(sure, torch.tensor([1, 1, 1]))) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(points, kind):
    logits, target, a = points
    loss = ClassLoss(3, kind, [1.0, 5.0, 0.5], focal_gamma=0.5)
    assert torch.autograd.gradcheck(lambda s: loss(s, target, a), (logits,))
    (gradient,) = torch.autograd.grad(loss(logits, target, a), logits)
    assert (gradient.abs().sum(-1) > 0).all()  # every point is heard
    step = logits - 0.1 * gradient
    assert loss(step, target, a) < loss(logits, target, a)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("class_weights", [None, [0.0, 1.0, 1.0]])
def test_nothing_that_counts_is_no_loss_and_a_gradient_of_zero(kind, class_weights):
    logits = torch.randn(5, 3, requires_grad=True)
    loss = ClassLoss(3, kind, class_weights)
    none = torch.zeros(5, dtype=torch.bool)
    empty = loss(logits[none], torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    weightless = ClassLoss(3, kind, [0.0, 1.0, 1.0])(logits, torch.zeros(5, dtype=torch.int64))
    for value in (empty, weightless):
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.item() == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_certain_scores_stay_finite(kind, dtype):
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4]], dtype=dtype, requires_grad=True)
    for gamma in (0.5, 2.0):
        loss = ClassLoss(2, kind, focal_gamma=gamma)(logits, torch.tensor([0, 1]))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_balanced_weights_make_classes_equal():
    loss = ClassLoss(4, "cross_entropy", "balanced")
    loss.balance(torch.tensor([90, 9, 0, 1]))
    torch.testing.assert_close(loss.weight, torch.tensor([100 / 270, 100 / 27, 0.0, 100 / 3]))
    torch.testing.assert_close(loss.weight[[0, 1, 3]] * torch.tensor([90, 9, 1]), torch.full((3,), 100 / 3))


def test_weights_stand_in_checkpoints_and_old_ones_load():
    balanced, plain = ClassLoss(2, class_weights="balanced"), ClassLoss(2)
    balanced.balance(torch.tensor([3, 1]))
    again = ClassLoss(2, class_weights="balanced")
    again.load_state_dict(balanced.state_dict())
    assert torch.equal(again.weight, balanced.weight)
    assert plain.state_dict() == {}
    again.load_state_dict(plain.state_dict())
    assert torch.equal(again.weight, balanced.weight)
    old = torch.nn.CrossEntropyLoss(torch.tensor([2.0, 3.0]))
    ClassLoss(2, class_weights=[2.0, 3.0]).load_state_dict(old.state_dict())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "hinge"}, "'hinge'.*cross_entropy, dice, focal"),
        ({"class_weights": [1.0, 2.0, 3.0]}, "3 entries for 2 classes"),
        ({"class_weights": [1.0, -2.0]}, "not below 0"),
        ({"class_weights": [1.0, float("nan")]}, "finite"),
        ({"class_weights": "fair"}, "'fair'"),
        ({"kind": "dice", "label_smoothing": 0.1}, "set it to 0 for dice"),
        ({"label_smoothing": 1.0}, "not in"),
        ({"focal_gamma": -1.0}, "below 0"),
    ],
)
def test_what_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        ClassLoss(2, **options)


def test_counts_of_other_classes():
    with pytest.raises(InputError, match=r"\[3\] for 2 classes"):
        ClassLoss(2, class_weights="balanced").balance(torch.ones(3, dtype=torch.int64))
