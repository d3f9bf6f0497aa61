"""Numbers of whole meshes, vectors with their normal part, and fields at faces: data, training, predictions."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import blob, icosphere

from meshconv import InputError, Predictor, TriangleMesh, fit
from meshconv.cli import main
from meshconv.datasets import MeshFields, MeshNumbers, collate
from meshconv.io import read_mesh, save_mesh
from meshconv.models import ShapeRegressor
from meshconv.testing import gauge_equivariance_error
from meshconv.train import RegressionTask, ShapeRegressionTask
from meshconv.train.metrics.number_errors import NumberErrors


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ellipsoids with their volume and area; one volume is unknown, and one mesh has no row."""
    root, rng = tmp_path_factory.mktemp("balls"), np.random.default_rng(0)
    rows = [["mesh", "volume", "area", "note"]]
    for k in range(14):
        axes = rng.uniform(0.5, 2.0, 3)
        ball = icosphere(1)
        mesh = TriangleMesh(ball.vertices * axes, ball.faces)
        split = "train" if k < 10 else "test"
        (root / split).mkdir(exist_ok=True)
        save_mesh(mesh, root / split / f"b{k:02}.vtp")
        if k != 9:
            rows.append([f"b{k:02}", "" if k == 8 else str(np.prod(axes)), str(mesh.area), "fine"])
    (root / "table.csv").write_text("\n".join(";".join(row) for row in rows))
    return root


def numbers(root: Path, **options) -> MeshNumbers:
    return MeshNumbers(str(root), cache=False, workers=0, features=["curvature"], size=True, **options)


def test_rows_of_the_table_are_targets_of_their_meshes(balls: Path) -> None:
    data = numbers(balls)
    assert data.field_names == ["volume", "area"] and str(data.out_type) == "2x0"
    assert [len(data.files[k]) for k in ("train", "val", "test")] == [9, 0, 4]
    batch = collate(data.samples("train"))
    assert batch.target.shape == (9, 2) and batch.target[8, 0].isnan()
    areas = [read_mesh(path).area for path, _ in data.files["train"]]
    assert batch.target[:, 1].tolist() == pytest.approx(areas, rel=1e-6)
    mean, size = data.target_statistics
    known = batch.target[:8, 0].double()
    assert float(mean[0]) == pytest.approx(float(known.mean()))
    assert float(size[0]) == pytest.approx(float(known.std(correction=0)))
    assert numbers(balls, targets=["area"]).field_names == ["area"]


def test_tables_that_do_not_fit_are_one_line(balls: Path, tmp_path: Path) -> None:
    save_mesh(icosphere(1), tmp_path / "a.ply")
    for text, options, says in (
        (None, {}, "one table of numbers is needed, there is none"),
        ("a,1\n", {}, "no table; write a headline"),
        ("mesh,x\nb,1\n", {}, "none of its 1 names is that of a mesh, e.g. 'b'"),
        ("mesh,x\na,1,2\n", {}, "line 2 has 3 cells, the headline 2"),
        ("mesh,x\na,1\na,2\n", {}, "two rows are of 'a'"),
        ("mesh,x,x\na,1,2\n", {}, "two columns are called 'x'"),
        ("mesh,x\na,one\n", {}, "no column holds nothing but numbers"),
        ("mesh,x\na,1\n", {"targets": ["y"]}, "no column 'y'; it has x"),
        ("mesh,x\na,1\n", {"table": "other.csv"}, "no such table"),
    ):
        if text is not None:
            (tmp_path / "t.csv").write_text(text)
        with pytest.raises(InputError, match=says) as error:
            numbers(tmp_path, **options)
        assert "\n" not in str(error.value)


