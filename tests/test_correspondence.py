"""Learning to find the points of a shape on its other poses, on meshes of other triangles."""

from __future__ import annotations

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch
from correspondence_case import body, sphere_mesh, sphere_points, write_poses
from torch.nn.functional import normalize

from meshconv import TriangleMesh, load_mesh
from meshconv.cli import main
from meshconv.datasets import MeshCorrespondence, Preparation, prepare_meshes
from meshconv.datasets.meshes.correspondence import collate_samples
from meshconv.io import save_mesh
from meshconv.train import CorrespondenceTask, Predictor, load_task
from meshconv.train.inference.correspondence import PointMaps
from meshconv.train.metrics.map_errors import Shape, map_errors
from meshconv.train.metrics.point_contrast import PointContrast
from meshconv.train.tasks.correspondence import unit_positions

# A ring of neighbours is too few for the quadrature of SphereUNet.
_SMALL = {"channels": [8, 12, 16], "width": 32, "dropout": 0.0, "aggregation": "mean"}


def _task(data, order=1, network="SphereUNet", **options):
    torch.manual_seed(0)
    return CorrespondenceTask(
        network, str(data.in_type), data.spec, {**_SMALL, "max_order": order}, embedding=16,
        data=data, **options,
    )  # fmt: skip


def _fit(root, folder, epochs, order=1, **options):
    prepared = {"num_levels": 3, "features": ["hks", "wks"], "cache": False, "workers": 0}
    data = MeshCorrespondence(str(root), test_fraction=0.3, **prepared)
    task = _task(data, order, learning_rate=1e-2, **options)
    trainer = lightning.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(task, data)
    return data, task.eval(), trainer


def test_loss_is_least_where_points_are_told_apart():
    samples = torch.arange(12).reshape(2, 6)
    positions = torch.randn(12, 3)
    told = torch.eye(6).repeat(2, 1)
    loss = PointContrast(temperature=0.02, softness=0.0)
    assert float(loss(told, samples, positions)) < 1e-6
    assert float(loss(torch.cat([told[:6], told[:6].roll(1, 0)]), samples, positions)) > 10
    same = normalize(torch.ones(12, 4), dim=1)
    assert float(loss(same, samples, positions)) == pytest.approx(np.log(6), rel=1e-5)
    unknown = torch.where(torch.arange(6) < 2, samples, torch.tensor([[-1], [6]]))
    assert float(loss(same, unknown, positions)) == pytest.approx(np.log(2), rel=1e-5)
    assert float(loss(same, torch.tensor([[0, -1], [-1, 7]]), positions)) == 0


def test_loss_forgives_neighbours_in_both_poses_alone():
    """Points 0 and 1 are near in both poses; 2 touches 0 in the first alone."""
    first = torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0, 0.01, 0]])
    second = torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0, 1.0, 0]])
    target = PointContrast(softness=0.02).soft_target(first, second)
    assert target.sum(1).numpy() == pytest.approx(1.0)
    assert float(target[0, 1]) == pytest.approx(np.exp(-1 / 8) / (1 + np.exp(-1 / 8)), rel=1e-4)
    assert float(target[0, 2]) < 1e-6 and float(target[2, 2]) > 0.999
    samples, positions = torch.arange(6).reshape(2, 3), torch.cat([first, second])
    embedding = normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    loss = PointContrast()
    assert float(loss(embedding, samples, positions)) > 0
    there, back = loss(embedding, samples, positions), loss(embedding, samples.flip(0), positions)
    assert float(there) == pytest.approx(float(back), rel=1e-5)


def test_positions_in_units_of_each_mesh(tmp_path):
    write_poses(tmp_path, 3, 150)
    mesh = load_mesh(tmp_path / "body1.off")
    save_mesh(TriangleMesh(10 * mesh.vertices, mesh.faces), tmp_path / "body2.off")
    samples, _ = prepare_meshes([(tmp_path / f"body{k}.off", -1) for k in (0, 1, 2)], Preparation(num_levels=2))
    batch = collate_samples([replace(s, target=torch.zeros(1, dtype=torch.int64)) for s in samples])
    _, one, ten = unit_positions(batch).split([len(s.x) for s in samples])
    assert torch.allclose(one, ten, atol=1e-5)
    assert float((one.max(0).values - one.min(0).values).max()) < 3


