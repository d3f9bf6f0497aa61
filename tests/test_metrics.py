"""The weighted confusion matrix against torchmetrics, by hand, and over processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from meshconv.train.metrics.confusion import ClassMetrics, Confusion


@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_equal_weights_agree_with_torchmetrics(classes, weight):
    """40 classes and 60 points: some are in truth or prediction alone, some in neither."""
    predicted, target = torch.randint(classes, (2, 60))
    metric = Confusion(classes)
    metric.update(predicted[:20], target[:20], torch.full((20,), weight))
    metric.update(predicted[20:], target[20:], torch.full((40,), weight))
    metrics = metric.metrics
    close = {"rtol": 1e-6, "atol": 1e-6, "check_dtype": False}
    expected = MulticlassConfusionMatrix(classes)(predicted, target)
    torch.testing.assert_close(metric.compute(), weight * expected.double(), **close)
    for value, other in (
        (metrics.accuracy, MulticlassAccuracy(classes, average="micro")),
        (metrics.mean_iou, MulticlassJaccardIndex(classes, average="macro")),
        (metrics.mean_f1, MulticlassF1Score(classes, average="macro")),
        (metrics.iou.nan_to_num(0), MulticlassJaccardIndex(classes, average="none")),
        (metrics.f1.nan_to_num(0), MulticlassF1Score(classes, average="none")),
        (metrics.recall.nan_to_num(0), MulticlassAccuracy(classes, average="none")),
    ):
        torch.testing.assert_close(value, other(predicted, target), **close)


def test_weights_by_hand():
    metric = Confusion(3)
    metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 0]), torch.tensor([4.0, 3.0, 2.0, 1.0]))
    metrics = metric.metrics
    assert metric.compute().tolist() == [[4, 1, 0], [3, 2, 0], [0, 0, 0]]
    assert float(metrics.accuracy) == pytest.approx(0.6)
    assert metrics.iou[:2].tolist() == pytest.approx([4 / 8, 2 / 6])
    assert metrics.iou[2].isnan()
    assert float(metrics.mean_iou) == pytest.approx((4 / 8 + 2 / 6) / 2)
    assert metrics.recall[:2].tolist() == pytest.approx([4 / 5, 2 / 5])
    assert metrics.precision[:2].tolist() == pytest.approx([4 / 7, 2 / 3])


def test_many_small_weights_are_summed_exactly_enough():
    """A million points of weight 0.1 and one of 1: float32 sums would be off by hundreds."""
    metric = Confusion(2)
    ones = torch.ones(100_000, dtype=torch.int64)
    for _ in range(10):
        metric.update(ones, ones, torch.full((100_000,), 0.1, dtype=torch.float64))
    metric.update(ones[:1], ones[:1] - 1)
    assert float(metric.compute()[1, 1]) == pytest.approx(1e5, rel=1e-10)
    assert float(metric.half().compute()[0, 1]) == 1
    assert metric.compute().dtype == torch.float64


def test_nothing_counted_is_not_a_number():
    metric = Confusion(2)
    metric.update(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    metrics = metric.metrics
    assert all(value.isnan() for value in (metrics.accuracy, metrics.mean_iou, metrics.mean_f1))


def test_renaming_classes_renames_the_scores():
    confusion, order = torch.rand(5, 5, dtype=torch.float64), torch.randperm(5)
    renamed, metrics = ClassMetrics(confusion[order][:, order]), ClassMetrics(confusion)
    torch.testing.assert_close(renamed.iou, metrics.iou[order])
    torch.testing.assert_close(renamed.mean_f1, metrics.mean_f1)
    torch.testing.assert_close(ClassMetrics(confusion.T).precision, metrics.recall)


WORKER = """
import json, sys
import torch
import torch.distributed as dist
from meshconv.train.metrics.confusion import Confusion

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
generator = torch.Generator().manual_seed(rank)
metric = Confusion(3)
for _ in range(rank + 1):  # not as many batches on both
    predicted, target = torch.randint(3, (2, 10), generator=generator)
    metric.update(predicted, target, torch.rand(10, generator=generator))
alone = metric.confusion.tolist()
print(json.dumps([alone, metric.compute().tolist(), metric.confusion.tolist()]))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_processes_add_their_points(tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    commands = [[sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store")] for rank in range(2)]
    results = []
    for process in [subprocess.Popen(command, **pipes) for command in commands]:
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        results.append([torch.tensor(m, dtype=torch.float64) for m in json.loads(said)])
    (first, both, _), (second, other, after) = results
    torch.testing.assert_close(both, first + second)
    assert torch.equal(both, other)
    assert torch.equal(after, second)  # what a process has counted itself stays its own