def test_errors_of_numbers_against_their_definitions() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = 1e6 + rng.normal(size=(2, 50, 2))
    truth[3, 1] = np.nan
    metric = NumberErrors(2)
    metric.measure_from(torch.tensor([1e6, 1e6]))
    for part in np.split(np.arange(50), [7, 30]):
        metric.update(torch.from_numpy(predicted[part]), torch.from_numpy(truth[part]))
    known = ~np.isnan(truth[:, 1])
    for k, rows in ((0, slice(None)), (1, known)):
        t, p = truth[rows, k], predicted[rows, k]
        assert float(metric.errors["mae"][k]) == pytest.approx(np.abs(p - t).mean())
        assert float(metric.errors["relative_error"][k]) == pytest.approx(np.abs(p - t).sum() / np.abs(t).sum())
        assert float(metric.errors["r2"][k]) == pytest.approx(1 - ((p - t) ** 2).sum() / ((t - t.mean()) ** 2).sum())
    same = NumberErrors(1)
    same.update(torch.zeros(3, 1), torch.ones(3, 1))
    assert same.errors["r2"].isnan().all()


def test_the_regressor_is_invariant_and_has_no_direction() -> None:
    graph = blob().gauge_graph()
    network = ShapeRegressor("2x0 + 1x1", "3x0", channels=4, blocks=1, width=8).double().eval()
    x = torch.randn(graph.num_vertices, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert network(x, graph).shape == (1, 3)
    assert gauge_equivariance_error(network, graph, x=x) < 1e-10
    with pytest.raises(ValueError, match="have a direction"):
        ShapeRegressor("2x0", "1x0 + 1x1")


@pytest.mark.slow
def test_numbers_from_fit_to_the_table_of_predictions(balls: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"features": ["curvature"], "cache": False, "workers": 0, "val_fraction": 0.2, "nearest": None,
               "trainer.max_epochs": 2, "trainer.accelerator": "cpu", "trainer.enable_progress_bar": False,
               "model.init_args.options": {"channels": 4, "blocks": 1, "width": 16}}  # fmt: skip
    predict = fit("regress_mesh", root=str(balls), **options)
    assert isinstance(predict.task, ShapeRegressionTask)
    found = predict(balls / "test" / "b11.vtp")
    assert set(found.numbers) == {"volume", "area"} and all(np.isfinite(list(found.numbers.values())))
    assert main(["test", "--config", "runs/regress_mesh/config.yaml", "--ckpt_path", "last"]) == 0
    logged = json.loads(Path("runs/regress_mesh/test_metrics.json").read_text())
    assert {f"{m}/{n}" for m in ("r2", "mae", "relative_error", "rmse") for n in ("volume", "area")} <= set(logged)
    data = numbers(balls, val_fraction=0.2)
    batch = collate(data.samples("test"))
    with torch.no_grad():
        output = predict.task(batch)
    mae = (output - batch.target).abs().mean(0)
    assert logged["mae/volume"] == pytest.approx(float(mae[0]), rel=1e-4)
    assert main(["predict", "runs/regress_mesh/last.ckpt", str(balls / "test"), "--output", "out/p"]) == 0
    rows = list(csv.DictReader(Path("out/p.csv").read_text().splitlines()))
    assert [Path(row["file"]).stem for row in rows] == ["b10", "b11", "b12", "b13"]
    assert float(rows[1]["area"]) == pytest.approx(found.numbers["area"], rel=1e-6)


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blobs in VTU with a traction at their points and at their cells, and the pressure of each cell."""
    root = tmp_path_factory.mktemp("loads")
    for k in range(3):
        mesh = blob(k)
        a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        push = mesh.vertex_normals + 2 * mesh.frames[:, 1]
        of_faces = {"push": 3 * normal, "pressure": normal[:, 2], "part": np.arange(mesh.num_faces) % 3}
        save_mesh(replace(mesh, vertex_data={"push": push}, face_data=of_faces), root / f"{k}.vtu")
    return root


def fields(root: Path, names: list[str], **options) -> MeshFields:
    options = {"cache": False, "workers": 0, "features": ["curvature"], **options}
    return MeshFields(str(root), names, test_fraction=0.34, **options)


class Perfect(torch.nn.Module):
    """Knows the answer: what it gives are the fields it is given."""

    num_levels = None

    def __init__(self, in_type: str, out_type: str):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.zeros(0, 0))

    def forward(self, x: torch.Tensor, surface: object) -> torch.Tensor:
        return self.answer


def task_of(data: MeshFields) -> RegressionTask:
    return RegressionTask("test_mesh_targets.Perfect", str(data.in_type), data.field_names, data.spec)


def test_vectors_with_their_normal_part_come_back_whole(loads: Path, tmp_path: Path) -> None:
    data = fields(loads, ["push"], tangent=False)
    assert str(data.out_type) == "1x0 + 1x1" and data.spec["tangent"] is False
    task, (sample,) = task_of(data), data.samples("test")
    task.network.answer = torch.nn.Parameter(sample.target)
    found = Predictor(task, "cpu", cache=False)(data.files["test"][0][0])
    mesh = read_mesh(sample.name)
    assert list(found.fields) == ["push"]
    assert found.fields["push"] == pytest.approx(mesh.vertex_data["push"], abs=1e-4)
    written = found.write(tmp_path / "out")
    again = read_mesh(written["file with predictions"])
    assert again.vertex_data["predicted_push"] == pytest.approx(mesh.vertex_data["push"], abs=1e-4)
    assert np.array_equal(again.face_data["part"], mesh.face_data["part"])
    other = fields(loads, ["push"])
    assert str(other.out_type) == "1x1" and "tangent" not in other.spec


def test_fields_at_faces_from_the_file_to_the_file(loads: Path, tmp_path: Path) -> None:
    data = fields(loads, ["push", "pressure"], element="faces", tangent=False)
    sample, mesh = data.samples("train")[0], read_mesh(data.files["train"][0][0])
    assert data.field_names == ["pressure", "push_normal", "push_tangent"]
    assert sample.target.shape == (mesh.num_faces, 4)
    assert sample.target[:, 0].numpy() == pytest.approx(mesh.face_data["pressure"], abs=1e-5)
    assert sample.target[:, 1].numpy() == pytest.approx(np.full(mesh.num_faces, 3.0), abs=1e-4)
    assert float(sample.target[:, 2:].abs().max()) < 1e-4
    task = task_of(data)
    # A field that is linear in space, and one vector everywhere: the same at the faces' centres and for all faces.
    points = torch.from_numpy(mesh.vertices).float()
    from meshconv.nn import from_ambient

    steady = torch.tensor([[0.3, -1.0, 0.5]]).expand(len(points), 1, 3)
    inside = from_ambient(steady, sample.surface.finest, "1x0 + 1x1")
    task.network.answer = torch.nn.Parameter(torch.cat([points[:, :1], inside], dim=1))
    batch = collate([sample])
    output = task(batch)
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    assert output[:, 0].detach().numpy() == pytest.approx(centres[:, 0], abs=1e-5)
    found = Predictor(task, "cpu", cache=False)(data.files["train"][0][0])
    assert found.element == "faces" and found.fields["push"].shape == (mesh.num_faces, 3)
    off = np.linalg.norm(found.fields["push"] - [0.3, -1.0, 0.5], axis=1)
    assert np.median(off) < 0.05  # the normal part is a mean of products, of second order in the size of a face
    again = read_mesh(found.write(tmp_path / "out")["file with predictions"])
    assert again.face_data["predicted_pressure"] == pytest.approx(centres[:, 0], abs=1e-5)
    with pytest.raises(InputError, match="array 'pressure' belongs to faces, not to vertices; set element to faces"):
        fields(loads, ["pressure"])
    with pytest.raises(InputError, match="element 'cells' is not known"):
        fields(loads, ["pressure"], element="cells")


@pytest.mark.slow
def test_fields_at_faces_train(loads: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"features": ["curvature"], "cache": False, "workers": 0, "val_fraction": 0.0, "num_levels": 2,
               "trainer.max_epochs": 1, "trainer.accelerator": "cpu", "trainer.enable_progress_bar": False,
               "model.init_args.options": {"channels": [4, 4], "max_order": 1, "width": 16, "context": 0}}  # fmt: skip
    predict = fit("regress", root=str(loads), fields=["push"], element="faces", tangent=False, **options)
    assert np.isfinite(predict(loads / "0.vtu").fields["push"]).all()
