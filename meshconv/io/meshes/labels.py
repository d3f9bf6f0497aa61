"""Label files of vertices, faces or edges beside a mesh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.text import read_text

#: Extensions of label files, most telling first.
LABEL_SUFFIXES = (".eseg", ".seg", ".labels", ".txt", ".npy", ".json")
# What tables have between and around their words.
_APART = str.maketrans(',;"', "   ")
# SubdivNet has the labels of its remeshed file under sub_labels, those of the original under raw_labels.
_JSON_KEYS = ("labels", "label", "sub_labels", "raw_labels", "face_labels", "vertex_labels", "edge_labels",
              "segmentation", "seg")  # fmt: skip


def read_labels(path: Path) -> NDArray:
    """Labels of a file, one of each element in the order of the mesh's file.

    Parameters
    ----------
    path : Path
        ``.npy``: an array. ``.json``: a list, or an object with a list under ``labels`` or ``sub_labels``. All others
        are text: one whole number or word a line (``.seg`` and ``.eseg`` too), below a headline or not, numbers in one
        line, or alternating lines of a name and the numbers of its elements, counted from 1 (the labelled Princeton
        benchmark).

    Returns
    -------
    int64 or str array [n]

    Raises
    ------
    InputError
        Missing, empty, no labels, or numbers that are not whole.

    Notes
    -----
    ``tests/test_labels.py`` has an example of each.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            # Mapped, so that a header cannot ask for more than the file has.
            values: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        elif path.suffix.lower() == ".json":
            values = _from_json(path, json.loads(read_text(path)))
        else:
            values = _from_text(path, read_text(path))
        array = np.asarray(values)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    except (ValueError, EOFError, OverflowError, RecursionError, SyntaxError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no readable label file ({first_line(error)})") from error
    return as_labels(array, str(path))


def as_labels(array: NDArray, where: str) -> NDArray:
    """Labels ``[n]`` as int64 or text; ``InputError`` for other shapes and for numbers that are not whole."""
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1 or len(array) == 0:
        raise InputError(f"{where}: labels have shape {array.shape}; give one label for each vertex, face or edge")
    if array.dtype.kind in "US":
        return array.astype(str)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where}: labels are of type {array.dtype}; give whole numbers or words")
    whole = np.isfinite(array) if array.dtype.kind == "f" else np.ones(len(array), bool)
    whole[whole] = array[whole] == np.round(array[whole])
    if not whole.all():
        first = int(np.flatnonzero(~whole)[0])
        raise InputError(f"{where}: label {first} is {array[first]:g}; classes are whole numbers or words")
    if array.dtype.itemsize == 8 and array.dtype.kind != "i" and np.abs(array).max() >= 2**63:
        raise InputError(f"{where}: label {np.abs(array).max():g} is too large; classes are whole numbers or words")
    return array.astype(np.int64)


def color_labels(colors: NDArray) -> NDArray[np.str_]:
    """Painted colours as words, ``"#rrggbb"``: what is painted alike is one class.

    Parameters
    ----------
    colors : float or int [n, 3 or 4]
        To 1 if they are real and none is larger, else to 255. Opacity does not count.

    Examples
    --------
    >>> color_labels(np.array([[1.0, 0, 0], [0, 0.2, 1]])).tolist()
    ['#ff0000', '#0033ff']
    """
    rgb = np.nan_to_num(np.asarray(colors, dtype=np.float64)[:, :3])
    if np.asarray(colors).dtype.kind == "f" and rgb.max(initial=0) <= 1:
        rgb = rgb * 255
    whole = np.clip(np.round(rgb), 0, 255).astype(np.int64)
    distinct, place = np.unique(whole @ [65536, 256, 1], return_inverse=True)
    return np.array([f"#{value:06x}" for value in distinct.tolist()], dtype=str)[place]


def _from_json(path: Path, content: Any) -> Any:
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        key = next((k for k in _JSON_KEYS if k in lists), next(iter(lists)) if len(lists) == 1 else None)
        if key is None:
            raise InputError(f"{path}: no list of labels under one of {', '.join(_JSON_KEYS)}")
        content = lists[key]
    return content


def _from_text(path: Path, text: str) -> NDArray:
    plain = text.strip().split("\n")
    try:
        return np.array(plain, dtype=np.float64)  # what nearly all are, ten times sooner
    except ValueError:
        pass
    lines = [line.split("#")[0].translate(_APART).split() for line in plain]
    lines = [line for line in lines if line]
    values = _numbers(lines)
    if values is None and len(lines) > 2 and all(_numbers([[word]]) is None for word in lines[0]):
        values = _numbers(lines[1:])
        lines = lines if values is None else lines[1:]  # without the headline
    if values is None:
        return _from_names(path, lines)
    if len(lines) > 1 and len(values) != len(lines):
        wide = next(k for k, line in enumerate(lines) if len(line) != 1)
        raise InputError(f"{path}: line {wide + 1} of the labels has {len(lines[wide])} values; give one a line")
    return values


def _numbers(lines: list[list[str]]) -> NDArray[np.float64] | None:
    """All words of some lines as numbers; None if one is no number."""
    try:
        return np.array([word for line in lines for word in line], dtype=np.float64)
    except ValueError:
        return None


def _from_names(path: Path, lines: list[list[str]]) -> NDArray:
    if all(len(line) == 1 for line in lines[0::2]) and all(w.isdigit() for line in lines[1::2] for w in line):
        members = [np.array(line, dtype=np.int64) for line in lines[1::2]]
        places = np.concatenate(members) if members else np.zeros(0, np.int64)
        if len(members) == len(lines[0::2]) and len(np.unique(places)) == len(places):
            first = min(int(places.min()), 1)
            labels = np.full(int(places.max()) + 1 - first, "", dtype=object)
            for (name,), member in zip(lines[0::2], members, strict=True):
                labels[member - first] = name
            return labels.astype(str)
    if all(len(line) == 1 for line in lines):
        return np.array([line[0] for line in lines])
    raise InputError(f"{path}: line 1 is {' '.join(lines[0])[:40]!r}; give one label a line, a whole number or a word")
