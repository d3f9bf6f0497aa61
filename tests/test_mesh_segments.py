"""Labels of vertices, faces and edges: found beside the meshes, kept through the repair, brought back to the file."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from defective import damaged
from meshes import blob, tetrahedron
from segments import body, halves, write_bodies, write_labels, write_mesh

from meshconv import InputError, TriangleMesh
from meshconv.datasets import MeshSegments, Preparation, prepare_mesh
from meshconv.datasets.meshes.transfer.elements import ElementLabels, edges_of, elements_of_file
from meshconv.io import read_mesh, save_mesh
from meshconv.models import ShapeUNet

KINDS = ("vertices", "faces", "edges")


def classes_of_file(target, kind, sample, raw):
    place = elements_of_file(kind, sample, raw)
    return np.where(place >= 0, target[place], -1)


def data_of(root: Path, **options: object) -> MeshSegments:
    return MeshSegments(str(root), **{"cache": False, "workers": 0, "batch_size": 2, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "first"), [(".txt", 0), (".npy", 1), (".seg", -1)])
def test_the_kind_of_element_is_known_by_the_number_of_labels(
    tmp_path: Path, kind: str, suffix: str, first: int
) -> None:
    data = data_of(write_bodies(tmp_path, kind, 3, suffix, first), num_levels=2)
    assert data.element == kind
    assert data.class_names == [str(first), str(first + 1)]
    assert data.spec["data"] == "meshconv.datasets.MeshSegments"
    assert data.spec["class_values"] == [first, first + 1]
    expected = [halves(body(int(path.stem)), kind) for path, _ in data.files["train"]]
    assert data.class_counts.tolist() == np.bincount(np.concatenate(expected)).tolist()
    (batch,) = data.train_dataloader()
    assert len(batch.target) == len(batch.target[batch.target >= 0]) == sum(map(len, expected))
    assert len(batch.surface.levels) == 2
    # Labels and elements belong together: the far elements of each mesh are those near the bump.
    points = batch.surface.levels[0].positions
    if kind != "vertices":
        assert batch.elements.shape == (len(batch.target), 3 if kind == "faces" else 2)
        points = points[batch.elements].mean(1)
    distance = points.norm(dim=1)
    assert distance[batch.target == 1].mean() > 1.25 * distance[batch.target == 0].mean()


def test_edges_are_numbered_as_meshcnn_does() -> None:
    faces = [[0, 1, 2], [2, 1, 3], [3, 1, 0]]
    found: dict[tuple[int, ...], int] = {}
    for face in faces:
        for i in range(3):
            found.setdefault(tuple(sorted((face[i], face[(i + 1) % 3]))), len(found))
    assert edges_of(np.array(faces)).tolist() == [list(edge) for edge in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "defect", ["duplicate", "fin", "bow_tie", "seam", "isolated", "zero_edge", "turned", "flat_face"]
)
def test_labels_follow_the_repair_and_come_back(tmp_path: Path, kind: str, defect: str) -> None:
    raw = damaged(defect)
    path = tmp_path / "mesh.ply"
    save_mesh(raw, path)
    edges = edges_of(raw.faces)
    corners = {"vertices": np.arange(raw.num_vertices)[:, None], "faces": raw.faces, "edges": edges}[kind]
    labels = np.arange(len(corners))
    sample = prepare_mesh(path, ElementLabels(kind, labels, "labels"), Preparation(num_levels=2))
    known = sample.target >= 0
    assert known.float().mean() > 0.9
    graph = sample.surface.levels[0]
    places = graph.positions if sample.elements is None else graph.positions[sample.elements].mean(1)
    there = torch.from_numpy(raw.vertices[corners].mean(1)).float()[sample.target[known]]
    moved = (places[known] - there).norm(dim=1) > 1e-5
    assert moved.float().mean() < (0.03 if defect in ("flat_face", "zero_edge") else 0.001)  # flipped, shrunk
    back = classes_of_file(sample.target.numpy(), kind, sample, read_mesh(path))
    assert back.shape == labels.shape
    # What the repair kept comes back as it was; what it took has the label of something that lies where it lay.
    kept = np.isin(labels, sample.target.numpy())
    if kind == "vertices":
        kept &= np.isin(labels, raw.faces)
    assert (back == labels)[kept].mean() > 0.99
    assert (back >= 0).mean() > 0.97


def test_removed_elements_take_the_label_of_the_nearest(tmp_path: Path) -> None:
    mesh = body(0)
    faces = np.concatenate([mesh.faces, mesh.faces[:1, [0, 0, 1]]])  # the last has no area
    vertices = np.concatenate([mesh.vertices, 1.1 * mesh.vertices[5:6]])  # the last has no face
    save_mesh(TriangleMesh(vertices, faces), tmp_path / "mesh.ply")
    raw = read_mesh(tmp_path / "mesh.ply")
    sample = prepare_mesh(tmp_path / "mesh.ply", ElementLabels("faces"))
    assert (sample.target == -1).all()
    back = elements_of_file("faces", sample, raw)
    assert back[:-1].tolist() == list(range(mesh.num_faces))
    assert set(mesh.faces[back[-1]]) & set(mesh.faces[0])
    sample = prepare_mesh(tmp_path / "mesh.ply", ElementLabels("vertices"))
    back = elements_of_file("vertices", sample, raw)
    assert back.tolist() == [*range(mesh.num_vertices), 5]


def test_labels_on_a_format_that_splits_vertices(tmp_path: Path) -> None:
    mesh = body(1)
    save_mesh(mesh, tmp_path / "mesh.stl")
    counts = {"vertices": 3 * mesh.num_faces, "faces": mesh.num_faces, "edges": len(edges_of(mesh.faces))}
    for kind in KINDS:
        labels = np.arange(counts[kind])
        sample = prepare_mesh(tmp_path / "mesh.stl", ElementLabels(kind, labels, "labels"))
        if kind == "vertices":
            assert len(sample.target) == mesh.num_vertices
        else:
            assert sorted(sample.target.tolist()) == labels.tolist()
            back = classes_of_file(sample.target.numpy(), kind, sample, read_mesh(tmp_path / "mesh.stl"))
            assert back.tolist() == labels.tolist()


@pytest.mark.parametrize("kind", ["vertices", "faces"])
@pytest.mark.parametrize("name", ["label", "part_of_body"])
def test_attributes_of_the_mesh_file(tmp_path: Path, kind: str, name: str) -> None:
    for k in range(3):
        mesh = body(k)
        values = {name: halves(mesh, kind, 2).astype(np.int32), "quality": np.linspace(0, 1, len(halves(mesh, kind)))}
        data = {"vertex_data" if kind == "vertices" else "face_data": values}
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, **data), tmp_path / f"{k}.ply")
    data = data_of(tmp_path)
    assert (data.element, data.class_values) == (kind, [2, 3])
    assert data_of(tmp_path, attribute=name).class_counts.tolist() == data.class_counts.tolist()
    sample = data.samples("train")[0]
    assert sample.target.tolist() == halves(body(int(Path(sample.name).stem)), kind).tolist()
    with pytest.raises(InputError, match=f"no attribute 'colour'; it has {name} of {kind}, quality of {kind}"):
        data_of(tmp_path, attribute="colour")


def test_several_attributes_are_asked_about(tmp_path: Path) -> None:
    mesh = body(0)
    values = {name: halves(mesh, "vertices").astype(np.int32) for name in ("left", "right")}
    for k in range(2):
        save_mesh(TriangleMesh(mesh.vertices, mesh.faces, vertex_data=values), tmp_path / f"{k}.ply")
    with pytest.raises(InputError, match=r"several attributes may be the labels \(left of vertices, right of"):
        data_of(tmp_path)
    assert data_of(tmp_path, attribute="right").element == "vertices"


def test_words_and_values_to_ignore(tmp_path: Path) -> None:
    root = write_bodies(tmp_path / "a", "faces", 3)
    for k in range(3):
        words = np.array(["far", "bump"])[halves(body(k), "faces")]
        words[0] = "?"
        write_labels(root / "labels" / f"{k}.txt", words)
    data = data_of(root, ignore=["?"])
    assert data.class_names == ["bump", "far"]
    for sample in data.samples("train"):
        assert sample.target[0] == -1
        assert (sample.target[1:] == 1 - halves(body(int(Path(sample.name).stem)), "faces")[1:]).all()
    assert int(data.class_counts.sum()) == sum(len(s.target) - 1 for s in data.samples("train"))


def test_a_wrong_number_of_labels_names_both_and_is_skipped_or_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_bodies(tmp_path, "faces", 4)
    write_labels(root / "labels" / "2.txt", np.arange(319) % 2)
    says = r"2\.txt: 319 labels, but the mesh has 162 vertices, 320 faces, 480 edges; 320 labels of faces are expected"
    names = {Path(s.name).stem for split in ("train", "test") for s in data_of(root).samples(split)}
    assert names == {"0", "1", "3"}
    assert "skipped: " in caplog.text
    assert "319 labels, but the mesh has 162 vertices, 320 faces, 480 edges" in caplog.text
    data = data_of(root, strict=True)
    split = next(name for name, files in data.files.items() if any(path.stem == "2" for path, _ in files))
    with pytest.raises(InputError, match=says):
        data.samples(split)
    for k in range(4):
        write_labels(root / "labels" / f"{k}.txt", np.arange(319) % 2)
    with pytest.raises(InputError, match="319 labels, but the mesh has 162 vertices, 320 faces, 480 edges"):
        data_of(root)


def test_as_many_vertices_as_faces_has_to_be_told(tmp_path: Path) -> None:
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    tetrahedron = TriangleMesh(np.vstack([np.eye(3), [0, 0, 0]]), faces)
    for k in range(3):
        save_mesh(tetrahedron, tmp_path / f"{k}.off")
        write_labels(tmp_path / f"{k}.txt", np.array([0, 1, 1, 0]))
    with pytest.raises(InputError, match="those of faces or vertices, of which every mesh has as many; set element"):
        data_of(tmp_path)
    assert data_of(tmp_path, element="faces").element == "faces"
    # One mesh that tells them apart is enough.
    write_labels(tmp_path / "body.txt", halves(write_mesh(tmp_path / "body.off", 0), "faces"))
    assert data_of(tmp_path).element == "faces"


def test_classes_that_one_split_lacks_and_meshes_in_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for place, seed, first in (("train/a", 0, 0), ("train/b", 1, 0), ("test/c", 2, 1), ("test/d", 0, 1)):
        write_labels(tmp_path / f"{place}.txt", halves(write_mesh(tmp_path / f"{place}.ply", seed), "vertices", first))
    data = data_of(tmp_path)
    assert data.class_names == ["0", "1", "2"]
    assert "1 of 3 classes occur for testing, but never for training: no network can know them: 2" in caplog.text
    assert "1 of 3 classes occur for training, but never for testing: 0" in caplog.text
    assert "1 test meshes are in the training set as well" in caplog.text
    assert f"{tmp_path / 'test/d.ply'} is {tmp_path / 'train/a.ply'}" in caplog.text
    assert data.class_counts[2] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"element": "corners"}, "'corners' is not known; use one of vertices, faces, edges"),
        ({"test_fraction": 1.5}, "test_fraction 1.5"),
        ({"labels": "gt/*.seg"}, "no files are named like 'gt/"),
        ({"ignore": [0, 1]}, "no value that is not ignored"),
        ({"batch_vertices": 0}, "batch_vertices 0"),
        ({"num_levels": 0}, "num_levels 0"),
    ],
)
def test_bad_choices(tmp_path: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        data_of(write_bodies(tmp_path, "faces", 2), **options)


def test_no_labels_and_no_meshes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        data_of(tmp_path / "none")
    with pytest.raises(InputError, match="no mesh files"):
        data_of(tmp_path)
    write_mesh(tmp_path / "a.obj", 0)
    write_mesh(tmp_path / "b.obj", 1)
    with pytest.raises(InputError, match=r"no labels of 2 meshes; put a file of the mesh's name"):
        data_of(tmp_path)
    (tmp_path / "a.txt").write_text("0.5\n" * 162)
    (tmp_path / "b.txt").write_text("")
    with pytest.raises(InputError, match="none of the labels of 2 meshes can be read"):
        data_of(tmp_path)


def test_batches_of_the_same_vertices_budget(tmp_path: Path) -> None:
    data = data_of(write_bodies(tmp_path, "vertices", 6), batch_vertices=400, test_fraction=0.0)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [len(b.x) for b in batches] == [324, 324, 324]
    with pytest.raises(InputError, match="no test meshes"):
        data.test_dataloader()


def test_meshes_of_very_different_size_in_one_batch(tmp_path: Path) -> None:
    """A tetrahedron, whose coarse levels are one point, beside a mesh of 642 vertices: as if each were alone."""
    for k, mesh in enumerate((tetrahedron(), blob(), tetrahedron())):
        save_mesh(mesh, tmp_path / f"{k}.off")
        write_labels(tmp_path / f"{k}.txt", (mesh.vertices[:, 2] > 0).astype(int))
    data = data_of(tmp_path, element="vertices", num_levels=4, test_fraction=0.0, batch_size=3)
    network = ShapeUNet(str(data.in_type), 2, channels=(4, 4, 4, 4), max_order=1).eval()
    (batch,) = data.train_dataloader()
    with torch.no_grad():
        together = network(batch.x, batch.surface)
        alone = {s.name: network(s.x, s.surface) for s in data.samples("train")}
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, torch.cat([alone[name] for name in batch.names]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".ply", ".off", ".vtk"])
def test_painted_faces_are_labels(suffix: str, tmp_path: Path) -> None:
    """What is painted alike is a class, by its colour or by the name a table gives it."""
    name = "paint" if suffix == ".vtk" else "color"
    paint = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    for k in range(4):
        mesh = body(k)
        side = halves(mesh, "faces")
        if suffix == ".ply":
            save_mesh(replace(mesh, face_data={"color": paint[side]}), tmp_path / f"{k}.ply")
            continue
        if suffix == ".vtk":
            points, faces = ("\n".join(" ".join(map(str, row)) for row in rows.tolist()) for rows in
                             (mesh.vertices, np.insert(mesh.faces, 0, 3, axis=1)))  # fmt: skip
            colors = " ".join(map(str, paint[side].ravel()))
            (tmp_path / f"{k}.vtk").write_text(
                f"# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\nPOINTS {mesh.num_vertices} double\n{points}\n"
                f"POLYGONS {mesh.num_faces} {4 * mesh.num_faces}\n{faces}\nCELL_DATA {mesh.num_faces}\n"
                f"SCALARS paint unsigned_char 3\nLOOKUP_TABLE default\n{colors}\n"
            )
            continue
        rows = "".join(f"{x} {y} {z}\n" for x, y, z in mesh.vertices.tolist())
        for face, color in zip(mesh.faces.tolist(), (paint[side] / 255).tolist(), strict=True):
            rows += " ".join(map(str, [3, *face, *color])) + "\n"
        (tmp_path / f"{k}.off").write_text(f"OFF\n{mesh.num_vertices} {mesh.num_faces} 0\n{rows}")
    data = data_of(tmp_path, attribute=name)
    assert (data.element, data.class_names) == ("faces", ["#0000ff", "#ff0000"])
    sample = data.samples("test")[0]
    seed = int(Path(sample.name).stem)
    assert sample.target.tolist() == (1 - halves(body(seed), "faces")).tolist()
    named = data_of(tmp_path, attribute=name, classes={"#FF0000": "handle", "#0000ff": "cup"})
    assert named.class_names == ["cup", "handle"]
    with pytest.raises(InputError, match=r"1 labels are not in classes, e.g. '#0000ff' of \d+ elements"):
        data_of(tmp_path, attribute=name, classes={"#ff0000": "handle"})
