"""Precomputed results on disk: nothing changes on the way, and nothing wrong is ever read back."""

from __future__ import annotations

import logging
import multiprocessing
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from meshes import bumpy_sheet

from meshconv import GaugeGraph, Hierarchy, InputError
from meshconv.cli import main
from meshconv.geometry import Changes, Origin
from meshconv.io import Cache, Computation, cache_key
from meshconv.io.cache.cache import Key, default_folder
from meshconv.io.cache.content import array_content, file_content
from meshconv.io.cache.records import decode_record, encode_record
from meshconv.io.cache.tensor_file import DamagedFile, decode_tensors, encode_tensors

NUMBERS = Computation("numbers", 3, ("numpy", "torch"))


def key_of(content: str, parameters: dict[str, Any] | None = None) -> Key:
    return cache_key(NUMBERS, content, parameters or {})


def assert_same(a: Any, b: Any) -> None:
    """Equal to the last bit, types included."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert_same(a.numpy(), b.numpy())
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, list):
        for first, second in zip(a, b, strict=True):
            assert_same(first, second)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert_same([*a.values()], [*b.values()])
    elif isinstance(a, (GaugeGraph, Hierarchy, Origin)) or hasattr(a, "parent"):
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    else:
        assert a == b


@pytest.fixture
def record(hierarchy: Hierarchy) -> dict[str, Any]:
    """Everything that a cache has to hold."""
    sheet = bumpy_sheet()
    graph = sheet.gauge_graph()
    odd = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 5e-324], dtype=torch.float64)
    faces = np.concatenate([sheet.faces, sheet.faces[:3]])
    origin = replace(sheet, faces=faces).repair().origin
    assert origin is not None
    assert origin.changes == Changes(duplicate_faces=3)
    return {
        "graph": graph,
        "small": graph.to(torch.float32),
        "batch": GaugeGraph.batch([graph, graph]),
        "hierarchy": hierarchy,
        "origin": origin,
        "x": odd,
        "strided": torch.arange(12.0).reshape(3, 4).T,
        "empty": [torch.zeros(0, 3), np.zeros((2, 0), dtype=np.int16), torch.tensor(True)],
        "words": ["µ 2x0 + 1x1", None, True, 7, -0.1],
    }


def test_nothing_changes_on_the_way(record: dict[str, Any]) -> None:
    found, about = decode_record(encode_record(record, {"made": "0" * 32}))
    assert about == {"made": "0" * 32}
    assert_same(found, record)
    found["x"][0] = 1.0  # what comes back is no view of something read-only
    found["hierarchy"].levels[1].validate()


def test_other_programs_can_read_the_file() -> None:
    """Layout of safetensors: length, JSON header, arrays back to back, each aligned to its items."""
    content = encode_tensors({"b": np.ones(3, dtype=bool), "a": np.arange(2.0)}, {"made": "here"})
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header = content[8 : 8 + length].decode()
    assert '"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}' in header
    assert '"b":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]}' in header
    assert content[8 + length :] == np.arange(2.0).tobytes() + b"\1\1\1"


def test_every_damage_is_noticed() -> None:
    content = encode_tensors({"x": np.arange(5.0), "i": np.arange(3)}, {"made": "here"})
    for length in range(0, len(content), 7):
        with pytest.raises(DamagedFile):
            decode_tensors(content[:length])
    for place in range(len(content)):
        for bit in (0, 6):
            broken = bytearray(content)
            broken[place] ^= 1 << bit
            with pytest.raises(DamagedFile):
                decode_tensors(bytes(broken))
    with pytest.raises(DamagedFile):
        decode_tensors(content + b"\0")
    with pytest.raises(DamagedFile):
        decode_tensors(b"\x80\x04\x95 a pickle of some kind")


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="'z' is of type complex128"):
        encode_tensors({"z": np.zeros(2, dtype=complex)}, {})
    with pytest.raises(TypeError, match=r"record\.name is of type set"):
        encode_record({"name": {1}}, {})
    with pytest.raises(DamagedFile, match="cannot be understood"):
        decode_record(encode_tensors({}, {"record": '{"class": "Popen", "fields": {}}'}))


def test_a_result_is_computed_once(tmp_path: Path, record: dict[str, Any]) -> None:
    calls = []

    def build() -> dict[str, Any]:
        calls.append(1)
        return record

    key = key_of("mesh", {"radius": 0.2})
    for _ in range(3):
        assert_same(Cache(tmp_path / "new" / "folder").fetch(key, build), record)
    assert len(calls) == 1
    Cache(tmp_path / "new" / "folder").fetch(key_of("mesh", {"radius": 0.3}), build)
    Cache(tmp_path / "new" / "folder").fetch(key_of("mesh 2", {"radius": 0.2}), build)
    assert len(calls) == 3
    assert Cache(tmp_path / "new" / "folder").size[0] == 3
    assert Cache(None).fetch(key, build) is record
    assert Cache(None).size == (0, 0)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "pickle"])
def test_a_damaged_entry_is_computed_again_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache, key = Cache(tmp_path), key_of("mesh")
    cache.fetch(key, lambda: {"x": torch.arange(9.0)})
    path = tmp_path / key.name
    content = path.read_bytes()
    broken = {
        "cut": content[:-5],
        "flipped": content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        "empty": b"",
        "pickle": b"\x80\x04K\x01.",
    }
    path.write_bytes(broken[damage])
    assert_same(cache.fetch(key, lambda: {"x": torch.zeros(1)}), {"x": torch.zeros(1)})
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert f"{path}: damaged" in caplog.text
    assert_same(cache.load(key), {"x": torch.zeros(1)})


def test_entries_of_other_code_are_replaced_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = [key_of(name, {"a": 1}) for name in "xyz"]
    old = Cache(tmp_path)
    for key in keys:
        old.store(key._replace(version="older"), key._replace(version="older").encode({"value": "old"}))
    assert keys[0].name == keys[0]._replace(version="older").name
    cache = Cache(tmp_path)
    assert [cache.fetch(key, lambda: {"value": "new"})["value"] for key in keys] == ["new"] * 3
    assert caplog.text.count("another version") == 1
    assert cache.size[0] == 3  # replaced, not added to
    assert [Cache(tmp_path).load(key)["value"] for key in keys] == ["new"] * 3


def test_the_version_is_what_is_declared() -> None:
    key = key_of("mesh", {"a": 1})
    assert key.version == f"format 1, numbers 3, numpy {np.__version__}, torch {torch.__version__}"
    newer = cache_key(NUMBERS._replace(version=4), "mesh", {"a": 1})
    assert newer.name == key.name and newer.version != key.version
    assert cache_key(NUMBERS._replace(name="others"), "mesh", {"a": 1}).name != key.name


def _aged(cache: Cache, names: str, size: int = 1000) -> list[Key]:
    """Entries of about that size, each used an hour after the one before and long ago."""
    keys = [key_of(name) for name in names]
    for hour, key in enumerate(keys):
        cache.fetch(key, lambda: {"x": torch.zeros(size, dtype=torch.int8)})
        os.utime(cache.folder / key.name, (3600 * hour, 3600 * hour))
    return keys


def test_what_was_used_longest_ago_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = _aged(Cache(tmp_path), "abcdefgh")
    (tmp_path / "notes.txt").write_text("mine" * 1000)
    count, size = Cache(tmp_path).size
    one = size // count
    cache = Cache(tmp_path, limit=6 * one + one // 2)
    assert cache.load(keys[0]) is not None  # used now
    cache.fetch(key_of("new"), lambda: {"x": torch.zeros(1000, dtype=torch.int8)})
    left = [k for k in [*keys, key_of("new")] if (tmp_path / k.name).exists()]
    assert left == [keys[0], *keys[5:], key_of("new")]  # to nine tenths of the limit
    assert cache.size[1] <= 0.9 * cache.limit and (tmp_path / "notes.txt").exists()
    assert not caplog.records


def test_the_limit_holds_while_many_are_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What one run made and removes again is more than the cache may hold: said once."""
    cache = Cache(tmp_path, limit=20_000)
    for k in range(60):
        cache.fetch(key_of(f"mesh {k}"), lambda: {"x": torch.zeros(1000, dtype=torch.int8)})
        assert cache.size[1] <= 20_000 + 2000
    assert caplog.text.count("raise MESHCONV_CACHE_SIZE") == 1
    assert cache.load(key_of("mesh 59")) is not None and cache.load(key_of("mesh 0")) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 10**10), ("20", 2 * 10**10), ("500M", 5 * 10**8), ("1.5 GB", 15 * 10**8), ("2t", 2 * 10**12), ("7k", 7000)],
)
def test_the_limit_is_set_by_the_environment(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHCONV_CACHE_SIZE", text)
    assert Cache(None).limit == size


@pytest.mark.parametrize("text", ["much", "-1", "0", "1 PB", "G"])
def test_a_limit_that_is_no_size_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHCONV_CACHE_SIZE", text)
    with pytest.raises(InputError, match=f"MESHCONV_CACHE_SIZE {text!r} is no size"):
        Cache(None)


def test_a_folder_that_cannot_be_used_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = Cache(tmp_path / "file" / "cache")
    for name in "ab":
        assert cache.fetch(key_of(name), lambda: {"v": 1}) == {"v": 1}
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 2
    assert "cannot be read" in said[0]
    assert "cannot be written" in said[1]
    assert "going on without the cache" in said[1]


def test_a_full_disk_leaves_no_halves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A limit on the size of files fails in the middle of writing, as a full disk does."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache = Cache(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        for name in "ab":
            value = cache.fetch(key_of(name), lambda: {"x": torch.zeros(10_000)})
            assert len(value["x"]) == 10_000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert caplog.text.count("cannot be written") == 1


def _write_many(folder: str, seed: int) -> None:
    cache = Cache(folder)
    for i in np.random.default_rng(seed).permutation(20):
        value = cache.fetch(key_of(f"mesh {i % 5}"), lambda i=i: {"x": torch.full((20_000,), float(i % 5))})
        assert bool((value["x"] == i % 5).all())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_share_a_folder(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    count = 4 if method == "fork" else 2
    processes = [context.Process(target=_write_many, args=(str(tmp_path), seed)) for seed in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * count
    assert Cache(tmp_path).size[0] == len(list(tmp_path.iterdir())) == 5


def test_content_is_what_the_reader_reads(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0")
    (tmp_path / "b.obj").write_text("v 0 0 0")
    (tmp_path / "b.ply").write_text("v 0 0 0")
    (tmp_path / "c.obj").write_text("v 0 0 1")
    names = [file_content(tmp_path / name) for name in ("a.obj", "b.obj", "b.ply", "c.obj")]
    assert names[0] == names[1]
    assert len({*names}) == 3
    scene = tmp_path / "scene.gltf"
    scene.write_text('{"buffers": [{"uri": "my%20data.bin"}, {"uri": "data:;base64,AA=="}]}')
    seen = {file_content(scene)}
    for content in (b"1234", b"1235", b""):
        (tmp_path / "my data.bin").write_bytes(content)
        seen.add(file_content(scene))
    assert len(seen) == 3  # no file and an empty one are the same to a reader that finds nothing
    scene.write_text("[]")
    file_content(scene)
    with pytest.raises(InputError, match=r"nowhere\.obj: cannot be opened"):
        file_content(tmp_path / "nowhere.obj")
    with pytest.raises(InputError, match="cannot be opened"):
        file_content(tmp_path)


def test_content_of_arrays_has_values_shape_and_type() -> None:
    x = np.arange(6)
    others = [x[:5], x.reshape(2, 3), x.astype(np.int32), x.astype(float), x + 1]
    assert len({array_content(a) for a in [x, *others]}) == 6
    assert array_content(torch.arange(6)) == array_content(x)
    assert array_content(x, x[:0]) != array_content(x)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESHCONV_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_folder() == Cache.choose(True).folder == tmp_path
    assert Cache.choose("there").folder == Path("there")
    assert Cache.choose(False).folder is Cache.choose(None).folder is None
    monkeypatch.setenv("MESHCONV_CACHE", "")
    assert default_folder() is None
    monkeypatch.delenv("MESHCONV_CACHE")
    assert default_folder() == Path("/x/meshconv")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative paths are invalid")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path("/home/me/.cache/meshconv")
    monkeypatch.setenv("HOME", "~")  # what is left where nobody knows a home
    assert default_folder() is None


def test_the_command_tells_and_clears(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESHCONV_CACHE_SIZE", raising=False)
    cache = Cache(tmp_path)
    for name in "ab":
        cache.fetch(key_of(name), lambda: {"x": torch.zeros(250_000)})
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".left.safetensors.123-ab").write_text("half")
    assert main(["cache", "--folder", str(tmp_path)]) == 0
    assert "2 entries, 2.0 MB of 10,000 MB" in capsys.readouterr().out
    assert main(["cache", "--folder", str(tmp_path), "--clear"]) == 0
    out = capsys.readouterr().out
    assert "3 files removed" in out
    assert "0 entries, 0.0 MB" in out
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
