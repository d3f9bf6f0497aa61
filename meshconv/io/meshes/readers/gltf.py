"""glTF 2.0, text and binary (GLB): triangles, strips and fans of a scene, with colours and attributes of vertices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.meshes.polygons import MeshFormat, PolygonFile, join_pieces
from meshconv.io.meshes.readers.gltf_data import GltfData
from meshconv.io.meshes.strips import fan_triangles, strip_triangles
from meshconv.io.unpack import check_expansion

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
# Extensions that leave the places of vertices and faces alone.
_HARMLESS = ("KHR_materials_", "KHR_technique", "KHR_texture_", "KHR_lights_", "KHR_xmp", "KHR_animation_", "KHR_audio",
             "KHR_node_hover", "KHR_node_selectability", "KHR_mesh_quantization", "EXT_texture_", "EXT_lights_",
             "MSFT_texture_", "MSFT_packing_", "AGI_", "ADOBE_materials_")  # fmt: skip
_INSTANCES = "EXT_mesh_gpu_instancing"


def read_gltf(path: Path) -> PolygonFile:
    """Read the default scene of a glTF file, its parts in their places.

    Parameters
    ----------
    path : Path
        Files with its buffers lie beside or below it.

    Returns
    -------
    PolygonFile
        Polygon data ``part`` (names) if there are several; vertex data ``color`` (RGBA, uint8) and attributes that
        begin with ``_``, if all parts have them. Vertices as stored: welding is the caller's.

    Raises
    ------
    InputError
        Not this format or another version; an extension that changes the geometry; nothing but points and lines; fewer
        bytes than promised, or more numbers than the file can hold.
    """
    try:
        data = GltfData(path)
        _check_extensions(data)
        pieces = list(_pieces(data, path.stat().st_size))
        if not pieces:
            raise ValueError("its scene has no triangles")
    except _Unsupported as error:
        raise InputError(f"{path}: {error}, which is not read; export it without, or as ply, obj or stl") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read as 'gltf' ({first_line(error)}); the file is truncated or damaged"
        ) from error
    joined = join_pieces(pieces, str(path))
    if len(pieces) == 1:
        del joined.polygon_data["part"]
    return joined


class _Unsupported(Exception):
    """Begins a message: what the file does that is not read."""


def _check_extensions(data: GltfData) -> None:
    required = [str(name) for name in data.json.get("extensionsRequired", [])]
    bad = [name for name in required if not name.startswith(_HARMLESS)]
    if not bad and any(_INSTANCES in node.get("extensions", {}) for node in data.json.get("nodes", [])):
        bad = [_INSTANCES]
    if bad:
        raise _Unsupported(f"it needs the glTF extension {', '.join(bad)}")


def _pieces(data: GltfData, file_size: int) -> list[PolygonFile]:
    """Triangles of every primitive at every node that shows it."""
    shown = [(node, matrix) for node, matrix in _nodes(data.json) if node.get("mesh") is not None]
    meshes: dict[int, list[PolygonFile]] = {}
    for number in dict.fromkeys(node["mesh"] for node, _ in shown):
        found = (_primitive(data, primitive) for primitive in data.json["meshes"][number]["primitives"])
        meshes[number] = [piece for piece in found if piece is not None]
    # Many nodes can show one mesh.
    weight = {n: sum(24 * len(p.vertices) + 8 * len(p.corners) + 512 for p in m) for n, m in meshes.items()}
    check_expansion(sum(weight[node["mesh"]] for node, _ in shown), file_size)
    pieces: list[PolygonFile] = []
    for node, matrix in shown:
        parts = meshes[node["mesh"]]
        name = str(node.get("name") or data.json["meshes"][node["mesh"]].get("name") or f"part {len(pieces)}")
        for k, piece in enumerate(parts):
            vertices, corners = piece.vertices @ matrix[:3, :3].T + matrix[:3, 3], piece.corners
            if np.linalg.det(matrix[:3, :3]) < 0:  # a mirror image runs the other way round
                corners = corners.reshape(-1, 3)[:, ::-1].reshape(-1)
            part = {"part": np.full(len(piece.sizes), name if len(parts) == 1 else f"{name} {k}")}
            pieces.append(PolygonFile(vertices, corners, piece.sizes, piece.vertex_data, part))
    return pieces


def _nodes(json: dict[str, Any]) -> list[tuple[dict[str, Any], NDArray[np.float64]]]:
    """Nodes of the scene with their place in the world; without scenes and nodes, one for each mesh."""
    nodes = json.get("nodes", [])
    if json.get("scenes"):
        roots = json["scenes"][json.get("scene", 0)].get("nodes", [])
    elif nodes:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [i for i in range(len(nodes)) if i not in children]
    else:
        return [({"mesh": i}, np.eye(4)) for i in range(len(json.get("meshes", [])))]
    found: list[tuple[dict[str, Any], NDArray[np.float64]]] = []
    left = [(root, np.eye(4)) for root in reversed(roots)]
    seen: set[int] = set()
    while left:
        number, above = left.pop()
        if number in seen:
            raise ValueError(f"node {number} has two parents")
        seen.add(number)
        node = nodes[number]
        matrix = above @ _matrix(node)
        found.append((node, matrix))
        left += [(child, matrix) for child in reversed(node.get("children", []))]
    return found


def _matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), dtype=np.float64)
    return matrix


def _primitive(data: GltfData, primitive: dict[str, Any]) -> PolygonFile | None:
    """Triangles of one primitive in its own coordinates; None of points and lines."""
    mode, attributes = primitive.get("mode", _TRIANGLES), primitive["attributes"]
    if mode not in (_TRIANGLES, _STRIP, _FAN):
        return None
    compressed = [n for n in primitive.get("extensions", {}) if "compression" in n]
    used = [attributes["POSITION"], *([primitive["indices"]] if "indices" in primitive else [])]
    if compressed and any(data.is_empty(number) for number in used):
        raise _Unsupported(f"its vertices need the glTF extension {', '.join(compressed)}")
    vertices = data.accessor(attributes["POSITION"]).reshape(-1, 3).astype(np.float64)
    if "indices" in primitive:
        corners = data.accessor(primitive["indices"]).astype(np.int64).reshape(-1)
    else:
        corners = np.arange(len(vertices))
    if mode == _STRIP:
        corners = strip_triangles(corners, np.array([len(corners)]))[0].reshape(-1)
    elif mode == _FAN:
        corners = fan_triangles(corners).reshape(-1)
    elif len(corners) % 3:
        raise ValueError(f"{len(corners)} corners of triangles")
    found = {key: data.accessor(n) for key, n in attributes.items() if key == "COLOR_0" or key.startswith("_")}
    found = {key: values for key, values in found.items() if len(values) == len(vertices)}
    if "COLOR_0" in found:
        found["color"] = _rgba(found.pop("COLOR_0"))
    return PolygonFile(vertices, corners, np.full(len(corners) // 3, 3), found)


def _rgba(color: NDArray) -> NDArray[np.uint8]:
    scale = 1.0 if color.dtype == np.uint8 else 255.0 if color.dtype.kind == "f" else 255 / 65535
    rgba = np.full((len(color), 4), 255, dtype=np.uint8)
    rgba[:, : color.shape[1]] = np.round(np.clip(color * scale, 0, 255))
    return rgba


FORMATS = (MeshFormat("glTF", (".gltf", ".glb"), read_gltf, splits_vertices=True),)
