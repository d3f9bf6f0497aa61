"""Several tasks at once: fields and classes at vertices or faces, and numbers of meshes, from files to files."""

from __future__ import annotations

import copy
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_case import checkpoint
from meshes import icosphere

from meshconv import GaugeGraph, InputError, Predictor, Preprocess, TriangleMesh, fit
from meshconv.cli import main
from meshconv.datasets import MeshFieldsAndLabels, collate
from meshconv.export import export_network, open_program
from meshconv.io import read_mesh, save_mesh
from meshconv.nn import GaugeConv
from meshconv.train import JointTask, load_inference
from meshconv.uncertainty import uncertain

OPTIONS = {"cache": False, "workers": 0, "features": ["coordinates"], "test_fraction": 0.34}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, ball = tmp_path_factory.mktemp("joint"), icosphere(2)
    for k in range(3):
        x, z = ball.vertices[:, 0], ball.vertices[:, 2]
        data = {"height": z, "push": ball.vertices * [1, 0, 0], "side": np.where(z > 0, 7, 3),
                "zone": np.clip(np.floor(1.5 * x + 1.5), 0, 2)}  # fmt: skip
        middle = ball.vertices[ball.faces].mean(axis=1)
        of_faces = {"load": middle[:, 0], "half": (middle[:, 1] > 0).astype(np.int64)}
        save_mesh(TriangleMesh(ball.vertices * (1 + k / 10), ball.faces, "", data, of_faces), folder / f"{k}.vtp")
    return folder


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Balls of two sizes of meshes, one for testing; a table of two numbers, one of them unknown, one row missing."""
    folder = tmp_path_factory.mktemp("bodies")
    rows = ["mesh,work,mean"]
    for k in range(5):
        ball, split = icosphere(1 + k % 2), "test" if k == 4 else "train"
        mesh = replace(ball, vertices=ball.vertices * [1, 1 + k / 4, 2])
        z = mesh.vertices[:, 2]
        (folder / split).mkdir(exist_ok=True)
        data = {"height": z, "push": mesh.vertices * [1, 0, 0], "side": (z > 0).astype(np.int64)}
        of_faces = {"load": mesh.vertices[mesh.faces].mean(axis=1)[:, 0]}
        save_mesh(replace(mesh, vertex_data=data, face_data=of_faces), folder / split / f"{k}.vtp")
        if k != 3:
            mean = mesh.vertex_areas @ z**2 / mesh.vertex_areas.sum()
            rows.append(f"{k},{'' if k == 1 else 100 + k},{mean:.9g}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder


NUMBERS = {**{k: v for k, v in OPTIONS.items() if k != "test_fraction"}, "numbers": ["mean", "work"]}


class Perfect(torch.nn.Module):
    """Knows the answer: what it gives are the fields it is given."""

    num_levels = None

    def __init__(self, in_type: str, out_type: str):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.zeros(0, 0))

    def forward(self, x: torch.Tensor, surface: object) -> torch.Tensor:
        return self.answer


def task_of(data: MeshFieldsAndLabels, answer: torch.Tensor, **options: Any) -> JointTask:
    task = JointTask("test_joint.Perfect", str(data.in_type), data.field_names, data.spec, **options)
    task.network.answer = torch.nn.Parameter(answer)
    return task


def test_classes_are_scalars_behind_those_of_the_fields(root: Path, tmp_path: Path) -> None:
    data = MeshFieldsAndLabels(str(root), ["push", "height"], ["side", "zone"], tangent=False, **OPTIONS)
    columns = ["side=3", "side=7", "zone=0", "zone=1", "zone=2"]
    assert data.labels["side"] == [3, 7] and data.labels["zone"][:3] == [0, 1, 2]
    assert data.field_names[:2] == ["height", "push_normal"] and data.field_names[2:7] == columns
    (sample,), mesh = data.samples("test"), read_mesh(data.files["test"][0][0])
    side = mesh.vertex_data["side"]
    assert sample.target[:, 2].tolist() == (side == 3).tolist() and sample.target[:, 3].tolist() == (side == 7).tolist()
    mean, size = data.target_statistics
    assert (mean[2:7] == 0).all() and (size[2:7] == 1).all() and float(size[0]) == pytest.approx(3**-0.5, rel=0.02)
    task = task_of(data, sample.target)
    found = Predictor(task, "cpu", cache=False)(data.files["test"][0][0])
    assert list(found.fields) == ["height", "push", "side", "zone"]
    for name in found.fields:
        assert found.fields[name] == pytest.approx(mesh.vertex_data[name], abs=1e-5)
    again = read_mesh(found.write(tmp_path / "out")["file with predictions"])
    assert again.vertex_data["predicted_side"].tolist() == side.tolist()
    assert again.vertex_data["predicted_push"] == pytest.approx(mesh.vertex_data["push"], abs=1e-5)


def test_the_loss_by_hand_and_unknown_classes_do_not_count(root: Path) -> None:
    data = MeshFieldsAndLabels(str(root), ["height"], ["side"], **OPTIONS)
    (sample,) = data.samples("test")
    torch.manual_seed(0)
    answer = torch.randn(sample.target.shape)
    task, batch = task_of(data, answer, label_weight=0.5), collate([sample])
    task.normalise(*data.target_statistics)
    with torch.no_grad():
        predicted, target, weights, loss = task.compared(batch)
    size, w = data.target_statistics[1], weights / weights.sum()
    fields = (w * ((predicted[:, 0] - target[:, 0]) / size[0]) ** 2).sum()
    entropy = (w * -predicted[:, 1:].log_softmax(1)[target[:, 1:] == 1]).sum()
    assert float(loss) == pytest.approx(float(fields + 0.5 * entropy), rel=1e-5)
    other = sample.target.clone()
    other[40:, 1:] = torch.nan
    part = task.error(predicted, other, weights)
    w = weights[:40] / weights[:40].sum()
    entropy = (w * -predicted[:40, 1:].log_softmax(1)[target[:40, 1:] == 1]).sum()
    assert float(part) == pytest.approx(float(fields + 0.5 * entropy), rel=1e-5)
    other[:, 1:] = torch.nan
    assert float(task.error(predicted, other, weights)) == pytest.approx(float(fields), rel=1e-5)


def test_faces(root: Path) -> None:
    data = MeshFieldsAndLabels(str(root), ["load"], ["half"], element="faces", **OPTIONS)
    (sample,), mesh = data.samples("test"), read_mesh(data.files["test"][0][0])
    points = torch.from_numpy(mesh.vertices).float()
    task = task_of(data, torch.stack([points[:, 0], -points[:, 1], points[:, 1]], dim=1))
    found = Predictor(task, "cpu", cache=False)(data.files["test"][0][0])
    assert found.element == "faces" and len(sample.target) == mesh.num_faces
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    clear = np.abs(middle[:, 1]) > 1e-4
    assert found.fields["half"][clear].tolist() == (middle[clear, 1] > 0).tolist()
    assert found.fields["load"] == pytest.approx(middle[:, 0], abs=1e-5)


def test_labels_that_do_not_fit_are_one_line(root: Path, tmp_path: Path) -> None:
    for labels, says in (
        ([], "labels and numbers are empty: name some; fields alone are MeshFields"),
        (["height"], "none of the fields"),
        (["side", "side"], "name each once"),
        (["gone"], "no attribute 'gone' of vertices; it has height, push, side, zone"),
        (["half"], "no attribute 'half' of vertices"),
    ):
        with pytest.raises(InputError, match=says):
            MeshFieldsAndLabels(str(root), ["height"], labels, **OPTIONS)
    ball = icosphere(1)
    for k in range(2):
        data = {"height": ball.vertices[:, 2], "one": np.full(42, 5)}
        save_mesh(TriangleMesh(ball.vertices * (k + 1), ball.faces, "", data), tmp_path / f"{k}.vtp")
    with pytest.raises(InputError, match="label 'one' has the value 5 alone; leave it out"):
        MeshFieldsAndLabels(str(tmp_path), ["height"], ["one"], **OPTIONS)


def local(mesh: TriangleMesh) -> torch.Tensor:
    """Scalars whose means over the mesh are its numbers: z^2, and its share of the number 104."""
    share = mesh.vertices[:, 2] ** 2
    share = share / (mesh.vertex_areas @ share / mesh.vertex_areas.sum())
    return torch.from_numpy(np.stack([mesh.vertices[:, 2] ** 2, 104 * share], axis=1)).float()


def test_numbers_are_scalars_behind_the_classes_and_unknown_ones_do_not_count(
    bodies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = MeshFieldsAndLabels(str(bodies), ["push", "height"], ["side"], **NUMBERS)
    assert data.field_names == ["height", "side=0", "side=1", "mean", "work", "push"]
    assert str(data.out_type) == "5x0 + 1x1"
    assert [path.stem for path, _ in data.files["train"]] == ["0", "1", "2"]  # 3 has no row
    assert "1 of 5 meshes have no row and are left out" in caplog.text
    assert data.spec["numbers"] == ["mean", "work"]
    first, second, third = data.samples("train")
    assert (first.target[:, 4] == 100).all() and second.target[:, 4].isnan().all() and (third.target[:, 4] == 102).all()
    mean, size = data.target_statistics
    of_meshes = torch.stack([s.target[0, 3] for s in (first, second, third)]).double()
    assert mean[4:5].tolist() == [101] and size[4:5].tolist() == [1]  # of meshes, whatever their vertices
    assert float(mean[3]) == pytest.approx(float(of_meshes.mean()))
    assert float(size[3]) == pytest.approx(float(of_meshes.std(correction=0)))
    assert mean[1:3].tolist() == [0, 0] and size[1:3].tolist() == [1, 1]


@pytest.mark.parametrize("element", ["vertices", "faces"])
def test_a_number_is_the_mean_of_a_scalar_over_the_mesh(bodies: Path, tmp_path: Path, element: str) -> None:
    on_faces = element == "faces"
    name = "load" if on_faces else "height"
    data = MeshFieldsAndLabels(str(bodies), [name], element=element, **NUMBERS)
    ((path, _),) = data.files["test"]
    mesh = read_mesh(path)
    points = torch.from_numpy(mesh.vertices).float()
    task = task_of(data, torch.cat([points[:, :1] if on_faces else points[:, 2:], local(mesh)], dim=1))
    found = Predictor(task, "cpu", cache=False)(path)
    assert list(found.fields) == [name] and found.element == element
    assert found.fields[name] == pytest.approx((mesh.face_data if on_faces else mesh.vertex_data)[name], abs=1e-5)
    expected = mesh.vertex_areas @ mesh.vertices[:, 2] ** 2 / mesh.vertex_areas.sum()
    assert found.numbers == {"mean": pytest.approx(expected, rel=1e-5), "work": pytest.approx(104, rel=1e-5)}
    if on_faces:  # the mean over the triangles of the means of their corners is the same
        a, corners = mesh.face_areas, mesh.vertices[mesh.faces][:, :, 2] ** 2
        assert found.numbers["mean"] == pytest.approx(a @ corners.mean(axis=1) / a.sum(), rel=1e-5)
    (csv_file, json_file) = Predictor(task, "cpu", cache=False).save(path, tmp_path / "p")[-2:]
    (row,) = csv.DictReader(csv_file.read_text().splitlines())
    assert float(row["work"]) == pytest.approx(104, rel=1e-5) and list(row) == ["file", "mean", "work"]
    (row,) = json.loads(json_file.read_text())["predictions"]
    assert row["mean"] == found.numbers["mean"] and row[name].endswith(f"4_{name}.npy")


def test_the_loss_of_numbers_by_hand(bodies: Path) -> None:
    """Every mesh counts the same, whatever its size and place in the batch; unknown numbers do not."""
    data = MeshFieldsAndLabels(str(bodies), ["height"], ["side"], **NUMBERS)
    samples, size = data.samples("train"), data.target_statistics[1][3:]
    torch.manual_seed(0)
    answers = [torch.randn(sample.target.shape) for sample in samples]
    assert len({len(answer) for answer in answers}) == 2
    losses = []
    for order in ([0, 1, 2], [2, 0, 1]):
        task = task_of(data, torch.cat([answers[k] for k in order]), number_weight=0.5)
        task.normalise(*data.target_statistics)
        batch = collate([samples[k] for k in order])
        with torch.no_grad():
            predicted, target, weights, loss = task.compared(batch)
        others = task.error(predicted, target, weights)
        off = []
        for k in order:
            areas, scalars = samples[k].surface.areas, answers[k][:, 3:]
            number = data.target_statistics[0][3:] + (areas @ scalars / areas.sum()) * size
            off.append((number - samples[k].target[0, 3:]) / size)
        squares = torch.stack(off).flatten() ** 2
        assert int(squares.isnan().sum()) == 1
        assert float(loss - others) == pytest.approx(0.5 * float(squares.nanmean()), rel=1e-5)
        losses.append(float(loss))
        task = task_of(data, torch.cat([answers[k] for k in order]), field_weights={"work": 3.0})
        task.normalise(*data.target_statistics)
        weighed = task.compared(batch)[-1].detach() - others
        shares = torch.tensor([1.0, 3.0] * 3)[~squares.isnan()]
        assert float(weighed) == pytest.approx(
            float((shares * squares[~squares.isnan()]).sum() / shares.sum()), rel=1e-5
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    unknown = replace(batch, target=batch.target.index_fill(1, torch.tensor([3, 4]), torch.nan))
    assert float(task.compared(unknown)[-1].detach()) == pytest.approx(float(others), rel=1e-6)
    task.network.answer.grad = None
    task.compared(batch)[-1].backward()
    assert bool(task.network.answer.grad.isfinite().all())


def test_numbers_that_do_not_fit_are_one_line(bodies: Path) -> None:
    for options, says in (
        ({"numbers": ["gone"]}, "no column 'gone'; it has work, mean"),
        ({"numbers": ["work", "work"]}, "name each once"),
        ({"numbers": ["height"]}, "none of the fields"),
        ({"table": "other.csv"}, "no such table"),
        ({"max_vertices": 50}, "max_vertices 50: a patch has no number of its mesh"),
        ({"numbers": [], "labels": ["side"], "table": "table.csv"}, "table table.csv: name columns of it in numbers"),
    ):
        with pytest.raises(InputError, match=says) as error:
            MeshFieldsAndLabels(str(bodies), ["height"], **{**NUMBERS, **options})
        assert "\n" not in str(error.value)


def test_a_number_that_no_training_mesh_has_is_one_line(tmp_path: Path) -> None:
    ball = icosphere(1)
    for k in range(3):
        mesh = replace(ball, vertices=ball.vertices * (k + 1), vertex_data={"z": ball.vertices[:, 2]})
        save_mesh(mesh, tmp_path / f"{k}.vtp")
    (tmp_path / "table.csv").write_text("mesh,age,other\n0,,1\n1,,1\n2,,1\n")
    data = MeshFieldsAndLabels(str(tmp_path), ["z"], **{**NUMBERS, "numbers": ["age"]})
    with pytest.raises(InputError, match="target 'age' is unknown for every training mesh"):
        _ = data.target_statistics


def test_checkpoints_without_numbers_are_read_and_bad_ones_refused(root: Path, bodies: Path, tmp_path: Path) -> None:
    options = {"channels": [2, 2], "max_order": 1, "width": 4, "context": 0}
    classes = MeshFieldsAndLabels(str(root), ["height"], ["side"], num_levels=2, **OPTIONS)
    spec = {key: value for key, value in classes.spec.items() if key != "numbers"}
    task = JointTask("FieldUNet", str(classes.in_type), classes.field_names, spec, options)
    old = checkpoint(task, tmp_path / "old.ckpt")
    found = Predictor(old, "cpu", cache=False, workers=0)(classes.files["test"][0][0])
    assert found.numbers == {} and found.columns == () and list(found.fields) == ["height", "side"]
    data = MeshFieldsAndLabels(str(bodies), ["height"], num_levels=2, **NUMBERS)
    task = JointTask("FieldUNet", str(data.in_type), data.field_names, data.spec, options)
    right = torch.load(checkpoint(task, tmp_path / "right.ckpt"), weights_only=True)
    for change, says in (
        ({"numbers": 3}, "numbers 3 are no list of names"),
        ({"numbers": ["mean", 4]}, "no list of names"),
        ({"numbers": ["mean", "mean"]}, "each once"),
        ({"numbers": []}, "there are no labels and no numbers"),
        ({"numbers": ["work", "mean"]}, "work, mean are not among the scalars of height, mean, work"),
        ({"numbers": ["height", "mean", "work", "more"]}, "are not among the scalars"),
        ({"labels": {"side": [0, 1]}}, "side=0, side=1, mean, work are not among the scalars"),
        ({"labels": None}, "labels None are no lists"),
    ):
        wrong = copy.deepcopy(right)
        wrong["hyper_parameters"]["spec"].update(change)
        torch.save(wrong, tmp_path / "wrong.ckpt")
        with pytest.raises(InputError, match=says) as error:
            Predictor(tmp_path / "wrong.ckpt", "cpu", cache=False)
        assert "\n" not in str(error.value)


class Small(torch.nn.Module):
    """One layer, exported in less time than a network."""

    num_levels = 1

    def __init__(self, in_type: str, out_type: str):
        super().__init__()
        self.conv = GaugeConv(in_type, out_type)

    def forward(self, x: torch.Tensor, surface: GaugeGraph) -> torch.Tensor:
        return self.conv(x, surface)


def test_uncertainty_is_not_of_joint_tasks(bodies: Path) -> None:
    data = MeshFieldsAndLabels(str(bodies), ["height"], **NUMBERS)
    task = task_of(data, torch.zeros(1, 3))
    with pytest.raises(InputError, match="JointTask: uncertainty is of classification, segmentation and regression"):
        uncertain([task])


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("element", "to"), [("vertices", "torch"), ("faces", "onnx")])
def test_exported_files_give_the_same_numbers(bodies: Path, tmp_path: Path, element: str, to: str) -> None:
    field = "load" if element == "faces" else "height"
    data = MeshFieldsAndLabels(str(bodies), [field], element=element, **NUMBERS)
    torch.manual_seed(0)
    task = JointTask("test_joint.Small", str(data.in_type), data.field_names, data.spec).eval()
    task.normalise(*data.target_statistics)
    path = data.files["train"][1][0]
    expected = Predictor(task, "cpu", cache=False, workers=0)(path)
    for made in export_network(task, "meshconv.train.JointTask", "1", [to], tmp_path):
        found = Predictor(made.path, cache=False, workers=0)(path)
        assert found.numbers == pytest.approx(expected.numbers, rel=1e-5)
        results = Preprocess(tmp_path, cache=False)(path).run(open_program(made.path))
        assert list(results) == [field, "mean", "work"] and results["work"].shape == ()
        assert float(results["work"]) == pytest.approx(expected.numbers["work"], rel=1e-5)


@pytest.mark.slow
def test_numbers_from_fit_to_predictions(bodies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**NUMBERS, "num_levels": 2, "val_fraction": 0.0, "trainer.max_epochs": 60, "trainer.accelerator": "cpu",
               "trainer.enable_progress_bar": False, "batch_size": 2, "labels": ["side"],
               "model.init_args.options": {"channels": [8, 8], "max_order": 1, "width": 32, "context": 0}}  # fmt: skip
    predict = fit("joint", root=str(bodies), fields=["height", "push"], **options)
    data = MeshFieldsAndLabels(str(bodies), ["height"], **NUMBERS)
    of_training = {path.stem: predict(path).numbers for path, _ in data.files["train"]}
    size = data.target_statistics[1][-2:]
    off = [(of_training[path.stem]["mean"] - float(s.target[0, -2])) / float(size[0])
           for (path, _), s in zip(data.files["train"], data.samples("train"), strict=True)]  # fmt: skip
    assert np.square(off).mean() < 0.2  # 1 for the mean of the training
    assert main(["test", "--config", "runs/joint/config.yaml", "--ckpt_path", "last"]) == 0
    logged = json.loads(Path("runs/joint/test_metrics.json").read_text())
    assert {f"{kind}/{name}" for kind in ("mae", "relative_error", "rmse") for name in ("mean", "work")} <= set(logged)
    found, truth = predict(bodies / "test" / "4.vtp"), 104.0
    assert logged["mae/work"] == pytest.approx(abs(found.numbers["work"] - truth), rel=1e-3, abs=1e-3)
    assert {"accuracy/side", "relative_l2/height"} <= set(logged) and "relative_l2/work" not in logged
    assert main(["predict", "runs/joint/last.ckpt", str(bodies / "train"), "--output", "out/p"]) == 0
    rows = list(csv.DictReader(Path("out/p.csv").read_text().splitlines()))
    assert [Path(row["file"]).stem for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[1]["mean"]) == pytest.approx(of_training["1"]["mean"], rel=1e-5)


@pytest.mark.slow
def test_from_fit_to_predictions(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**OPTIONS, "num_levels": 2, "val_fraction": 0.5, "trainer.max_epochs": 40, "trainer.accelerator": "cpu",
               "trainer.enable_progress_bar": False, "batch_size": 1,
               "model.init_args.options": {"channels": [8, 8], "max_order": 1, "width": 32, "context": 0}}  # fmt: skip
    predict = fit("joint", root=str(root), fields=["height", "push"], labels=["side", "zone"], **options)
    found, mesh = predict(root / "0.vtp"), read_mesh(root / "0.vtp")
    assert (found.fields["side"] == mesh.vertex_data["side"]).mean() > 0.9
    assert np.abs(found.fields["height"] - mesh.vertex_data["height"]).mean() < 0.3  # 0.5 without any training
    assert main(["test", "--config", "runs/joint/config.yaml", "--ckpt_path", "last"]) == 0
    logged = json.loads(Path("runs/joint/test_metrics.json").read_text())
    assert logged["accuracy/side"] > 0.9 and 0 <= logged["mean_iou/zone"] <= 1
    assert {"relative_l2/height", "relative_l2/push", "relative_l2_of_meshes/height"} <= set(logged)
    assert not any("side=" in name for name in logged)
    assert load_inference("runs/joint/last.ckpt").labels["side"] == [3, 7]
