"""Generative models from files to files: the configurations that ship, what they fill in, draw and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from map_case import save, weather
from meshes import icosphere
from scipy.spatial.transform import Rotation

from meshconv import InputError, Predictor, TriangleMesh
from meshconv.cli import main
from meshconv.datasets import MapFields
from meshconv.generative import GenerationTask, MeshDisplacements
from meshconv.generative.displacements import displaced, displacements, template_surface
from meshconv.io import read_mesh, save_mesh
from meshconv.shipped import find_config
from meshconv.train import load_task

SMALL = {"latent": "1x0", "channels": [4, 4], "max_order": 1}


def common(runs: Path) -> list[str]:
    small = ["--model.init_args.options", json.dumps(SMALL), "--data.init_args.num_levels", "2"]
    options = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "2"]
    return [*small, *options, "--runs", str(runs)]


@pytest.mark.slow
def test_maps_are_learned_tested_and_filled_in(tmp_path, capsys):
    dataset = weather()
    save(dataset, tmp_path / "a.nc")
    config = str(find_config("generate_maps"))
    data = ["--data.init_args.inputs", str(tmp_path / "a.nc"), "--data.init_args.field", "t"]
    data += ["--data.init_args.nside", "4"]
    assert main(["fit", "--config", config, *data, *common(tmp_path)]) == 0
    run = tmp_path / "generate_maps"
    words = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "last.ckpt"), "--runs", str(tmp_path)]
    assert main(["test", *words]) == 0
    assert {"test/bound", "test/rmse", "test/hidden_rmse"} <= set(capsys.readouterr().out.split())

    dataset["t"][:, :, :9] = np.nan
    save(dataset, tmp_path / "part.nc")
    assert main(["predict", str(run / "last.ckpt"), str(tmp_path / "part.nc"), "--output", str(tmp_path / "out")]) == 0
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert np.isfinite(found["t"]).all() and (found["t_deviation"] > 0).all()
        assert found["t"].attrs["units"] == "K" and found["t_deviation"].attrs["units"] == "K"
        assert 200 < float(found["t"].mean()) < 350
        assert np.isfinite(found["t_anomaly"]).any()
    task = load_task(run / "last.ckpt")
    data_module = MapFields(str(tmp_path / "a.nc"), "t", nside=4, num_levels=2)
    drawn = task.draw(data_module.hierarchy, 3, seed=1)
    assert drawn.shape == (3, 192, 1)
    torch.testing.assert_close(drawn, task.draw(data_module.hierarchy, 3, seed=1))


@pytest.fixture(scope="module")
def bodies(tmp_path_factory) -> Path:
    """Stretched spheres in any position, the triangles of one template."""
    root, rng, sphere = tmp_path_factory.mktemp("bodies"), np.random.default_rng(0), icosphere(2)
    for k in range(10):
        points = sphere.vertices * np.exp(rng.normal(0, 0.2, 3))
        points = rng.uniform(0.5, 2) * Rotation.random(random_state=rng).apply(points) + rng.normal(size=3)
        save_mesh(TriangleMesh(points, sphere.faces), root / f"{k}.ply")
    return root


def test_a_mesh_is_its_displacement_from_the_template_wherever_it_lies(bodies):
    data = MeshDisplacements(str(bodies), num_levels=2)
    template, surface = template_surface(data.spec["template"], 2)
    mesh = read_mesh(bodies / "3.ply")
    field = displacements(mesh, template, surface, "3")
    turn = Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix()
    moved = TriangleMesh(3 * mesh.vertices @ turn.T + 5, mesh.faces)
    np.testing.assert_allclose(displacements(moved, template, surface, "moved"), field, atol=1e-6)
    back = displaced(template, surface, torch.from_numpy(field), "back")
    np.testing.assert_allclose(displacements(back, template, surface, "back"), field, atol=1e-2 * np.abs(field).max())
    assert np.abs(field).max() > 1e-3
    # A turned template has the same fields: normal part and tangential length.
    other = {"vertices": (template.vertices @ turn.T).tolist(), "faces": template.faces.tolist()}
    other_template, other_surface = template_surface(other, 2)
    found = displacements(mesh, other_template, other_surface, "3")
    np.testing.assert_allclose(found[:, 0], field[:, 0], atol=1e-6)
    np.testing.assert_allclose(np.hypot(*found[:, 1:].T), np.hypot(*field[:, 1:].T), atol=1e-6)
    mean, size = data.target_statistics
    assert mean[1] == 0 and (size > 0).all()
    batch = next(iter(data.train_dataloader()))
    assert batch.target.shape == (8, 162, 3)


@pytest.mark.slow
def test_shapes_are_learned_denoised_and_drawn(bodies, tmp_path):
    config = str(find_config("generate_shapes"))
    assert main(["fit", "--config", config, "--data.init_args.root", str(bodies), *common(tmp_path)]) == 0
    made = tmp_path / "generate_shapes" / "last.ckpt"
    assert main(["predict", str(made), str(bodies / "1.ply"), "--output", str(tmp_path / "out")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    found = read_mesh(tmp_path / "out_1.ply")
    np.testing.assert_array_equal(found.faces, icosphere(2).faces)
    scores = np.load(tmp_path / "out_1_anomaly.npy")
    assert row["anomaly"] == pytest.approx(scores.mean(), rel=1e-5) and scores.shape == (162,)
    drawn = load_task(made).draw_meshes(2, seed=3)
    assert [mesh.num_vertices for mesh in drawn] == [162, 162]
    assert not np.allclose(drawn[0].vertices, drawn[1].vertices)
    save_mesh(icosphere(1), tmp_path / "other.ply")
    with pytest.raises(InputError, match=r"other\.ply: 80 triangles, not those of the template with 320"):
        Predictor(made, "cpu", cache=False)(tmp_path / "other.ply")


def test_the_loss_is_the_bound_of_normalised_fields_for_each_number(bodies):
    data = MeshDisplacements(str(bodies), num_levels=2)
    task = GenerationTask(str(data.in_type), data.field_names, data.spec, options=SMALL).eval()
    assert task.hparams["in_type"] == "1x0" and SMALL.items() <= task.hparams["options"].items()
    mean, size = data.target_statistics
    task.mean.copy_(task.out_type.per_component(mean))
    task.size.copy_(task.out_type.per_component(size))
    field = data.fields["train"][0]
    filled, deviations, anomalies = task.filled(field, data.hierarchy)
    assert filled.shape == (162, 3) and deviations.shape == anomalies.shape == (162, 2)
    first, last = sorted(bodies.glob("*.ply"))[:2]
    template, surface = task.template()
    way = task.interpolate_meshes(read_mesh(first), read_mesh(last), 4)
    ends = [displacements(read_mesh(path), template, surface, path.name) for path in (first, last)]
    for end, mesh in zip(ends, (way[0], way[-1]), strict=True):
        mean_of_end = task.network(task.normalised(torch.from_numpy(end).float()), surface).detach()
        made = displaced(template, surface, mean_of_end * task.size + task.mean, "")
        np.testing.assert_allclose(mesh.vertices, made.vertices, atol=1e-5)
    assert len(way) == 4 and not np.allclose(way[0].vertices, way[1].vertices, atol=1e-5)
    hidden = field.clone()
    hidden[5] = torch.nan
    _, wider, unknown = task.filled(hidden, data.hierarchy)
    assert wider.isfinite().all() and unknown[5].isnan().all() and unknown[6].isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden": 1.0}, "hidden 1.0 has to be in"),
        ({"samples": 1}, "samples 1 at least 2"),
        ({"options": SMALL | {"latent": "1x3"}}, "latent 1x3 have order 3"),
        ({"spec": {}}, "needs data with fields"),
    ],
)
def test_bad_options_are_one_line(options, said):
    given = {"in_type": "1x0", "field_names": ["t"], "spec": {"out_type": "1x0"}, "options": SMALL}
    with pytest.raises(InputError, match=said) as error:
        GenerationTask(**(given | options))
    assert "\n" not in str(error.value)


def test_meshes_of_other_triangles_are_refused(bodies, tmp_path):
    for k in (0, 1):
        save_mesh(icosphere(k), tmp_path / f"{k}.ply")
    with pytest.raises(InputError, match="triangles, not those of the template"):
        MeshDisplacements(str(tmp_path), num_levels=1, test_fraction=0.0).spec  # noqa: B018
    with pytest.raises(InputError, match="no folder with meshes"):
        MeshDisplacements(str(tmp_path / "none"))
