"""``meshconv view``: meshes with their arrays and labels, maps on a globe."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_view import ball, contents, loads_nothing

from meshconv import HealpixSphere, InputError, cli
from meshconv.geometry.sphere.latlon import LatLonGrid
from meshconv.io import save_mesh
from meshconv.viz import view_file


def test_arrays_of_a_mesh_file(tmp_path: Path) -> None:
    mesh = ball(2)
    flow = np.cross(mesh.vertices, [0.0, 0.0, 1.0]).astype(np.float32)
    data = {"height": mesh.vertices[:, 2], "flow": flow, "label": (mesh.vertices[:, 0] > 0).astype(np.int32)}
    save_mesh(replace(mesh, vertex_data=data, face_data={"height": mesh.face_areas}), tmp_path / "x.ply")
    view = view_file(tmp_path / "x.ply", field="flow")
    (content,) = contents(view.html())
    kinds = {field["name"]: field["kind"] for field in content["fields"]}
    assert kinds == {"height": "scalar", "flow": "vector", "label": "label", "height of faces": "scalar"}
    assert content["fields"][content["first"]]["name"] == "flow" and content["title"] == "x.ply"
    found = dict(zip(kinds, content["panels"][0]["fields"], strict=True))
    np.testing.assert_allclose(found["flow"]["values"], np.linalg.norm(flow, axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["height of faces"]["values"], mesh.face_areas, rtol=1e-6)


def test_labels_of_polygons_beside_others(tmp_path: Path) -> None:
    """A cube of six squares: both triangles of a square have its label."""
    corners = "\n".join(f"{x} {y} {z}" for x in (0, 1) for y in (0, 1) for z in (0, 1))
    squares = ["0 1 3 2", "4 6 7 5", "0 4 5 1", "2 3 7 6", "0 2 6 4", "1 5 7 3"]
    (tmp_path / "cube.off").write_text("OFF\n8 6 0\n" + corners + "\n" + "\n".join(f"4 {s}" for s in squares) + "\n")
    (tmp_path / "said.txt").write_text("a\na\nb\nb\nc\nc\n")
    (tmp_path / "true.txt").write_text("a\nb\nb\nb\nc\nc\n")
    view = view_file(tmp_path / "cube.off", labels=tmp_path / "said.txt", truth=str(tmp_path / "true.txt"))
    (content,) = contents(view.html())
    true, said = (panel["fields"][content["first"]] for panel in content["panels"])
    assert content["fields"][content["first"]]["names"] == ["a", "b", "c"] and said["at"] == "faces"
    assert sorted(said["values"]) == [0] * 4 + [1] * 4 + [2] * 4 and (said["values"] != true["values"]).sum() == 2
    (tmp_path / "short.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"short.txt: 2 labels, and .*cube.off has 8 vertices and 6 faces"):
        view_file(tmp_path / "cube.off", labels=tmp_path / "short.txt")


def write_maps(path: Path) -> HealpixSphere:
    sphere = HealpixSphere(8)
    n, cell = sphere.num_points, {"units": "K"}
    zone = np.where(sphere.xyz[:, 2] > 0.5, 7, 3)
    zone[0] = -1
    dataset = xr.Dataset(
        {
            "t": (("time", "cell"), np.arange(3.0)[:, None] + np.zeros(n), cell),
            "label": ("cell", zone, {"flag_values": [3, 7], "flag_meanings": "warm cold", "_FillValue": -1}),
            "probability": (("class", "cell"), np.stack([np.full(n, 0.25), np.full(n, 0.75)])),
            "u10": ("cell", np.full(n, 3.0), {"units": "m s-1"}),
            "v10": ("cell", np.full(n, 4.0), {"units": "m s-1"}),
        },
        {"time": np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]"), "class": ["warm", "cold"]},
        {"grid_mapping_name": "healpix", "healpix_nside": 8, "healpix_order": "nest"},
    )
    dataset.to_netcdf(path)
    return sphere


def test_maps_on_a_globe(tmp_path: Path) -> None:
    sphere = write_maps(tmp_path / "x.nc")
    view = view_file(tmp_path / "x.nc", field="label")
    html = view.html()
    (content,) = contents(html)
    assert loads_nothing(html)
    fields = {f["name"]: (f, content["panels"][0]["fields"][i]) for i, f in enumerate(content["fields"])}
    assert next(iter(fields)) == "label" and content["first"] == 0
    legend, shown = fields["label"]
    assert legend["kind"] == "label" and legend["names"] == ["warm", "cold"] and legend["missing"]
    np.testing.assert_array_equal(shown["values"][1:], (sphere.xyz[1:, 2] > 0.5).astype(int))
    assert shown["values"][0] == -1
    legend, shown = fields["t"]
    assert legend["unit"] == "K" and legend["steps"][1].startswith("time 2020-01-02") and len(legend["steps"]) == 3
    np.testing.assert_array_equal(shown["values"].reshape(3, -1)[:, 5], [0, 1, 2])
    assert fields["probability"][0]["steps"] == ["class warm", "class cold"]
    np.testing.assert_allclose(fields["probability of the label"][1]["values"], 0.75)
    legend, wind = fields["u10 and v10"]
    assert legend["unit"] == "m s-1"
    np.testing.assert_allclose(wind["values"], 5.0, rtol=1e-6)
    start, along = (wind["arrows"][k].reshape(-1, 3) for k in ("start", "along"))
    east = np.cross([0.0, 0.0, 1.0], start / np.linalg.norm(start, axis=1, keepdims=True))
    share = (along * east).sum(1) / np.linalg.norm(along, axis=1) / np.linalg.norm(east, axis=1)
    np.testing.assert_allclose(share, 0.6, atol=1e-5)


def test_a_large_grid_keeps_what_has_a_pixel(tmp_path: Path) -> None:
    lat, lon = np.linspace(-89.75, 89.75, 360), np.arange(0, 360, 0.25)
    field = np.sin(np.radians(lat))[:, None] + np.zeros(len(lon))
    grid = LatLonGrid(lat, lon)
    html = grid.show(field.ravel(), coast=[]).html()
    assert len(html) < 8_000_000
    (content,) = contents(html)
    (panel,) = content["panels"]
    globe, values = panel["globe"], panel["fields"][0]["values"]
    shown = values[globe["index"]].reshape(globe["rows"], globe["columns"])
    middle = np.sin(np.pi * (0.5 - (np.arange(globe["rows"]) + 0.5) / globe["rows"]))
    np.testing.assert_allclose(shown, middle[:, None] + np.zeros(globe["columns"]), atol=0.01)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mesh = ball(2)
    save_mesh(mesh, tmp_path / "a.ply")
    save_mesh(mesh, tmp_path / "b.obj")
    np.save(tmp_path / "a.npy", np.arange(mesh.num_vertices) % 3)
    np.save(tmp_path / "b.npy", np.arange(mesh.num_vertices) % 2)
    assert cli.main(["view", "a.ply", "b.obj", "--labels", "a.npy", "--labels", "b.npy"]) == 0
    assert capsys.readouterr().out == "view.html\n"
    (content,) = contents(Path("view.html").read_text())
    assert [p["title"] for p in content["panels"]] == ["a.ply", "b.obj"]
    assert content["fields"][content["first"]]["names"] == ["0", "1", "2"]
    assert cli.main(["view", "a.ply", "--output", "a.png"]) == 0 and Path("a.png").read_bytes()[:4] == b"\x89PNG"
    write_maps(tmp_path / "x.nc")
    assert cli.main(["view", "x.nc", "--select", "time=2020-01-02", "--field", "t"]) == 0
    (content,) = contents(Path("view.html").read_text())
    np.testing.assert_array_equal(content["panels"][0]["fields"][0]["values"], 1.0)
    capsys.readouterr()
    for words, says in [
        ("a.ply --field p", "a.ply: no field 'p'; it has none"),
        ("x.nc --field q", "x.nc: no field 'q'; it has "),
        ("x.nc --labels a.npy", "x.nc: --labels are for meshes"),
        ("a.ply --select time=3", "a.ply: a mesh has no dimensions"),
        ("a.ply --output a.gif", "a.gif: a view is written to .html"),
        ("a.ply x.nc", "a mesh beside a sphere"),
        ("no.ply", "no.ply: no such file"),
    ]:
        assert cli.main(["view", *words.split()]) == 2
        said = capsys.readouterr().err
        assert re.match(f"meshconv: error: {re.escape(says[:-1])}", said) and said.count("\n") == 1, said