def _cut_in_four(mesh):
    """The same surface of four times as many faces; the vertices come first, in their order."""
    points, faces = mesh.vertices, mesh.faces
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, number = np.unique(pairs, axis=0, return_inverse=True)
    ab, bc, ca = len(points) + number.reshape(3, -1)
    a, b, c = faces.T
    parts = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return TriangleMesh(
        np.concatenate([points, points[edges].mean(axis=1)]), np.concatenate([np.stack(p, 1) for p in parts])
    )


def test_points_at_one_resolution(tmp_path):
    """Embeddings are those of the vertices, hardly other ones on other triangles, and matches are of the files."""
    write_poses(tmp_path, 1, 300)
    coarse = load_mesh(tmp_path / "body0.off")
    fine = _cut_in_four(coarse)
    common = torch.arange(coarse.num_vertices)
    differ = {}
    for resolution, features in ((None, ("default",)), (0.03, ("surface",))):
        how = Preparation(num_levels=2, features=features, resolution=resolution)
        spec = {**how.spec, "data": "meshconv.datasets.MeshCorrespondence"}
        torch.manual_seed(0)
        task = CorrespondenceTask("ShapeUNet", str(how.in_type), spec, {"channels": [8, 12], "max_order": 1}).eval()
        samples = prepare_meshes([(mesh, lambda _: (common, None)) for mesh in (coarse, fine)], how)[0]
        batch = collate_samples(samples)
        sizes = [coarse.num_vertices, fine.num_vertices]
        positions, embedding = unit_positions(batch), task.embed(batch)
        for rows in (positions, embedding):
            assert [len(part) for part in rows.split(sizes)] == sizes
        first, second = (embedding[target] for target in batch.target)
        spread = float((first - first.mean(0)).square().sum(1).mean())
        differ[resolution] = float((first - second).square().sum(1).mean()) / spread
        a, b = (positions[target] for target in batch.target)
        assert float((a - b).norm(dim=1).mean()) < 0.01
    assert differ[0.03] < 0.03 and differ[None] > 0.3
    (found,) = Predictor(task, cache=False, workers=0)([coarse, fine])
    assert len(found.matches) == fine.num_vertices and set(found.matches) <= set(range(coarse.num_vertices))
    away = np.linalg.norm(coarse.vertices[found.matches] - fine.vertices, axis=1) / np.sqrt(coarse.area)
    assert np.median(away) < 0.1  # of the same surface, untrained


@pytest.mark.slow
def test_learns_points_of_deformed_shapes(tmp_path):
    write_poses(tmp_path / "data", 6, 260, bend=0.15)
    data, task, trainer = _fit(tmp_path / "data", tmp_path, 40)
    (result,) = trainer.test(task, data, verbose=False)
    samples, pairs = data.samples("test"), data.pairs("test")
    maps = PointMaps([s.x[:, :16] for s in samples], [])
    shapes = [Shape(lambda s=s: load_mesh(s.name), s.target.numpy()) for s in samples]
    plain = 100 * np.mean([e.mean() for e in map_errors({"hks": maps.match}, shapes, pairs)["hks"]])
    assert result["test/error_x100"] < 0.5 * plain
    assert result["test/refined_error_x100"] < 1.2 * result["test/error_x100"]
    task.write_test(tmp_path)
    assert {"geodesic_errors.csv", "geodesic_curve.csv", "geodesic_curve.png", "test_metrics.json"} <= {
        p.name for p in tmp_path.iterdir()
    }


