"""Tasks of classes: what counts and how much, balanced weights, files of a test, and going on from a checkpoint."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from meshconv import GaugeGraph, HealpixSphere, InputError
from meshconv.datasets import MeshSample, SurfaceBatch, collate, generate_shape
from meshconv.demo.run import model_results
from meshconv.train import ClassificationTask, SegmentationTask, load_task
from meshconv.train.loop.run import run_options
from meshconv.train.metrics.confusion import Confusion
from meshconv.train.metrics.point_weights import point_weights

NAMES = ["land", "lake", "peak"]
SPEC = {"data": "meshconv.datasets.MeshSegments", "element": "vertices", "class_values": [0, 1]}


class Points(lightning.LightningDataModule):
    """Points on a sphere, 3 % of which are a class of their own that the inputs tell only half of the time."""

    num_levels, in_type, class_names, spec = 1, "2x0", NAMES[:2], SPEC

    def __init__(self, uneven: bool = False):
        super().__init__()
        self.graph = HealpixSphere(8).gauge_graph().to(torch.float32)
        if uneven:
            self.graph.areas.copy_(torch.linspace(0.5, 1.5, 768))
        generator = torch.Generator().manual_seed(1)
        self.batches = []
        for _ in range(4):
            target = (torch.rand(768, generator=generator) < 0.03).long()
            x = torch.randn(768, 2, generator=generator)
            x[:, 0] += 2.0 * target
            self.batches.append(SurfaceBatch(x, self.graph, target, None, ["sphere"]))

    @property
    def class_counts(self):
        return torch.cat([batch.target for batch in self.batches[:3]]).bincount(minlength=2)

    def train_dataloader(self):
        return DataLoader(self.batches[:3], batch_size=None)

    def val_dataloader(self):
        return []

    def test_dataloader(self):
        return DataLoader(self.batches[3:], batch_size=None)


def task(**options):
    data = {"in_type": "2x0", "class_names": NAMES[:2], "spec": SPEC}
    return SegmentationTask("PixelwiseNetwork", **(data | {"options": {"width": 8, "layers": 1}} | options))


def fit(model, folder, data=None, epochs=12, **options):
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False, log_every_n_steps=1,
                                enable_model_summary=False, **run_options(folder), **options)  # fmt: skip
    trainer.fit(model, datamodule=data or Points())
    return trainer


def mesh_sample(target, elements=None):
    mesh = generate_shape("apart", np.random.default_rng(len(target)))
    graph = mesh.gauge_graph().to(torch.float32)
    x = torch.randn(graph.num_vertices, 2)
    return mesh, MeshSample(x, graph, target, "mesh", None, elements)


def test_points_count_by_area_on_maps_and_alike_on_meshes():
    batch = Points(uneven=True).batches[0]
    model = task(spec={"area_weights": True}, class_weights=[1.0, 4.0])
    logits = model(batch).detach()
    a = batch.surface.areas
    each = cross_entropy(logits, batch.target, torch.tensor([1.0, 4.0]), reduction="none")
    expected = (a * each).sum() / (a * torch.tensor([1.0, 4.0])[batch.target]).sum()
    counted, target, weights = model.counted(batch)
    torch.testing.assert_close(model.loss(counted, target, weights), expected)
    assert float(weights.mean()) == pytest.approx(1)
    assert task().counted(batch)[2] is None
    assert task(area_weights=True).counted(batch)[2] is not None
    assert task(spec={"area_weights": True}, area_weights=False).counted(batch)[2] is None


def test_whole_surfaces_have_no_area_weights():
    with pytest.raises(TypeError, match="area_weights"):
        ClassificationTask("PixelwiseNetwork", "2x0", NAMES, {}, area_weights=True)


def test_healpix_pixels_weigh_the_same_to_the_last_bit():
    assert (point_weights(Points().batches[0]) - 1).abs().max() < 1e-6


def test_masked_and_unknown_points_are_ignored():
    batch = Points(uneven=True).batches[0]
    x, target = torch.stack([batch.x, batch.x]), torch.stack([batch.target, batch.target])
    stacked = SurfaceBatch(x, batch.surface, target, None, ["", ""])
    mask = torch.zeros(2, 768, dtype=torch.bool)
    mask[1, 100:300] = True
    stacked.target[1, 100:200] = -1
    model = task(spec={"area_weights": True})
    logits, target, weights = model.counted(SurfaceBatch(stacked.x, batch.surface, stacked.target, mask, ["", ""]))
    assert torch.equal(target, batch.target[200:300])
    torch.testing.assert_close(weights, point_weights(batch)[200:300])
    torch.testing.assert_close(logits, model(stacked)[1, 200:300])
    nothing = SurfaceBatch(stacked.x, batch.surface, stacked.target, torch.zeros_like(mask), ["", ""])
    loss = model.loss(*model.counted(nothing))
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("corners", [2, 3])
def test_elements_weigh_by_length_or_area(corners):
    """Two meshes of different size: each is measured in means of its own."""
    samples, sizes = [], []
    for scale in (1.0, 50.0):
        mesh, sample = mesh_sample(torch.zeros(7, dtype=torch.int64))
        elements = torch.from_numpy(np.ascontiguousarray(mesh.faces[:, :corners]))
        ends = scale * mesh.vertices[elements]
        size = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) if corners == 2 else scale**2 * mesh.face_areas
        sizes.append(torch.from_numpy(size / size.mean()))
        graph = GaugeGraph(**{**vars(sample.surface), "positions": scale * sample.surface.positions})
        samples.append(replace(sample, surface=graph, target=torch.zeros(len(elements)).long(), elements=elements))
    torch.testing.assert_close(point_weights(collate(samples)), torch.cat(sizes), rtol=1e-3, atol=1e-4)


class Averages(torch.nn.Module):
    """Stands for a network that takes elements."""

    def forward(self, x, surface, elements=None):
        return x if elements is None else x[elements].mean(1)


def test_elements_are_handed_to_the_network():
    target = torch.tensor([0, 1, -1])
    _, sample = mesh_sample(target, torch.tensor([[0, 1], [1, 2], [2, 3]]))
    model = task()
    model.network = Averages()
    batch = collate([sample, sample])
    logits, found, _ = model.counted(batch)
    assert found.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(logits[:2], (sample.x[0:2] + sample.x[1:3]) / 2)
    torch.testing.assert_close(logits[2:], logits[:2])
    torch.testing.assert_close(model(collate([replace(sample, elements=None)])), sample.x)


def test_balanced_weights_stand_in_the_checkpoint(tmp_path):
    model = task(class_weights="balanced", data=Points())
    fit(model, tmp_path / "run", epochs=1)
    counts = Points().class_counts
    torch.testing.assert_close(model.loss.weight, counts.sum() / (2 * counts))
    assert torch.equal(load_task(tmp_path / "run" / "last.ckpt").loss.weight, model.loss.weight)
    with pytest.raises(InputError, match="class_counts"):
        lightning.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu").fit(
            task(class_weights="balanced", data=object()), Points().train_dataloader()
        )


@pytest.mark.slow
def test_rare_classes_are_found_by_dice_and_focused_by_weights(tmp_path):
    """3 % of the points: what is lost with plain cross-entropy."""
    found = {}
    for name, options in {
        "plain": {},
        "dice": {"loss": "dice"},
        "both": {"loss": "cross_entropy+dice"},
        "balanced": {"class_weights": "balanced", "data": Points()},
    }.items():
        torch.manual_seed(0)
        model = task(learning_rate=0.03, **options)
        fit(model, tmp_path / name, epochs=30).test(model, datamodule=Points(), verbose=False)
        found[name] = model.test_confusion.metrics
    assert float(found["dice"].iou[1]) > float(found["plain"].iou[1]) + 0.05
    assert float(found["both"].iou[1]) > float(found["plain"].iou[1]) + 0.05
    assert float(found["balanced"].recall[1]) > float(found["plain"].recall[1]) + 0.3


def test_a_test_leaves_its_numbers_and_its_confusion_matrix(tmp_path):
    data = Points(uneven=True)
    model = task(class_names=NAMES, spec={"area_weights": True})
    folder = tmp_path / "run"
    trainer = lightning.Trainer(accelerator="cpu", enable_progress_bar=False, **run_options(folder))
    trainer.test(model, datamodule=data, verbose=False)
    (batch,) = data.test_dataloader()
    with torch.no_grad():
        predicted = model.eval()(batch).argmax(-1)
    a = batch.surface.areas / batch.surface.areas.mean()
    rows = list(csv.reader((folder / "confusion.csv").read_text().splitlines()))
    assert rows[0] == ["truth", *NAMES]
    assert [row[0] for row in rows[1:]] == NAMES
    table = np.array([[float(v) for v in row[1:]] for row in rows[1:]])
    for i, j in np.ndindex(3, 3):
        assert table[i, j] == pytest.approx(float(a[(batch.target == i) & (predicted == j)].sum()), rel=1e-5, abs=1e-9)
    numbers = json.loads((folder / "test_metrics.json").read_text())
    assert numbers["accuracy"] == pytest.approx(np.trace(table) / table.sum(), rel=1e-6)
    assert numbers["weighted_by"] == "area"
    assert [row["name"] for row in numbers["classes"]] == NAMES
    assert numbers["iou/lake"] == pytest.approx(numbers["classes"][1]["iou"], rel=1e-5)
    assert numbers["mean_iou"] == pytest.approx(np.mean([c["iou"] for c in numbers["classes"] if c["iou"] is not None]))
    assert numbers["classes"][2]["recall"] is None  # no peaks
    assert (folder / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_training_goes_on_from_a_checkpoint(tmp_path):
    """Six epochs at once, or stopped after two: the same weights, with balanced class weights."""
    whole, parts = (task(class_weights="balanced", data=Points()) for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    fit(whole, tmp_path / "whole", epochs=6)

    class Stop(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 2

    options = run_options(tmp_path / "parts")
    options["callbacks"].insert(0, Stop())
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(max_epochs=6, **quiet, **options).fit(parts, datamodule=Points())
    again = task(class_weights="balanced", data=Points())
    trainer = lightning.Trainer(max_epochs=6, **quiet, **run_options(tmp_path / "parts"))
    trainer.fit(again, datamodule=Points(), ckpt_path=tmp_path / "parts" / "last.ckpt")
    assert trainer.global_step == 18
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_old_checkpoints_load(tmp_path):
    """Those of a version that knew one loss: weights of classes in a buffer of torch's, fewer hyperparameters."""
    spec = SPEC | {"data": "meshconv.datasets.MeshFolder", "class_values": [0, 1, 2]}
    model = ClassificationTask("PixelwiseNetwork", "2x0", NAMES, spec, class_weights=[1.0, 2.0, 3.0])
    kept = ("network", "in_type", "class_names", "spec", "options", "learning_rate", "weight_decay", "label_smoothing")
    hparams = {name: model.hparams[name] for name in kept} | {"_instantiator": "x"}
    plain = {k: v for k, v in model.state_dict().items() if not k.startswith("loss.")}
    said = {"meshconv": {"task": "meshconv.train.ClassificationTask"}}
    torch.save({**said, "hyper_parameters": hparams, "state_dict": plain}, tmp_path / "plain.ckpt")
    weighted = plain | {"loss.weight": torch.tensor([1.0, 2.0, 3.0])}
    hparams = hparams | {"class_weights": [1.0, 2.0, 3.0]}
    torch.save({**said, "hyper_parameters": hparams, "state_dict": weighted}, tmp_path / "weighted.ckpt")
    assert load_task(tmp_path / "plain.ckpt").loss.weight is None
    assert load_task(tmp_path / "weighted.ckpt").loss.weight.tolist() == [1, 2, 3]


def test_scores_of_the_demonstration_are_those_of_the_metrics():
    probabilities, target = torch.rand(100, 2), torch.randint(2, (100,))
    score = model_results(task(), "net", probabilities, target, 1.0, None, True)
    confusion = Confusion(2)
    confusion.update(probabilities.argmax(-1), target)
    assert score.accuracy == float((probabilities.argmax(-1) == target).double().mean())
    assert score.mean_iou == float(confusion.metrics.mean_iou)
    assert score.class_iou == confusion.metrics.iou.tolist()
    assert model_results(task(), "net", probabilities, target, 1.0, None, False).mean_iou is None
