"""From mesh files to samples: cache and worker processes change how long it takes, and nothing else."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import DEFECTIVE, blob
from test_cache import assert_same

from meshconv import InputError, Neighbourhood, load_mesh
from meshconv.datasets import MeshFolder, MeshSample, Preparation, prepare_mesh, prepare_meshes, write_shapes
from meshconv.geometry import mesh_features
from meshconv.io import Cache, save_mesh


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two meshes of each of eight classes, one more with defects and one that cannot be used."""
    root = tmp_path_factory.mktemp("shapes")
    files = write_shapes(root, train=1, test=1, seed=3)
    save_mesh(DEFECTIVE["duplicate_faces"](), files[3].with_name("defective.ply"))
    files[4].with_name("broken.obj").write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n")
    return root


def paths_of(root: Path) -> list[tuple[Path, int]]:
    return [(path, i) for i, path in enumerate(sorted(p for p in root.rglob("*") if p.is_file()))]


def assert_equal(first: list[MeshSample], second: list[MeshSample]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.target, a.name) == (b.target, b.name)
        for left, right in zip((a.x, a.surface, a.origin), (b.x, b.surface, b.origin), strict=True):
            assert_same(left, right)


def test_a_sample_is_the_mesh_of_the_file(shapes: Path) -> None:
    path = next(shapes.rglob("defective.ply"))
    how = Preparation("normal_aligning", neighbourhood=Neighbourhood(radius=0.2))
    sample = prepare_mesh(path, 5, how)
    mesh = load_mesh(path)
    graph = mesh.gauge_graph(Neighbourhood(radius=0.2), transport="normal_aligning")
    assert_same(sample.surface, graph.to(torch.float32))
    assert_same(sample.x, mesh_features(mesh, graph).to(torch.float32))
    assert (int(sample.target), sample.name) == (5, str(path))
    assert sample.origin is not None
    assert sample.origin.changes.duplicate_faces > 0
    assert len(sample.origin.face_to) == DEFECTIVE["duplicate_faces"]().num_faces


def test_cache_and_workers_change_no_bit(shapes: Path, tmp_path: Path) -> None:
    paths, how, state = paths_of(shapes), Preparation(neighbourhood=Neighbourhood(rings=2)), torch.get_rng_state()
    plain, problems = prepare_meshes(paths, how, workers=0)
    assert len(plain) == len(paths) - 1
    assert len(problems) == 1
    assert "broken.obj" in problems[0]
    for workers in (2, 0, 2):  # filled by processes, then read twice
        samples, same = prepare_meshes(paths, how, cache=Cache(tmp_path), workers=workers)
        assert_equal(samples, plain)
        assert same == problems
    assert Cache(tmp_path).size[0] == len(plain)
    assert torch.equal(torch.get_rng_state(), state)  # training draws the same numbers with and without


@pytest.mark.slow
def test_processes_that_start_afresh(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = paths_of(shapes)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    assert_equal(prepare_meshes(paths, workers=2)[0], prepare_meshes(paths, workers=0)[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_reported_is_reported_by_this_process_and_again(
    shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    caplog.set_level(logging.INFO)
    cache, paths = Cache(tmp_path / "cache"), paths_of(shapes)
    copy = tmp_path / "copy.ply"
    shutil.copy(next(shapes.rglob("defective.ply")), copy)
    for place in (paths, paths, [(copy, 0)]):
        caplog.clear()
        prepare_meshes(place, cache=cache, workers=workers)
        assert caplog.text.count("faces removed") == 1
        assert ("broken.obj" in caplog.text) == (place is paths)
    assert f"{copy}: " in caplog.text  # the entry is that of the same content elsewhere


def test_every_choice_has_its_own_entry(shapes: Path, tmp_path: Path) -> None:
    path, cache = next(shapes.rglob("*_000.ply")), Cache(tmp_path)
    choices = [{}, {"transport": "normal_aligning"}]
    near = ({"rings": 2}, {"rings": 3}, {"radius": 0.1}, {"nearest": 9})
    choices += [{"neighbourhood": Neighbourhood(**extent)} for extent in near]
    choices += [{"on_defect": "error"}, {"num_levels": 2}, {"max_faces": 200}]
    choices += [{"augment": {"noise": 0.1}, "variant": k} for k in (1, 2)]
    for choice in choices:
        for _ in range(2):
            assert_equal([prepare_mesh(path, how=Preparation(**choice), cache=cache)],
                         [prepare_mesh(path, how=Preparation(**choice))])  # fmt: skip
    assert cache.size[0] == len(choices)


def test_a_changed_file_is_another_content(tmp_path: Path) -> None:
    mesh, cache = blob(), Cache(tmp_path / "cache")
    for factor in (1.0, 1.5):
        mesh.vertices[:, 0] *= factor
        save_mesh(mesh, tmp_path / "mesh.ply")
        assert_equal([prepare_mesh(tmp_path / "mesh.ply", cache=cache)], [prepare_mesh(tmp_path / "mesh.ply")])
    assert cache.size[0] == 2


def test_strict_names_the_bad_file(shapes: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"broken\.obj"):
            prepare_meshes(paths_of(shapes), strict=True, cache=Cache(tmp_path), workers=workers)
    with pytest.raises(InputError, match="no such file"):
        prepare_mesh(tmp_path / "nowhere.obj", cache=Cache(tmp_path))


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"transport": "parallel"}, "levi_civita, normal_aligning"),
        ({"on_defect": "mend"}, "repair, drop, error"),
        ({"rings": 2, "radius": 0.1}, "at most one"),
        ({"nearest": 0}, "greater than 0"),
        ({"rings": 1.5}, "whole numbers"),
        ({"radius": "wide"}, "greater than 0"),
        ({"num_levels": 0}, "num_levels 0 has to be 1 to 32"),
        ({"max_faces": 3}, "max_faces 3 has to be at least 32"),
        ({"workers": -1}, "at least 0"),
        ({"features": ["colour"]}, "'colour' is not available; choose from "),
    ],
)
def test_bad_choices(shapes: Path, choice: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        MeshFolder(str(shapes), **choice)  # type: ignore[arg-type]


def test_the_folder_prepares_as_it_is_told_and_says_so(shapes: Path, tmp_path: Path) -> None:
    data = MeshFolder(str(shapes), radius=0.25, features=["curvature", "hks"], cache=str(tmp_path), workers=0)
    (sample, *_) = data.samples("test")
    assert float(sample.surface.log_radius.max()) > 3 * float(prepare_mesh(sample.name).surface.log_radius.mean())
    assert data.spec == {"data": "meshconv.datasets.MeshFolder",
                         "transport": "levi_civita", "on_defect": "repair", "rings": None,
                         "radius": 0.25, "nearest": None, "features": ["curvature", "hks"], "num_levels": 1,
                         "max_faces": None, "augment": None, "variant": 0, "resolution": None}  # fmt: skip
    assert str(data.in_type) == "18x0 + 1x2" and sample.x.shape[1] == data.in_type.dim
    how = Preparation.from_spec(data.spec)
    assert_same(prepare_mesh(sample.name, how=how).surface, sample.surface)
    assert Preparation.from_spec({"data": "x.Y", "transport": "normal_aligning"}) == Preparation("normal_aligning")
    assert Cache(tmp_path).size[0] == len(data.samples("test"))
    assert np.isfinite(sample.x.numpy()).all()