def _own_side(task, data):
    """Share of points that are found on their own side, between two triangulations of the symmetric body."""
    rng = np.random.default_rng(9)
    points = [sphere_points(300, rng), sphere_points(310, rng)]
    paths = [data.root / f"new{k}.off" for k in range(2)]
    for p, path in zip(points, paths, strict=True):
        save_mesh(sphere_mesh(p, body(p)), path)
    samples, _ = prepare_meshes([(p, -1) for p in paths], data.how)
    for p in paths:
        p.unlink()
    batches = [collate_samples([replace(s, target=torch.zeros(1, dtype=torch.int64))]) for s in samples]
    found = PointMaps([task.embed(b) for b in batches], []).match(0, 1).numpy()
    aside = np.abs(points[0][:, 0]) > 0.4
    return float((np.sign(points[0][:, 0]) == np.sign(points[1][found, 0]))[aside].mean())


@pytest.mark.slow
def test_left_is_told_from_right_by_directions_alone(tmp_path):
    write_poses(tmp_path / "data", 10, 300, bend=0.0)
    shares = []
    for order in (1, 0):
        data, task, _ = _fit(tmp_path / "data", tmp_path, 60, order)
        shares.append(_own_side(task, data))
    assert shares[0] > 0.88
    assert shares[1] < 0.8  # half of them, but for points that lie together


