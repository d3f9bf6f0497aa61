"""Layouts of correspondence data, and what is wrong with them."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from correspondence_case import body, sphere_mesh, sphere_points, write_poses

from meshconv import InputError, load_mesh
from meshconv.datasets import MeshCorrespondence
from meshconv.datasets.meshes.correspondence import CategoryBatches
from meshconv.io import save_mesh


def _data(root: Path, **options) -> MeshCorrespondence:
    return MeshCorrespondence(str(root), **{"cache": False, "workers": 0, **options})


def _all(data: MeshCorrespondence) -> dict:
    splits = [split for split, files in data.files.items() if files]
    return {Path(s.name).name: s for split in splits for s in data.samples(split)}


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    """Five poses with 1-based files in ``corres``, and their common points."""
    root = tmp_path_factory.mktemp("poses")
    return root, write_poses(root, 5, 220)


@pytest.fixture
def folder(poses, tmp_path):
    shutil.copytree(poses[0], tmp_path / "data")
    return tmp_path / "data"


def _samples(folder: Path) -> dict[str, np.ndarray]:
    """Vertices of common points, counted from 0, as the files have them."""
    return {p.stem: np.loadtxt(p, dtype=int) - 1 for p in (folder / "corres").glob("*.vts")}


def test_vts_files_count_from_one(folder):
    data = _data(folder, num_levels=2)
    found, true = _all(data), _samples(folder)
    assert data.class_names == ["body"] and data.spec["data"] == "meshconv.datasets.MeshCorrespondence"
    assert {k: len(v) for k, v in data.files.items()} == {"train": 3, "val": 0, "test": 2}
    for name, sample in found.items():
        assert np.array_equal(sample.target.numpy(), true[Path(name).stem])
    (a, b), *_ = data.train_dataloader().shares
    batch = next(iter(torch.utils.data.DataLoader(data.samples("train"), batch_sampler=[[a, b]],
                                                  collate_fn=data.train_dataloader().collate_fn)))  # fmt: skip
    first, second = (data.samples("train")[i] for i in (a, b))
    assert torch.equal(batch.target, torch.stack([first.target, second.target + len(first.x)]))
    assert len(batch.surface.levels) == 2
    assert data.pairs("test") == [(0, 1), (1, 0)]


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".json"])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("place", ["", "vts", "labels"])
def test_other_files_places_and_counting(folder, suffix, base, place):
    true = _samples(folder)
    shutil.rmtree(folder / "corres")
    (folder / place).mkdir(exist_ok=True)
    true["body0"][0] = 0  # the first vertex is named at least once
    for name, values in true.items():
        path = folder / place / f"{name}{suffix}"
        if suffix == ".txt":
            np.savetxt(path, values + base, fmt="%d")
        elif suffix == ".npy":
            np.save(path, values + base)
        else:
            path.write_text(json.dumps({"vertices": (values + base).tolist()}))
    for name, sample in _all(_data(folder)).items():
        assert np.array_equal(sample.target.numpy(), true[Path(name).stem])


def test_index_base_can_be_said(folder):
    true = _samples(folder)
    for name, values in true.items():
        np.savetxt(folder / "corres" / f"{name}.vts", np.minimum(values, 200) + 1, fmt="%d")
    for name, sample in _all(_data(folder, index_base=0)).items():
        assert np.array_equal(sample.target.numpy(), np.minimum(true[Path(name).stem], 200) + 1)


def test_mirrored_points_and_formats_twice_are_not_taken(folder, caplog):
    true = _samples(folder)
    (folder / "corres_sym").mkdir()
    (folder / "ply").mkdir()
    for name in true:
        np.savetxt(folder / "corres_sym" / f"{name}.vts", np.ones(300), fmt="%d")
        np.savetxt(folder / "corres" / f"{name}.sym.vts", np.ones(300), fmt="%d")
        save_mesh(load_mesh(folder / f"{name}.off"), folder / "ply" / f"{name}.ply")
    found = _all(_data(folder))
    assert sorted(found) == [f"body{k}.off" for k in range(5)]
    assert "5 meshes are there several times" in caplog.text
    for name, sample in found.items():
        assert np.array_equal(sample.target.numpy(), true[Path(name).stem])


def test_labels_of_each_vertex(folder):
    true = _samples(folder)
    shutil.rmtree(folder / "corres")
    for name, values in true.items():
        labels = np.full(load_mesh(folder / f"{name}.off").num_vertices, -1)
        labels[values] = np.arange(300)  # a vertex that several points share has the last
        np.savetxt(folder / f"{name}.txt", labels, fmt="%d")
    for name, sample in _all(_data(folder)).items():
        target = sample.target.numpy()
        known = np.flatnonzero(target >= 0)
        assert len(known) > 100 and len(np.unique(target[known])) == len(known)
        assert np.array_equal(target[known], true[Path(name).stem][known])


@pytest.fixture
def registered(tmp_path):
    """Four meshes of two categories without any file beside them, of equally many vertices in each."""
    rng = np.random.default_rng(0)
    for name, count in (("ant", 200), ("bee", 230)):
        points = sphere_points(count, rng)
        for k in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            save_mesh(sphere_mesh(points, body(points) * rng.uniform(0.8, 1.2, 3)), tmp_path / name / f"{k}.ply")
    return tmp_path


def test_equal_numbering_in_categories_by_folder(registered):
    data = _data(registered, test_fraction=0.5)
    assert data.class_names == ["ant", "bee"]
    assert sorted(len(s.target) for s in data.samples("train")) == [200, 200, 230, 230]
    assert all(torch.equal(s.target, torch.arange(len(s.target))) for s in data.samples("train"))
    names = [Path(s.name).parent.name for s in data.samples("test")]
    assert data.pairs("test") and all(names[a] == names[b] for a, b in data.pairs("test"))
    for batch in data.train_dataloader():
        assert len({Path(name).parent for name in batch.names}) == 1


def test_unequal_numbers_of_vertices_without_files(registered):
    points = sphere_points(210, np.random.default_rng(1))
    save_mesh(sphere_mesh(points, body(points)), registered / "ant" / "4.ply")
    with pytest.raises(InputError, match=r"(210 vertices.*has 200|200 vertices.*has 210).*put a .vts file beside each"):
        _all(_data(registered))


def test_splits_by_folder_and_by_list(folder):
    lists = shutil.copytree(folder, folder.parent / "lists")
    (lists / "train.txt").write_text("body0\nbody3.off\n")
    (lists / "test.txt").write_text("body1\nbody4\n")
    for part, numbers in (("train", (0, 3)), ("test", (1, 4)), ("val", (2,))):
        (folder / part).mkdir()
        for k in numbers:
            (folder / f"body{k}.off").rename(folder / part / f"body{k}.off")
    for root in (lists, folder):
        data = _data(root)
        names = {part: [path.stem for path, _ in files] for part, files in data.files.items()}
        assert (names["train"], names["test"]) == (["body0", "body3"], ["body1", "body4"])
    assert names["val"] == ["body2"]


def test_listed_pairs_join_categories(folder):
    write_poses(folder, 4, 200, seed=5, name="other")
    assert _data(folder).class_names == ["body", "other"]
    pairs = [("body0", "other1"), ("other2", "body1"), ("body2", "body3")]
    (folder / "test_pairs.txt").write_text("".join(f"{a} {b}\n" for a, b in pairs))
    data = _data(folder, test_fraction=0.8)
    assert data.class_names == ["body"]
    names = [Path(s.name).stem for s in data.samples("test")]
    found = [(names[a], names[b]) for a, b in data.pairs("test")]
    assert found and found == [p for p in pairs if set(p) <= set(names)]
    (folder / "test_pairs.txt").write_text("body0 body9\n")
    with pytest.raises(InputError, match=r"test_pairs.txt: no mesh 'body9'"):
        _data(folder)


def test_no_listed_pair_is_of_test_meshes(folder, caplog):
    caplog.set_level(logging.WARNING)
    names = sorted(path.stem for path, _ in _data(folder).files["train"])
    (folder / "test_pairs.txt").write_text(f"{names[0]} {names[1]}\n")
    data = _data(folder)
    data.test_dataloader()
    assert data.pairs("test") == [(0, 1), (1, 0)]
    assert "0 of 1 listed pairs are of two test meshes; all pairs of their categories are taken" in caplog.text


def test_one_test_mesh_is_no_pair(folder):
    (folder / "test").mkdir()
    (folder / "body0.off").rename(folder / "test" / "body0.off")
    data = _data(folder)
    assert len(data.samples("train")) == 4
    with pytest.raises(InputError, match="no two of 1 test meshes are of one category"):
        data.test_dataloader()


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("place", ["a folder test", "test_fraction"])
def test_a_folder_that_holds_test_meshes_alone(folder, place, count):
    """All of its pairs, without a mesh to train on."""
    for k in range(count, 5):
        (folder / f"body{k}.off").unlink()
    if place == "a folder test":
        (folder / "test").mkdir()
        for path in folder.glob("*.off"):
            path.rename(folder / "test" / path.name)
    data = _data(folder, test_fraction=0.25 if place == "a folder test" else 1)
    assert len(data.test_dataloader()) == count
    assert len(data.pairs("test")) == count * (count - 1)
    with pytest.raises(InputError, match="no two of 0 training meshes are of one category"):
        data.train_dataloader()


def test_lists_of_names_with_spaces(folder):
    for suffix, place in ((".off", folder), (".vts", folder / "corres")):
        (place / f"body0{suffix}").rename(place / f"my body 0{suffix}")
    (folder / "train.txt").write_text("my body 0\nbody1.off\n\n")
    (folder / "test.txt").write_text("body2\nbody3\n")
    assert [p.stem for p, _ in _data(folder, categories="one").files["train"]] == ["my body 0", "body1"]


def test_no_more_pairs_than_wanted(folder):
    data = _data(folder, test_fraction=0.6, max_pairs=4)
    assert len(data.pairs("test")) == 4 == len(set(data.pairs("test")))


def test_names_without_numbers_are_one_category(folder):
    for k, name in enumerate(("anna", "bert", "carl", "dora", "emil")):
        (folder / f"body{k}.off").rename(folder / f"{name}.off")
        (folder / "corres" / f"body{k}.vts").rename(folder / "corres" / f"{name}.vts")
    assert len(_data(folder).samples("train")) == 3


def test_a_repaired_mesh_keeps_its_points(folder):
    """A face is folded away and a loose vertex stands in front: numbers of the file still lead to the right places."""
    path, true = folder / "body0.off", _samples(folder)["body0"]
    lines = path.read_text().splitlines()
    v, f, _ = map(int, lines[1].split())
    points, faces = lines[2 : 2 + v], np.loadtxt(lines[2 + v :], dtype=int)
    faces[:, 1:] += 1
    rows = [" ".join(map(str, row)) for row in [*faces.tolist(), [3, 5, 5, 6]]]
    path.write_text("\n".join(["OFF", f"{v + 1} {f + 1} 0", "9 9 9", *points, *rows]) + "\n")
    np.savetxt(folder / "corres" / "body0.vts", true + 2, fmt="%d")
    sample = _all(_data(folder))["body0.off"]
    at = np.array([list(map(float, row.split())) for row in points])[true]
    assert np.allclose(sample.surface.positions.numpy()[sample.target.numpy()], at, atol=1e-5)


def test_a_point_beyond_the_mesh(folder):
    values = _samples(folder)["body0"] + 1
    values[7] = 5000
    np.savetxt(folder / "corres" / "body0.vts", values, fmt="%d")
    with pytest.raises(InputError, match=r"body0.off: common point 7 is vertex 4999, .* of a mesh that has 220"):
        _all(_data(folder, strict=True))


def test_files_of_unequal_length(folder):
    np.savetxt(folder / "corres" / "body0.vts", np.arange(1, 200), fmt="%d")
    with pytest.raises(InputError, match=r"body0.vts: 199 common points of body, but .*body.\.vts has 300"):
        _data(folder, reading="samples")
    with pytest.raises(InputError, match=r"entries beside a mesh of 2\d\d vertices"):
        _all(_data(folder, strict=True))


def test_a_mesh_without_its_file(folder, caplog):
    (folder / "corres" / "body0.vts").unlink()
    assert "body0.off" not in _all(_data(folder)) and "1 meshes left out" in caplog.text
    with pytest.raises(InputError, match=r"body0.off: no .vts, .npy, .txt, .json file of its name"):
        _data(folder, strict=True)


@pytest.mark.parametrize("content", ["1 2 x", "", "1.5 2", "1 nan"])
def test_files_that_are_no_lists(folder, content):
    (folder / "corres" / "body1.vts").write_text(content)
    with pytest.raises(InputError, match=r"body1.vts: no list of vertex numbers"):
        _data(folder)


def test_too_few_meshes(folder, tmp_path):
    with pytest.raises(InputError, match=r"not a folder"):
        _data(tmp_path / "nowhere")
    for k in (1, 2, 3, 4):
        (folder / f"body{k}.off").unlink()
    with pytest.raises(InputError, match=r"1 meshes below it; correspondence takes at least two"):
        _data(folder)
    with pytest.raises(InputError, match=r"batch_size 1 has to be at least 2"):
        _data(folder, batch_size=1)


def test_no_category_with_two_training_meshes(folder):
    for part, names in (("train", ("ant0", "bee0")), ("test", ("ant1", "bee1"))):
        (folder / part).mkdir()
        for k, name in enumerate(names):
            (folder / f"body{k + 2 * (part == 'test')}.off").rename(folder / part / f"{name}.off")
            shutil.copy(folder / "corres" / f"body{k + 2 * (part == 'test')}.vts", folder / "corres" / f"{name}.vts")
    (folder / "body4.off").unlink()
    data = _data(folder)
    with pytest.raises(InputError, match=r"no two of 2 training meshes are of one category.*set categories to 'one'"):
        data.train_dataloader()
    assert len(_data(folder, categories="one").samples("train")) == 2


def test_batches_of_a_category():
    names = ["a"] * 5 + ["b"] * 2 + ["c"]
    batches = CategoryBatches(names, 2, seed=3)
    first, second = list(batches), list(batches)
    assert len(first) == len(second) == len(batches) == 3 + 1 + 1
    assert first != second
    for epoch in (first, second):
        assert {i for batch in epoch for i in batch} == set(range(8))
        assert all(len(batch) == 2 and len({names[i] for i in batch}) == 1 for batch in epoch)
    assert batches.of_epoch(0) == first


def test_what_was_understood_is_told(folder, caplog):
    caplog.set_level(logging.INFO)
    _data(folder)
    assert "entries of 5 files name the vertices of common points, from 1 on" in caplog.text
