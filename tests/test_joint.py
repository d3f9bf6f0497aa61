"""Several tasks at once: fields and classes at vertices or faces, from the files to the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import icosphere

from meshconv import InputError, Predictor, TriangleMesh, fit
from meshconv.cli import main
from meshconv.datasets import MeshFieldsAndLabels, collate
from meshconv.io import read_mesh, save_mesh
from meshconv.train import JointTask, load_inference

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


class Perfect(torch.nn.Module):
    """Knows the answer: what it gives are the fields it is given."""

    num_levels = None

    def __init__(self, in_type: str, out_type: str):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.zeros(0, 0))

    def forward(self, x: torch.Tensor, surface: object) -> torch.Tensor:
        return self.answer


def task_of(data: MeshFieldsAndLabels, answer: torch.Tensor, **options: float) -> JointTask:
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
        ([], "name at least one"),
        (["height"], "none of the fields"),
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