@pytest.mark.parametrize("order", [0, 1])
def test_isotropic_networks_do_not_see_mirror_images(tmp_path, order):
    points = sphere_points(260, np.random.default_rng(0))
    mesh = sphere_mesh(points, body(points) + 0.2 * np.sin(2 * points[:, [1, 2, 0]]))
    mirrored = TriangleMesh(mesh.vertices * [-1.0, 1, 1], mesh.faces[:, ::-1])
    how = Preparation(features=("hks", "wks"), num_levels=2)
    torch.manual_seed(0)
    options = {"channels": [8, 8], "max_order": order, "width": 32}
    task = CorrespondenceTask("SphereUNet", str(how.in_type), {}, options=options).eval()
    with torch.no_grad():
        seen = [task.network(*how.inputs(m)) for m in (mesh, mirrored)]
    difference = float((seen[0] - seen[1]).norm() / seen[0].norm())
    # Coarse levels of both are made of the same points in the same order, up to rounding.
    assert difference < 1e-3 if order == 0 else difference > 1e-2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the command line on small poses, hardly trained."""
    root = tmp_path_factory.mktemp("run")
    write_poses(root / "data", 6, 150)
    args = ["--data.init_args.root", str(root / "data"), "--data.init_args.cache", "false", "--runs", str(root),
            "--data.init_args.val_fraction", "0.25", "--data.init_args.test_fraction", "0.25",
            "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu",
            "--trainer.enable_progress_bar", "false"]  # fmt: skip
    assert main(["fit", "--config", "correspond", *args]) == 0
    return root


def test_configuration_fits_and_tests(run):
    folder = run / "correspond"
    config = ["--config", str(folder / "config.yaml"), "--ckpt_path", str(folder / "last.ckpt")]
    assert main(["test", *config]) == 0
    assert (folder / "geodesic_errors.csv").read_text().startswith("source,target,error,refined_error\n")
    report = (folder / "report.html").read_text()
    assert "error_x100" in report and "<h2>Worst of " in report and 'alt="geodesic_curve"' in report
    assert isinstance(load_task(folder / "last.ckpt"), CorrespondenceTask)


def test_another_folder_of_test_meshes_alone(run, tmp_path):
    write_poses(tmp_path / "other", 2, 150, seed=3)
    folder = run / "correspond"
    args = ["test", "--config", str(folder / "config.yaml"), "--ckpt_path", str(folder / "last.ckpt"), "--runs",
            str(tmp_path / "runs"), "--data.init_args.root", str(tmp_path / "other")]  # fmt: skip
    assert main(args) == 2  # one of two is no pair
    assert main([*args, "--data.init_args.test_fraction", "1"]) == 0
    rows = (tmp_path / "runs" / "correspond" / "geodesic_errors.csv").read_text().splitlines()
    pairs = {tuple(row.split(",")[:2]) for row in rows[1:]}
    assert pairs == {("body0", "body1"), ("body1", "body0")}


def test_predictions_for_the_vertices_of_the_files(run, tmp_path):
    """A template with a loose vertex in front, and a mesh with one: both keep their numbering."""
    meshes = [load_mesh(run / "data" / f"body{k}.off") for k in (0, 1)]
    for k, mesh in enumerate(meshes):
        loose = TriangleMesh(np.vstack([[[9.0, 9, 9]], mesh.vertices]), mesh.faces + 1)
        save_mesh(loose, tmp_path / f"mesh{k}.ply")
    checkpoint, out = str(run / "correspond" / "last.ckpt"), tmp_path / "out" / "matches"
    files = [str(tmp_path / "mesh1.ply"), str(run / "data" / "body1.off")]
    extra = ["--template", str(tmp_path / "mesh0.ply"), "--output", str(out), "--cache", "false"]
    assert main(["predict", checkpoint, *files, *extra]) == 0
    names = {p.name for p in out.parent.iterdir()}
    assert names == {f"matches_{n}" for n in ("mesh1.txt", "mesh1.ply", "body1.txt", "body1.ply", "template.ply")} | {
        "matches.json"
    }
    found = np.loadtxt(out.parent / "matches_mesh1.txt", dtype=int)
    assert found[0] == -1 and found[1:].min() >= 1 and len(found) == meshes[1].num_vertices + 1
    assert found.max() <= meshes[0].num_vertices and len(np.unique(found)) > 10
    plain = np.loadtxt(out.parent / "matches_body1.txt", dtype=int)
    assert (plain == found[1:]).mean() > 0.9  # rounding of coordinates in the file aside
    colours = [load_mesh(out.parent / f"matches_{n}.ply").vertex_data["color"][:, :3] for n in ("template", "mesh1")]
    assert np.array_equal(colours[1][1:], colours[0][found[1:]])
    assert main(["predict", checkpoint, files[0], "--output", str(out)]) == 2  # nothing to match


def test_formats_that_split_vertices(run, tmp_path):
    """Matches are for each vertex of an STL file, thrice as many as it has faces; another mesh is called template."""
    mesh = load_mesh(run / "data" / "body0.off")
    for name in ("a.stl", "b.stl", "template.ply"):
        save_mesh(mesh, tmp_path / name)
    checkpoint, out = str(run / "correspond" / "last.ckpt"), str(tmp_path / "out" / "p")
    files = [str(tmp_path / name) for name in ("a.stl", "b.stl", "template.ply")]
    assert main(["predict", checkpoint, *files, "--output", out, "--cache", "false"]) == 0
    found = np.loadtxt(f"{out}_b.txt", dtype=int)
    assert len(found) == 3 * mesh.num_faces and found.min() >= 0 and found.max() < len(found)
    same = found[np.unique(mesh.faces.ravel(), return_index=True)[1]][mesh.faces.ravel()]
    assert np.array_equal(found, same)  # corners in one place are matched alike
    other = np.loadtxt(tmp_path / "out" / f"p_{tmp_path.name}_template.txt", dtype=int)
    assert len(other) == mesh.num_vertices and (tmp_path / "out" / "p_template.ply").is_file()


def test_a_prediction_does_not_overwrite_a_mesh(run, tmp_path, capsys):
    for name in ("1.ply", "scan_1.ply"):
        save_mesh(load_mesh(run / "data" / "body0.off"), tmp_path / name)
    before = (tmp_path / "scan_1.ply").read_bytes()
    files = [str(tmp_path / "scan_1.ply"), str(tmp_path / "1.ply")]
    checkpoint, out = str(run / "correspond" / "last.ckpt"), str(tmp_path / "scan")
    assert main(["predict", checkpoint, *files, "--output", out, "--cache", "false"]) == 2
    assert "scan_1.ply: a prediction would overwrite it; give another --output" in capsys.readouterr().err
    assert (tmp_path / "scan_1.ply").read_bytes() == before
