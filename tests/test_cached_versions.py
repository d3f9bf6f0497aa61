"""Results that the cache keeps are those of the version that their keys state.

Where a change of the code is meant to change results, raise the version beside the code (``Computation``), then
``python tests/test_cached_versions.py`` writes the new ``tests/data/cached_versions.json``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from defective import damaged
from meshes import blob, bumpy_sheet, icosphere

from meshconv import HealpixSphere, TriangleMesh
from meshconv.datasets import Preparation, prepare_mesh
from meshconv.geometry import LatLonGrid, icosahedral_sphere
from meshconv.io import Cache, cached_regridder, save_mesh
from meshconv.io.cache.records import decode_record, encode_record
from meshconv.io.cache.tensor_file import decode_tensors

STORED = Path(__file__).parent / "data" / "cached_versions.json"
FEATURES = ("default", "hks", "wks", "curvature", "coordinates")
# Results by kind and name: small inputs that reach all that has a choice.
MESHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "ring": (blob, {"features": FEATURES}),
    "physical scales": (blob, {"features": ("surface",)}),
    "sheet, normal aligning": (bumpy_sheet, {"transport": "normal_aligning", "nearest": 9}),
    "rings": (bumpy_sheet, {"rings": 2}),
    "radius, levels": (blob, {"radius": 0.25, "num_levels": 3}),
    "simplified": (lambda: icosphere(3), {"max_faces": 200}),
    "resolution": (blob, {"resolution": 0.06, "num_levels": 2}),
    "variant": (blob, {"augment": {"noise": 0.02, "decimate": 0.5, "remesh": 0.5}, "variant": 2}),
    "repaired": (lambda: damaged("duplicate+flap+isolated+seam"), {"on_defect": "repair"}),
    "dropped": (lambda: damaged("duplicate+fin+isolated"), {"on_defect": "drop"}),
}
WEIGHTS = {
    "bilinear": (LatLonGrid(np.arange(-80, 81, 20.0), np.arange(0, 360, 20.0)), HealpixSphere(2)),
    "conservative": (HealpixSphere(4, "ring"), icosahedral_sphere(1)),
    "nearest": (icosahedral_sphere(2), HealpixSphere(2)),
}


def entry_of(mesh: TriangleMesh, how: Preparation, folder: Path) -> tuple[str, Any]:
    """The version in the key of a prepared mesh, and what is kept."""
    save_mesh(mesh, folder / "mesh.ply")
    cache = Cache(folder / "kept")
    prepare_mesh(folder / "mesh.ply", how=how, cache=cache)
    return only_entry(cache)


def only_entry(cache: Cache) -> tuple[str, Any]:
    assert cache.folder is not None
    (path,) = cache.folder.glob("*.safetensors")
    value, about = decode_record(path.read_bytes())
    path.unlink()
    return about["version"], value


def results() -> Iterator[tuple[str, str, Any]]:
    """Name, version and value of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, (build, choices) in MESHES.items():
            yield case, *entry_of(build(), Preparation.from_spec(choices), folder)
        for method, grids in WEIGHTS.items():
            cached_regridder(*grids, method, Cache(folder / "kept"))  # type: ignore[arg-type]
            yield method, *only_entry(Cache(folder / "kept"))


def digest(value: Any) -> dict[str, Any]:
    """A few numbers of each array: shape, size, and projections onto two fixed vectors of unit variance."""
    arrays, _ = decode_tensors(encode_record(value, {}))
    found = {}
    for name, array in sorted(arrays.items()):
        flat = array.astype(np.float64).ravel()
        finite = np.where(np.isfinite(flat), flat, 1e3)
        weights = np.random.default_rng(flat.size).normal(size=(2, flat.size))
        size = float(np.sqrt(np.mean(finite**2))) if flat.size else 0.0
        along = weights @ finite / max(flat.size, 1) ** 0.5
        found[name] = {"shape": list(array.shape), "numbers": [float(f"{v:.9g}") for v in (size, *along)]}
    return found


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Up to rounding of the float32 numbers that are kept, on other processors too."""
    if a.keys() != b.keys() or any(a[k]["shape"] != b[k]["shape"] for k in a):
        return False
    pairs = [(np.array(a[k]["numbers"]), np.array(b[k]["numbers"])) for k in a]
    return all(bool((abs(x - y) <= 1e-4 * max(abs(x[0]), 1e-3)).all()) for x, y in pairs)


def test_results_change_with_the_version_alone() -> None:
    stored = json.loads(STORED.read_text())
    found = {name: (version, digest(value)) for name, version, value in results()}
    assert found.keys() == stored.keys(), "run this file to add what is new"
    for name, (version, numbers) in found.items():
        own, *libraries = (part for part in version.split(", ") if not part.startswith("format"))
        then, *others = (part for part in stored[name]["version"].split(", ") if not part.startswith("format"))
        assert own == then, f"{name}: {own} here, {then} in {STORED.name}; run this file"
        if libraries == others:
            assert same(numbers, stored[name]["digest"]), f"{name}: results changed, but not the version, {own}"


@pytest.mark.parametrize("choices", [{"rings": 2}, {"transport": "normal_aligning"}, {"features": ("curvature",)}])
def test_another_result_is_seen(choices: dict[str, Any], tmp_path: Path) -> None:
    values = [digest(entry_of(blob(), Preparation.from_spec(c), tmp_path)[1]) for c in ({}, {}, choices)]
    assert same(values[0], values[1]) and not same(values[0], values[2])


def test_rounding_is_no_other_result() -> None:
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    value = {"x": x, "n": torch.arange(9)}
    assert same(digest(value), digest({**value, "x": x * (1 + 3e-7 * torch.randn(500, 3))}))
    assert not same(digest(value), digest({**value, "x": x * 1.001}))
    assert not same(digest(value), digest({**value, "n": torch.arange(9).flip(0)}))


if __name__ == "__main__":
    table = {name: {"version": version, "digest": digest(value)} for name, version, value in results()}
    before = json.loads(STORED.read_text()) if STORED.exists() else {}
    for key, entry in table.items():
        old = before.get(key)
        if old and old["version"] == entry["version"] and not same(old["digest"], entry["digest"]):
            raise SystemExit(f"{key}: results changed; first raise the version of {entry['version'].split(', ')[1]!r}")
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in table.items()]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
