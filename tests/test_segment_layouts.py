"""How data sets lie in their folders: which labels are whose, and what is for training."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from segments import halves, write_labels, write_mesh

from meshconv import InputError
from meshconv.datasets import MeshFolder, MeshSegments
from meshconv.datasets.meshes.layouts.segments import pair_files, split_files


def put(root: Path, meshes: dict[str, str], kind: str = "faces") -> Path:
    """Meshes and the label file of each, relative to ``root``."""
    for seed, (mesh, labels) in enumerate(meshes.items()):
        write_labels(root / labels, halves(write_mesh(root / mesh, seed), kind))
    return root


def splits(root: Path, **options: object) -> dict[str, dict[str, str]]:
    """Label file of each mesh, by split, relative to the folder."""
    chosen: dict[str, object] = {"test_fraction": 0.25, "val_fraction": 0.0, "seed": 0, **options}
    found = split_files(root, pair_files(root), **chosen)  # type: ignore[arg-type]
    return {
        split: {p.mesh.relative_to(root).as_posix(): p.labels.relative_to(root).as_posix() for p in part if p.labels}
        for split, part in found.items()
    }


LAYOUTS = {
    "RNA": ({f"off/{k}.off": f"labels/{k}.txt" for k in ("a_A", "b_B", "c_C")}, {"a_A.off", "c_C.off"}, "vertices"),
    "MeshCNN": ({"train/1.obj": "seg/1.eseg", "train/2.obj": "seg/2.eseg", "test/3.obj": "seg/3.eseg"}, None, "edges"),
    "SubdivNet": ({"train/1.obj": "train/1.json", "train/2.obj": "train/2.json", "test/1x.obj": "test/1x.json"},
                  None, "faces"),
    "COSEG": ({f"shapes/{k}.off": f"gt/{k}.seg" for k in range(1, 6)}, None, "faces"),
    "beside": ({f"{k}.ply": f"{k}_labels.txt" for k in range(4)}, None, "vertices"),
    "parallel": ({f"meshes/{part}/{s}/{k}.ply": f"segs/{part}/{s}/{k}.seg"
                  for part in ("train", "test") for s in "ab" for k in range(2)}, None, "faces"),
    "with the mesh's suffix": ({f"{k}.off": f"labels/{k}.off.labels" for k in range(3)}, None, "faces"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layouts_of_data_sets(tmp_path: Path, name: str) -> None:
    files, train, kind = LAYOUTS[name]
    for k, labels in enumerate(files.values()):  # json is written by hand
        if labels.endswith(".json"):
            values = halves(write_mesh(tmp_path / list(files)[k], k), kind).tolist()
            (tmp_path / labels).write_text(f'{{"raw_labels": [0], "sub_labels": {values}}}')
    put(tmp_path, {m: s for m, s in files.items() if not s.endswith(".json")}, kind)
    if name == "MeshCNN":
        for k in (1, 2, 3):  # soft labels: one column a class
            (tmp_path / "sseg").mkdir(exist_ok=True)
            (tmp_path / "sseg" / f"{k}.seseg").write_text("1 0\n")
        (tmp_path / "classes.txt").write_text("0\n1\n")
    if train:
        (tmp_path / "train.txt").write_text("".join(f"{n}\n" for n in sorted(train)))
        (tmp_path / "test.txt").write_text("".join(f"{Path(n).name}\n" for n in files if Path(n).name not in train))
    found = splits(tmp_path)
    assert {**found["train"], **found["test"]} == files
    if train:
        assert {Path(n).name for n in found["train"]} == train
    elif any("train" in n for n in files):
        assert set(found["train"]) == {n for n in files if "train" in n}
    else:
        assert len(found["test"]) == 1
    data = MeshSegments(str(tmp_path), cache=False, workers=0)
    assert data.element == kind
    assert data.class_values == [0, 1]


def test_the_human_benchmark_shares_label_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    meshes = {
        "meshes/train/adobe/ada.off": "segs/train/adobe/ada.txt",
        "meshes/train/faust/tr_reg_000.off": "segs/train/faust/faust_corrected.txt",
        "meshes/train/faust/tr_reg_001.off": "segs/train/faust/faust_corrected.txt",
        "meshes/train/scape/mesh000.off": "segs/train/scape/scape_corrected.txt",
        "meshes/train/MIT_animation/meshes_crane/meshes/mesh_0000.obj": "segs/train/mit/mit_crane_corrected.txt",
        "meshes/train/MIT_animation/meshes_march1/meshes/mesh_0000.obj": "segs/train/mit/mit_march1_corrected.txt",
        "meshes/test/shrec/1.off": "segs/test/shrec/shrec_1_full.txt",
        "meshes/test/shrec/12_fix_orientation.off": "segs/test/shrec/shrec_12_full.txt",
    }
    put(tmp_path, meshes)
    write_mesh(tmp_path / "meshes/test/shrec/16.off", 30)
    found = splits(tmp_path)
    assert {**found["train"], **found["test"]} == meshes
    assert set(found["test"]) == {n for n in meshes if "shrec" in n}
    assert "1 meshes have no labels and are left out" in caplog.text
    assert "shrec_16_full.txt is missing" in caplog.text


def test_the_same_name_in_several_folders(tmp_path: Path) -> None:
    files = {f"{c}/shapes/{k}.off": f"{c}/gt/{k}.seg" for c in ("chairs", "vases") for k in (1, 2)}
    put(tmp_path, files)
    found = splits(tmp_path)
    assert {**found["train"], **found["test"]} == files
    # A mesh without labels does not get those of its namesake.
    write_mesh(tmp_path / "lamps/shapes/1.off", 9)
    assert len(pair_files(tmp_path)) == 4


def test_a_pattern_chooses_among_label_files(tmp_path: Path) -> None:
    put(tmp_path, {f"{k}.off": f"fine/{k}.txt" for k in range(3)})
    put(tmp_path, {f"{k}.off": f"coarse/{k}.txt" for k in range(3)})
    chosen = pair_files(tmp_path, "coarse/*.txt")
    assert [p.labels for p in chosen] == [tmp_path / "coarse" / f"{k}.txt" for k in range(3)]


def test_lists_may_name_meshes_that_are_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    put(tmp_path, {f"m/{k}.off": f"l/{k}.txt" for k in range(4)})
    (tmp_path / "train.txt").write_text("0.off\nm/1.off\n\n9.off\n")
    (tmp_path / "test.txt").write_text("2\n")
    found = splits(tmp_path)
    assert [list(found[s]) for s in ("train", "val", "test")] == [["m/0.off", "m/1.off"], [], ["m/2.off"]]
    assert "train.txt: 1 of 3 names are no meshes with labels, the first is '9.off'" in caplog.text
    assert "1 meshes are neither for training nor for testing, the first is " in caplog.text
    (tmp_path / "test.txt").write_text("8\n9\n")
    with pytest.raises(InputError, match=r"test\.txt: none of its 2 names is that of a mesh with labels, e\.g\. '8'"):
        splits(tmp_path)


def test_a_drawn_split_is_that_of_its_seed(tmp_path: Path) -> None:
    put(tmp_path, {f"{k}.off": f"{k}.txt" for k in range(8)})
    one, same, other = (splits(tmp_path, seed=s, val_fraction=0.2) for s in (0, 0, 1))
    assert one == same != other
    assert [len(one[s]) for s in ("train", "val", "test")] == [5, 1, 2]


def test_modelnet(tmp_path: Path) -> None:
    """Its files begin ``OFF8 4 0`` where a line break is missing, and lie in class/train and class/test."""
    for label, name in enumerate(("chair", "night_stand")):
        for part, count in (("train", 2), ("test", 1)):
            for k in range(count):
                path = tmp_path / name / part / f"{name}_{k:04}.off"
                write_mesh(path, 10 * label + k + (part == "test") * 5)
                path.write_text(path.read_text().replace("OFF\n", "OFF", 1))
    data = MeshFolder(str(tmp_path), cache=False, workers=0)
    assert data.class_names == ["chair", "night_stand"]
    assert [len(data.samples(s)) for s in ("train", "test")] == [4, 2]
    assert data.class_counts.tolist() == [2, 2]


def test_an_empty_class_folder_and_doubles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for name, part, seed in (("a", "train", 0), ("a", "test", 0), ("b", "train", 1)):
        write_mesh(tmp_path / name / part / f"{seed}.ply", seed)
    (tmp_path / "empty").mkdir()
    data = MeshFolder(str(tmp_path), cache=False, batch_vertices=200)
    assert "no mesh files, so no class 'empty'" in caplog.text
    assert "no test mesh of class 'b'" in caplog.text
    assert "1 test meshes are in the training set as well" in caplog.text
    assert [len(b.x) for b in data.train_dataloader()] == [162, 162]


def test_rna_files_as_they_are_distributed(tmp_path: Path) -> None:
    """Labels from -1; names with underscores; two lists."""
    root = put(tmp_path, {f"off/{n}.off": f"labels/{n}.txt" for n in ("1A_B", "2C_D", "3E_F")}, "vertices")
    for n in ("1A_B", "2C_D", "3E_F"):
        values = np.loadtxt(root / "labels" / f"{n}.txt").astype(int)
        write_labels(root / "labels" / f"{n}.txt", np.where(values == 0, -1, 258))
    (root / "train.txt").write_text("1A_B.off\n3E_F.off\n")
    (root / "test.txt").write_text("2C_D.off\n")
    data = MeshSegments(str(root), cache=False, workers=0)
    assert data.class_values == [-1, 258]
    assert [int(s.target.min()) for s in data.samples("test")] == [0]
