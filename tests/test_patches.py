"""Geodesic patches of large meshes: outputs inside are those on the whole, and a training has every vertex once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import icosphere

from meshconv import InputError, Predictor, TriangleMesh, fit
from meshconv.cli import main
from meshconv.datasets import MeshFields, MeshNumbers, MeshSegments, SurfaceBatch, collate
from meshconv.geometry import Hierarchy, Rings, geodesic_patches
from meshconv.geometry.graph.patches import seen_points
from meshconv.io import read_mesh, save_mesh
from meshconv.models import FieldUNet, ShapeUNet
from meshconv.train import RegressionTask


@pytest.fixture(scope="module")
def surface() -> Hierarchy:
    """A ball and a smaller one beside it."""
    whole, small = icosphere(4), icosphere(2)
    vertices = np.concatenate([whole.vertices, 0.3 * small.vertices + 3])
    mesh = TriangleMesh(vertices, np.concatenate([whole.faces, small.faces + whole.num_vertices]))
    return mesh.hierarchy(2).to(torch.float32)


@pytest.mark.parametrize("aggregation", ["mean", "quadrature"])
@pytest.mark.parametrize("blocks", [1, [1, 2]])
@pytest.mark.filterwarnings("ignore")
def test_outputs_inside_are_those_on_the_whole(surface: Hierarchy, aggregation: str, blocks: int | list[int]) -> None:
    torch.manual_seed(0)
    options = {"channels": (4, 4), "max_order": 1, "width": 16, "context": 0, "aggregation": aggregation}
    network = FieldUNet("2x0 + 1x1", "1x0 + 1x1", blocks=blocks, **options).eval()
    x = torch.randn(surface.num_vertices, 4)
    assert network.reach is not None
    patches = geodesic_patches(surface, network.reach, 1600)
    assert len(patches) > 4 and max(len(patch.points) for patch in patches) <= 1600
    assert sorted(torch.cat([patch.rows for patch in patches]).tolist()) == list(range(surface.num_vertices))
    with torch.no_grad():
        whole = network(x, surface)
        for patch in patches:
            found = network(x[patch.points], patch.of(surface))
            assert torch.allclose(found[patch.numbers(patch.rows)], whole[patch.rows], atol=1e-5)


def test_the_halo_is_as_wide_as_the_network_sees_and_no_wider(surface: Hierarchy) -> None:
    """Outputs depend on inputs among the seen points, by their derivative, and on nearly all of those."""
    torch.manual_seed(0)
    network = FieldUNet("2x0", "1x0", channels=(4, 4), max_order=1, width=16, context=0).eval()
    assert network.reach == [Rings(3, 2), Rings(2, 0)]
    x = torch.randn(surface.num_vertices, 2, requires_grad=True)
    for point in (0, 700, 2570):
        (slope,) = torch.autograd.grad(network(x, surface)[point].sum(), x)
        depends = slope.abs().sum(1).nonzero()[:, 0]
        seen = seen_points(surface, network.reach, torch.tensor([point]))
        assert set(depends.tolist()) <= set(seen.tolist())
        assert len(depends) > 0.9 * len(seen)


def test_faces_are_in_one_patch_with_all_their_vertices(surface: Hierarchy) -> None:
    torch.manual_seed(0)
    network = ShapeUNet("2x0", 3, channels=(4, 4), max_order=1, width=16, context=0).eval()
    faces = torch.from_numpy(icosphere(4).faces)
    x = torch.randn(surface.num_vertices, 2)
    patches = geodesic_patches(surface, network.reach, 1700, faces)
    assert sorted(torch.cat([patch.rows for patch in patches]).tolist()) == list(range(len(faces)))
    with torch.no_grad():
        whole = network(x, surface, faces)
        for patch in patches:
            own = patch.numbers(faces[patch.rows])
            assert torch.equal(patch.points[own], faces[patch.rows])
            assert torch.allclose(network(x[patch.points], patch.of(surface), own), whole[patch.rows], atol=1e-5)


def test_a_graph_is_divided_by_rings(surface: Hierarchy) -> None:
    graph = surface.finest
    patches = geodesic_patches(graph, [Rings(2)], 400)
    assert sorted(torch.cat([patch.rows for patch in patches]).tolist()) == list(range(graph.num_vertices))
    inside = torch.zeros(graph.num_vertices, dtype=torch.bool)
    inside[patches[0].rows] = True
    for _ in range(2):
        inside = inside.index_put((graph.dst[inside[graph.src]],), torch.tensor(True))
    assert patches[0].points.tolist() == inside.nonzero()[:, 0].tolist()
    with pytest.raises(InputError, match="max_vertices 18: the network sees 19 vertices from one point"):
        geodesic_patches(graph, [Rings(2)], 18)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, ball = tmp_path_factory.mktemp("balls"), icosphere(4)
    for k, stretch in enumerate((1.0, 1.5, 0.7)):
        vertices = ball.vertices * [1, 1, stretch]
        z = ball.vertices[:, 2]
        data = {"height": z, "push": np.stack([z, 0 * z, 0 * z], axis=1), "side": (z > 0).astype(np.int64)}
        of_faces = {"part": (z[ball.faces].mean(1) > 0).astype(np.int64)}
        save_mesh(TriangleMesh(vertices, ball.faces, "", data, of_faces), root / f"{k}.vtp")
    save_mesh(icosphere(2), root.parent / "small.ply")
    return root


OPTIONS = {"cache": False, "workers": 0, "features": ["coordinates"], "num_levels": 2, "max_vertices": 1500}


def test_every_vertex_counts_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="meshconv")
    data = MeshFields(str(folder), ["height", "push"], test_fraction=0.34, batch_size=1, **OPTIONS)
    network = {"channels": [4, 4], "max_order": 1, "width": 16, "context": 0}
    task = RegressionTask("FieldUNet", str(data.in_type), data.field_names, data.spec, network).eval()
    data.reach = task.reach
    batches = list(data.train_dataloader())
    assert "2 meshes are in" in caplog.text
    assert all(batch.surface.num_vertices <= 1500 for batch in batches)
    known = torch.cat([batch.target[~batch.target.isnan().any(1)] for batch in batches])
    whole = torch.cat([sample.target for sample in data.samples("train")])
    assert sorted(known[:, 0].tolist()) == sorted(whole[:, 0].tolist())
    del task.hparams["spec"]["max_vertices"]

    def error(batch: SurfaceBatch) -> np.ndarray:
        """The loss times the area that it is a mean over, and that area."""
        with torch.no_grad():
            loss = float(task.compared(batch)[-1])
        area = float(batch.surface.finest.areas[~batch.target[:, 0].isnan()].sum())
        return np.array([area * loss, area])

    parts = np.sum([error(batch) for batch in batches], axis=0)
    assert parts == pytest.approx(np.sum([error(collate([s])) for s in data.samples("train")], axis=0), rel=1e-5)


@pytest.mark.parametrize("element", ["vertices", "faces"])
def test_a_whole_mesh_is_predicted_in_pieces_as_at_once(folder: Path, element: str) -> None:
    torch.manual_seed(0)
    options = {**OPTIONS, "test_fraction": 0.34}
    if element == "vertices":
        data = MeshFields(str(folder), ["height", "push"], tangent=False, **options)
    else:
        data = MeshSegments(str(folder), attribute="part", **options)
    sizes: list[int] = []

    class Watched(FieldUNet if element == "vertices" else ShapeUNet):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, *given: object) -> torch.Tensor:
            sizes.append(len(x))
            return super().forward(x, *given)

    out = data.out_type if element == "vertices" else 2
    network = Watched(data.in_type, out, channels=(4, 4), max_order=1, width=16, context=0)
    from meshconv.train import SegmentationTask

    plain = {"channels": [4, 4], "max_order": 1, "width": 16, "context": 0}
    if element == "vertices":
        task = RegressionTask("FieldUNet", str(data.in_type), data.field_names, data.spec, plain)
    else:
        task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, plain)
    task.network = network
    task.eval()
    batch: SurfaceBatch = collate([data.samples("test")[0]])
    with torch.no_grad():
        pieces = task(batch)
        assert len(sizes) > 3 and max(sizes) <= 1500
        del task.hparams["spec"]["max_vertices"]
        whole = task(batch)
    assert sizes[-1] == 2562
    assert torch.allclose(pieces, whole, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.slow
def test_training_on_patches_and_prediction(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"root": str(folder), "fields": ["height"], "val_fraction": 0.0, "batch_size": 1, **OPTIONS,
               "trainer.max_epochs": 1, "trainer.accelerator": "cpu", "trainer.enable_progress_bar": False}  # fmt: skip
    network = {"channels": [4, 4], "max_order": 1, "width": 16, "context": 0}
    predict = fit("regress", **options, **{"model.init_args.options": network})
    assert isinstance(predict, Predictor)
    command = ["test", "--config", "runs/regress/config.yaml", "--ckpt_path", "last"]
    errors = []
    for more in ([], ["--data.init_args.max_vertices", "2000"], ["--data.init_args.max_vertices", "9999"]):
        assert main([*command, *more]) == 0  # however it is divided
        errors.append(json.loads(Path("runs/regress/test_metrics.json").read_text())["rmse/height"])
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-5)
    assert np.isfinite(predict(folder / "0.vtp").fields["height"]).all()
    with pytest.raises(InputError, match="max_vertices needs a network that says how far it sees"):
        fit("regress", **options, **{"model.init_args.options": {**network, "context": 4}})


def test_what_has_no_patches_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "drag.csv").write_text("mesh,drag\na,1\n")
    save_mesh(read_mesh(folder / "0.vtp"), tmp_path / "a.ply")
    with pytest.raises(InputError, match="MeshNumbers has targets of whole meshes"):
        MeshNumbers(str(tmp_path), **OPTIONS)
    with pytest.raises(InputError, match="leave variants and resolution out"):
        MeshFields(str(folder), ["height"], **OPTIONS, variants=2, augment={"noise": 0.1})
    with pytest.raises(InputError, match="max_vertices 0 has to be at least 1"):
        MeshFields(str(folder), ["height"], **{**OPTIONS, "max_vertices": 0})
    data = MeshFields(str(folder), ["height"], **OPTIONS)
    with pytest.raises(InputError, match="one with context 0"):
        data.train_dataloader()
