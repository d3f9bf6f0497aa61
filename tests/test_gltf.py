"""glTF: modes, sparse and normalised numbers, nodes, and what is not read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tetrahedron_case import FACES, POINTS, STRIP, is_tetrahedron

from meshconv.errors import InputError
from meshconv.io.meshes.load import load_mesh, read_mesh


def gltf(change: Callable[[dict[str, Any]], None] = lambda scene: None, indices: np.ndarray = FACES) -> str:
    """A tetrahedron with its indices behind its points in one buffer."""
    data = POINTS.tobytes() + np.asarray(indices, "<u2").tobytes()
    scene: dict[str, Any] = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "buffers": [{"uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode(),
                     "byteLength": len(data)}],
        "bufferViews": [{"buffer": 0, "byteLength": 48}, {"buffer": 0, "byteOffset": 48, "byteLength": len(data) - 48}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
                      {"bufferView": 1, "componentType": 5123, "count": np.size(indices), "type": "SCALAR"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
    }  # fmt: skip
    change(scene)
    return json.dumps(scene)


@pytest.mark.parametrize(
    ("mode", "indices"), [(4, FACES), (5, STRIP), (6, [3, 0, 1, 2, 0])], ids=["triangles", "strip", "fan"]
)
def test_gltf_modes(mode: int, indices: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "m.gltf"
    path.write_text(gltf(lambda s: s["meshes"][0]["primitives"][0].update(mode=mode), indices))
    if mode != 6:
        is_tetrahedron(path)
    else:
        assert read_mesh(path).faces.tolist() == [[3, 0, 1], [3, 1, 2], [3, 2, 0]]


def test_gltf_sparse_and_normalized_numbers(tmp_path: Path) -> None:
    def sparse(scene: dict[str, Any]) -> None:
        """Vertex 3 is moved to (0, 0, 1): stored as a change of what the buffer has."""
        values = np.array([0, 0, 1], "<f4").tobytes() + np.array([3], "<u2").tobytes()
        scene["buffers"].append({"uri": "data:;base64," + base64.b64encode(values).decode(), "byteLength": 14})
        scene["bufferViews"] += [{"buffer": 1, "byteLength": 12}, {"buffer": 1, "byteOffset": 12, "byteLength": 2}]
        where = {"bufferView": 3, "componentType": 5123}
        scene["accessors"][0]["sparse"] = {"count": 1, "indices": where, "values": {"bufferView": 2}}
        moved = POINTS.copy()
        moved[3] = 9
        data = moved.tobytes() + np.asarray(FACES, "<u2").tobytes()
        scene["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(data).decode()

    (tmp_path / "sparse.gltf").write_text(gltf(sparse))
    is_tetrahedron(tmp_path / "sparse.gltf")

    def normalized(scene: dict[str, Any]) -> None:
        data = (POINTS * 32767).astype("<i2").tobytes() + np.asarray(FACES, "<u2").tobytes()
        scene["buffers"][0] = {"uri": "data:;base64," + base64.b64encode(data).decode(), "byteLength": len(data)}
        scene["bufferViews"] = [{"buffer": 0, "byteLength": 24}, {"buffer": 0, "byteOffset": 24, "byteLength": 24}]
        scene["accessors"][0] |= {"componentType": 5122, "normalized": True}
        scene["extensionsRequired"] = ["KHR_mesh_quantization"]

    (tmp_path / "short.gltf").write_text(gltf(normalized))
    is_tetrahedron(tmp_path / "short.gltf")


def test_gltf_nodes_turn_scale_and_mirror(tmp_path: Path) -> None:
    def place(scene: dict[str, Any]) -> None:
        half = float(np.sqrt(0.5))
        scene["nodes"] = [{"children": [1, 2], "translation": [10, 0, 0], "name": "both"},
                          {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 2, 2], "name": "turned"},
                          {"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1]}]  # fmt: skip

    (tmp_path / "m.gltf").write_text(gltf(place))
    mesh = load_mesh(tmp_path / "m.gltf")
    turned = [[10, 0, 0], [10, 2, 0], [8, 0, 0], [10, 0, 2]]
    np.testing.assert_allclose(mesh.vertices[:4], turned, atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[4:], POINTS * [-1, 1, 1] + [10, 0, 5], atol=1e-6)
    assert mesh.origin is None or mesh.origin.changes.turned_faces == 0
    assert mesh.face_data["part"].tolist() == ["turned"] * 4 + ["part 1"] * 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.update(extensionsRequired=["KHR_draco_mesh_compression"]), "extension KHR_draco_mesh_compression"),
        (lambda s: s.update(extensionsRequired=["EXT_meshopt_compression"]), "extension EXT_meshopt_compression"),
        (lambda s: s["nodes"][0].update(extensions={"EXT_mesh_gpu_instancing": {}}), "EXT_mesh_gpu_instancing"),
        (lambda s: (s["accessors"][0].pop("bufferView"),
                    s["meshes"][0]["primitives"][0].update(extensions={"KHR_draco_mesh_compression": {}})),
         "KHR_draco_mesh_compression"),
        (lambda s: s["asset"].update(version="1.0"), "version 1.0"),
        (lambda s: s["meshes"][0]["primitives"][0].update(mode=1), "no triangles"),
        (lambda s: s["accessors"][1].update(count=10), "10 corners"),
        (lambda s: s["accessors"][1].update(count=-3), "-3 elements"),
        (lambda s: s["bufferViews"][0].update(byteOffset=-8), "do not fit"),
        (lambda s: s["nodes"][0].update(children=[0]), "two parents"),
        (lambda s: s["buffers"][0].update(uri="gone.bin"), "gone.bin' cannot be opened"),
    ],
)  # fmt: skip
def test_gltf_that_is_not_read_says_why(change: Callable[..., Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "m.gltf").write_text(gltf(change))
    with pytest.raises(InputError, match=says) as error:
        load_mesh(tmp_path / "m.gltf")
    assert "\n" not in str(error.value)
