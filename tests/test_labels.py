"""Label files of every format, and what bad ones say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from meshconv import InputError
from meshconv.io import read_labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "3\n1\n2\n"),
        ("a.seg", "  3\n1 \n\n2"),
        ("a.eseg", "3.0000\n1.0000e+00\n2.0\n"),
        ("a.labels", "3 1 2\n"),
        ("b.txt", "3, 1, 2"),
        ("d.txt", "label\n3\n1\n2\n"),
        ("c.txt", "# one a vertex\n3\n1\n2  # the last\n"),
        ("a.json", "[3, 1, 2]"),
        ("b.json", json.dumps({"raw_labels": [0, 0, 0, 0], "sub_labels": [3, 1, 2]})),
        ("c.json", json.dumps({"parts": [3, 1, 2], "name": "chair"})),
    ],
)
def test_numbers_in_every_format(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    labels = read_labels(path)
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 1, 2]


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "int64"])
def test_arrays(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.array([[3], [1], [2]], dtype=dtype))
    assert read_labels(tmp_path / "a.npy").tolist() == [3, 1, 2]


def test_words_and_named_faces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("head\nbody\nhead\n")
    assert read_labels(tmp_path / "a.txt").tolist() == ["head", "body", "head"]
    (tmp_path / "a_labels.txt").write_text("Head\n1 4\nBody\n2 3 5\n")  # faces are counted from 1
    assert read_labels(tmp_path / "a_labels.txt").tolist() == ["Head", "Body", "Body", "Head", "Body"]
    (tmp_path / "b_labels.txt").write_text("Head\n0 3\nBody\n1 2 4\n")
    assert read_labels(tmp_path / "b_labels.txt").tolist() == ["Head", "Body", "Body", "Head", "Body"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "", r"shape \(0,\); give one label"),
        ("a.txt", "0 1\n1 2\n2 0\n", "line 1 of the labels has 2 values; give one a line"),
        ("a.txt", "0\n0.25\n1\n", "label 1 is 0.25; classes are whole numbers or words"),
        ("a.seg", "0\nnan\n1\n", "label 1 is nan"),
        ("a.txt", "vertex,label\n0,3\n1,1\n", "has 2 values; give one a line"),
        ("a.txt", "0 x\n3\n1\n", "line 1 is '0 x'"),
        ("a.txt", "left arm\nright arm\n", "line 1 is 'left arm'"),
        ("a.json", "{}", "no list of labels under one of labels, label"),
        ("a.json", "[[0, 1], [1, 0]]", r"shape \(2, 2\)"),
        ("a.json", "[0, 1", "is no readable label file"),
        ("a.npy", "0 1", "is no readable label file"),
        ("a.json", "[null, 1]", "labels are of type object"),
    ],
)
def test_bad_labels_name_the_file_and_the_way_out(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: .*{says}"):
        read_labels(tmp_path / name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        read_labels(tmp_path / "none.txt")
