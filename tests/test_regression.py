"""Fields per vertex: targets from files, equivariant outputs, errors, and tubes whose field is known."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torchmetrics import MeanSquaredError

from meshconv import FieldType, Hierarchy, InputError, TriangleMesh
from meshconv.cli import main
from meshconv.datasets import MeshFields, SurfaceBatch
from meshconv.io import save_mesh
from meshconv.models import FieldUNet
from meshconv.nn import to_ambient
from meshconv.testing import gauge_equivariance_error
from meshconv.train import Predictor, RegressionTask, load_task
from meshconv.train.metrics.field_errors import FieldErrors

AROUND, ALONG = 10, 14


def tube(rng: np.random.Generator) -> tuple[TriangleMesh, np.ndarray, np.ndarray]:
    """A bent tube that narrows; pressure falls along it, and the shear points ahead, larger where it is narrow."""
    s, phi = np.meshgrid(np.linspace(0, 1, ALONG), np.arange(AROUND) * 2 * np.pi / AROUND, indexing="ij")
    s, phi = s.ravel(), phi.ravel()
    inner = (s > 0) & (s < 1)
    s = s + inner * rng.uniform(-0.25, 0.25, s.shape) / ALONG
    bend, thin = rng.uniform(0.3, 1.5), rng.uniform(0.4, 0.7)
    radius = 0.25 * (1 - (1 - thin) * s)
    angle = bend * s
    ahead = np.stack([np.cos(angle), np.sin(angle), 0 * s], axis=1)
    aside = np.stack([-np.sin(angle), np.cos(angle), 0 * s], axis=1)
    middle = np.stack([np.sin(angle), 1 - np.cos(angle), 0 * s], axis=1) / bend
    up = np.array([0.0, 0.0, 1.0])
    vertices = middle + radius[:, None] * (np.cos(phi)[:, None] * aside + np.sin(phi)[:, None] * up)
    faces = []
    for i in range(ALONG - 1):
        for j in range(AROUND):
            k = (j + 1) % AROUND
            p, q = i * AROUND + j, i * AROUND + k
            faces += [[p, q, q + AROUND], [p, q + AROUND, p + AROUND]]
    turn = Rotation.random(random_state=rng).as_matrix()
    shear = ahead * (0.15 / radius[:, None]) ** 2
    return TriangleMesh(vertices @ turn.T, np.array(faces)), 3.0 - s, shear @ turn.T


@pytest.fixture(scope="module")
def tubes(tmp_path_factory) -> Path:
    """Pressure as an attribute of the files, shear in arrays beside them."""
    root, rng = tmp_path_factory.mktemp("tubes"), np.random.default_rng(0)
    for k in range(28):
        folder = root / ("train" if k < 24 else "test")
        folder.mkdir(exist_ok=True)
        mesh, pressure, shear = tube(rng)
        save_mesh(replace(mesh, vertex_data={"pressure": pressure}), folder / f"{k:02}.ply")
        np.save(folder / f"{k:02}_wss.npy", shear)
    return root


def data(root: Path, **options) -> MeshFields:
    return MeshFields(str(root), ["wss", "pressure"], num_levels=2, cache=False, workers=0, **options)


def test_targets_are_the_fields_of_the_files(tubes):
    module = data(tubes)
    assert module.field_names == ["pressure", "wss"]
    assert str(module.out_type) == "1x0 + 1x1"
    assert {split: len(files) for split, files in module.files.items()} == {"train": 24, "val": 0, "test": 4}
    sample = module.samples("test")[0]
    shear = torch.from_numpy(np.load(Path(sample.name).with_name("24_wss.npy")))
    graph = sample.surface.levels[0].to(torch.float64)
    normal = graph.frames[:, 2]
    tangential = shear - (shear * normal).sum(1, keepdim=True) * normal
    found = to_ambient(sample.target[:, 1:].double(), graph, "1x1")[:, 0]
    torch.testing.assert_close(found, tangential, atol=1e-6, rtol=1e-5)
    mean, size = module.target_statistics
    every = torch.cat([s.target for s in module.samples("train")]).double()
    assert mean.tolist() == pytest.approx([float(every[:, 0].mean()), 0])
    length = every[:, 1:].square().sum(1).mean().sqrt()
    assert size.tolist() == pytest.approx([float(every[:, 0].std(correction=0)), float(length)])


def test_arrays_follow_the_repair(tmp_path):
    """A vertex without faces, and one twice in the same place: values stay with the vertices of the file."""
    mesh, pressure, shear = tube(np.random.default_rng(1))
    vertices = np.concatenate([[[9.0, 9.0, 9.0]], mesh.vertices])
    save_mesh(TriangleMesh(vertices, np.concatenate([mesh.faces + 1, mesh.faces[:1] + 1])), tmp_path / "a.ply")
    (tmp_path / "wss").mkdir()
    np.save(tmp_path / "wss" / "a.npy", np.concatenate([np.full((1, 3), 7.0), shear]))
    np.save(tmp_path / "a.pressure.npy", np.concatenate([[7], pressure]).astype(np.float32)[:, None])
    save_mesh(mesh, tmp_path / "b.ply")
    np.save(tmp_path / "wss" / "b.npy", shear)
    np.save(tmp_path / "b.pressure.npy", np.where(np.arange(len(pressure)) < 5, np.inf, pressure))
    a, b = data(tmp_path, test_fraction=0, on_defect="drop").samples("train")
    used, place = a.origin.vertex_from > 0, a.origin.vertex_from[a.origin.vertex_from > 0] - 1
    assert sorted(place) == list(range(len(pressure)))
    np.testing.assert_allclose(a.target[used, 0], pressure[place], rtol=1e-6)
    lengths = np.linalg.norm(b.target[:, 1:], axis=1)
    np.testing.assert_allclose(np.linalg.norm(a.target[used, 1:], axis=1), lengths[place], rtol=1e-4)
    assert b.target[:5, 0].isnan().all()
    assert b.target[:, 1:].isfinite().all()
    assert not b.target[5:].isnan().any()


def test_fields_that_do_not_fit(tubes, tmp_path):
    with pytest.raises(InputError, match=r"'flow'.*attribute.*_flow\.npy"):
        MeshFields(str(tubes), ["flow"])
    with pytest.raises(InputError, match="name at least one"):
        MeshFields(str(tubes), [])
    with pytest.raises(InputError, match="rotation"):
        data(tubes, augment={"rotation": True})
    mesh, pressure, shear = tube(np.random.default_rng(1))
    for name in "ab":
        save_mesh(mesh, tmp_path / f"{name}.ply")
        np.save(tmp_path / f"{name}_wss.npy", shear)
    np.save(tmp_path / "b_wss.npy", shear[:-1])
    module = MeshFields(str(tmp_path), ["wss"], test_fraction=0, strict=True, cache=False, workers=0)
    with pytest.raises(InputError, match=rf"b\.ply.*{len(shear) - 1} values, the mesh {len(shear)} vertices"):
        module.samples("train")
    np.save(tmp_path / "b_wss.npy", pressure)
    with pytest.raises(InputError, match="'wss' has numbers, elsewhere vectors"):
        module.samples("train")
    for bad, said in ((np.zeros((3, 4)), r"\[3, 4\]"), (np.array(["a"]), "<U1")):
        np.save(tmp_path / "b_wss.npy", bad)
        with pytest.raises(InputError, match=said):
            module.samples("train")
    (tmp_path / "b_wss.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="no array of numpy"):
        module.samples("train")


def test_a_mesh_without_the_field_is_left_out_wherever_it_stands(tmp_path, caplog):
    mesh, _, shear = tube(np.random.default_rng(1))
    for name in "abc":
        save_mesh(mesh, tmp_path / f"{name}.ply")
    for name in "bc":
        np.save(tmp_path / f"{name}_wss.npy", shear)
    module = MeshFields(str(tmp_path), ["wss"], test_fraction=0, cache=False, workers=0)
    assert len(module.samples("train")) == 2 and "a.ply: no field 'wss'" in caplog.text
    with pytest.raises(InputError, match=r"a\.ply: no field 'wss'"):
        MeshFields(str(tmp_path), ["wss"], strict=True, cache=False)


@pytest.mark.parametrize("out_type", ["2x0 + 1x1 + 1x2", "1x1", "3x0"])
def test_the_network_is_equivariant(tubes, out_type):
    sample = data(tubes).samples("test")[0]
    torch.manual_seed(1)
    network = FieldUNet("10x0 + 7x1 + 4x2", out_type, channels=(4, 6), width=8, context=2)
    assert network.out_type == FieldType(out_type)
    for _ in range(2):  # norms and biases away from where they start
        out = network(sample.x, sample.surface)
        (out - 1).square().mean().backward()
    with torch.no_grad():
        for p in network.parameters():
            p -= 0.1 * p.grad
    network.eval()
    assert gauge_equivariance_error(network, sample.surface.to(torch.float64), x=sample.x) < 1e-5
    assert (network.float()(sample.x, sample.surface).abs().amax(0) > 1e-3).all()


def test_outputs_of_too_high_an_order():
    with pytest.raises(InputError, match="max_order is 1"):
        RegressionTask("FieldUNet", "1x0", ["t"], {"out_type": "1x2"}, {"max_order": 1})
    with pytest.raises(InputError, match="2 names for 1 fields"):
        RegressionTask("FieldUNet", "1x0", ["a", "b"], {"out_type": "1x1"})
    task = RegressionTask("FieldUNet", "1x0", ["t"], {"out_type": "1x1"}, {"channels": [2]})
    with pytest.raises(ValueError, match="no mean"):
        task.normalise(torch.ones(1), torch.ones(1))


def test_errors_by_hand_and_in_another_gauge():
    kind, a = FieldType("1x0 + 2x1"), torch.rand(50, dtype=torch.float64)
    truth, predicted = torch.randn(2, 50, kind.dim, dtype=torch.float64)
    truth[:10, 0], truth[5:9, [1, 3]], truth[9, [2, 4]] = torch.nan, torch.nan, 0.0
    metric, turned = FieldErrors(kind), FieldErrors(kind)
    for part in (slice(0, 20), slice(20, 50)):
        metric.update(predicted[part], truth[part], a[part])
        alpha = torch.rand(50, dtype=torch.float64)[part]
        turned.update(kind.change_gauge(predicted[part], alpha), kind.change_gauge(truth[part], alpha), a[part])
    found = metric.errors
    plain = MeanSquaredError(squared=False).set_dtype(torch.float64)
    equal = FieldErrors("1x0")
    equal.update(predicted[10:, :1], truth[10:, :1], torch.full((40,), 3.0))
    torch.testing.assert_close(equal.errors["rmse"][0], plain(predicted[10:, 0], truth[10:, 0]))
    error = (a * (predicted - truth)[:, 0] ** 2)[10:].sum()
    torch.testing.assert_close(found["rmse"][0], (error / a[10:].sum()).sqrt())
    torch.testing.assert_close(found["relative_l2"][0], (error / (a * truth[:, 0] ** 2)[10:].sum()).sqrt())
    for c in range(2):
        p, t = predicted[:, [1 + c, 3 + c]], truth[:, [1 + c, 3 + c]]
        known = ~t.isnan().any(1)
        counted = known & (t.norm(dim=1) > 0)
        cosine = torch.cosine_similarity(p, t)[counted]
        torch.testing.assert_close(found["cosine"][c], (a[counted] * cosine).sum() / a[counted].sum())
        error = (a[known] * (p - t)[known].square().sum(1)).sum()
        torch.testing.assert_close(found["rmse"][1 + c], (error / a[known].sum()).sqrt())
    for name, values in turned.errors.items():
        torch.testing.assert_close(values, found[name])


def test_the_loss_leaves_out_what_is_unknown(tubes):
    sample = data(tubes).samples("test")[0]
    task = RegressionTask("FieldUNet", "10x0 + 7x1 + 4x2", ["p", "w"], {"out_type": "1x0 + 1x1"}, {"channels": [2, 2]})
    task.normalise(torch.tensor([2.5, 0.0]), torch.tensor([0.3, 0.8]))
    target = sample.target.clone()
    target[::2, 0], target[::3, 1:] = torch.nan, torch.nan

    def loss(target):
        return task.compared(SurfaceBatch(sample.x, sample.surface, target, None, [""]))[-1]

    loss(target).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())
    areas = sample.surface.levels[0].areas
    assert isinstance(sample.surface, Hierarchy)
    with torch.no_grad():
        predicted = task(SurfaceBatch(sample.x, sample.surface, target, None, [""]))
        off = (predicted - target) / torch.tensor([0.3, 0.8, 0.8])
        a = areas[:, None].expand_as(off)[~off.isnan()]
        torch.testing.assert_close(loss(target), (a * off[~off.isnan()] ** 2).sum() / a.sum())
        assert loss(torch.full_like(target, torch.nan)).item() == 0


@pytest.mark.slow
def test_tubes_from_the_command_line(tubes, tmp_path, capsys):
    """Fit, test and predict; a turned tube has the turned field; the vectors are found to a fifth of their length."""
    options = '{"channels": [8, 16], "context": 4, "width": 32}'
    common = ["--runs", str(tmp_path), "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    fit = ["--data.init_args.root", str(tubes), "--data.init_args.fields", "[wss, pressure]"]
    fit += ["--data.init_args.num_levels", "2"]
    fit += ["--model.init_args.options", options, "--data.init_args.val_fraction", "0", "--trainer.max_epochs", "16"]
    assert main(["fit", "--config", "regress", *common, *fit]) == 0
    run = tmp_path / "regress"
    again = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt")]
    assert main(["test", *again, *common]) == 0
    found = json.loads((run / "test_metrics.json").read_text())
    assert found["relative_l2/wss"] < 0.2
    assert found["cosine/wss"] > 0.98
    assert found["rmse/pressure"] < 0.15
    assert not (run / "confusion.csv").exists()
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert any(row.get("train/loss") for row in rows)
    task = load_task(run / "last.ckpt")
    assert float(task.mean[0]) == pytest.approx(2.5, abs=0.05)
    assert task.mean[1:].tolist() == [0, 0]

    mesh, _, shear = tube(np.random.default_rng(5))
    turn = Rotation.random(random_state=1).as_matrix()
    save_mesh(mesh, tmp_path / "one.ply")
    save_mesh(TriangleMesh(3 * mesh.vertices @ turn.T + 5, mesh.faces), tmp_path / "two.ply")
    predict = Predictor(run / "last.ckpt", workers=0, cache=False)
    files = predict.save([tmp_path / "one.ply", tmp_path / "two.ply"], tmp_path / "out")
    assert [f.name for f in files[:3]] == ["out_one_pressure.npy", "out_one_wss.npy", "out_one.ply"]
    one, two = (np.load(tmp_path / f"out_{name}_wss.npy") for name in ("one", "two"))
    size = np.sqrt((one**2).sum(1).mean())
    assert np.abs(two - one @ turn.T).max() < 1e-3 * size
    assert np.abs(one - shear).mean() < 0.3 * size
    np.testing.assert_allclose(*(np.load(tmp_path / f"out_{name}_pressure.npy") for name in ("one", "two")), rtol=1e-3)


def test_data_without_what_the_task_predicts_are_said_before_meshes_are_prepared(tubes, tmp_path, capsys):
    """Fields are no classes: one line, and no mesh was computed."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"model: {{class_path: meshconv.train.SegmentationTask, init_args: {{network: ShapeUNet}}}}\n"
        f"data:\n  class_path: meshconv.datasets.MeshFields\n"
        f"  init_args: {{root: {tubes}, fields: [wss], num_levels: 2, cache: {tmp_path}/kept}}\n"
    )
    assert main(["fit", "--config", str(config), "--runs", str(tmp_path)]) == 2
    wanted = "SegmentationTask learns a class for each element, MeshFields has fields at the vertices"
    assert wanted in capsys.readouterr().err
    assert not list(tmp_path.rglob("kept/*"))
