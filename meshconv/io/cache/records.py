"""Serialisation of gauge graphs, hierarchies, features and origins, bit for bit and without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy, Pooling
from meshconv.geometry.graph.record import Record
from meshconv.geometry.repair.origin import Changes, Origin
from meshconv.io.cache.tensor_file import DamagedFile, decode_tensors, encode_tensors

_CLASSES = {cls.__name__: cls for cls in (GaugeGraph, Hierarchy, Pooling, Origin, Changes)}


def encode_record(value: Any, about: Mapping[str, str]) -> bytes:
    """A value as bytes.

    Parameters
    ----------
    value
        None, numbers and texts; tensors on the CPU and arrays; gauge graphs, hierarchies, poolings, origins; lists and
        dicts with text keys of all these.
    about : mapping of str
        What the record is of.

    Raises
    ------
    TypeError
        Something else in ``value``.

    Notes
    -----
    Indices take as few bytes as they can, and what a record derives from its other fields is left out; both are as they
    were after reading. ``tests/test_cache.py`` checks that nothing changes on the way.

    Examples
    --------
    >>> decode_record(encode_record({"x": [1, None, torch.zeros(2)]}, {"mesh": "a"}))
    ({'x': [1, None, tensor([0., 0.])]}, {'mesh': 'a'})
    """
    arrays: dict[str, NDArray] = {}
    tree = _tree(value, "record", arrays)
    return encode_tensors(arrays, {**about, "record": json.dumps(tree)})


def decode_record(content: bytes) -> tuple[Any, dict[str, str]]:
    """The value and what it is of; :class:`DamagedFile` if the bytes are not a whole record of this version."""
    arrays, about = decode_tensors(content)
    try:
        return _value(json.loads(about.pop("record")), arrays), about
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"its content cannot be understood ({error})") from error


def _tree(value: Any, name: str, arrays: dict[str, NDArray]) -> Any:
    """What JSON can hold of a value; its arrays go to ``arrays`` under their path."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor | np.ndarray):
        array = value if isinstance(value, np.ndarray) else value.detach().numpy()
        arrays[name] = _narrowed(array)
        wide = {} if arrays[name].dtype == array.dtype else {"wide": array.dtype.str}
        return {"array" if array is value else "tensor": name, **wide}
    if isinstance(value, (list, tuple)):
        return [_tree(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {"dict": {key: _tree(item, f"{name}.{key}", arrays) for key, item in value.items()}}
    kind = type(value).__name__
    if _CLASSES.get(kind) is not type(value):
        raise TypeError(f"{name} is of type {kind}, which is not stored; use {', '.join(_CLASSES)}, tensors or numbers")
    given = {f.name: getattr(value, f.name) for f in fields(value)}
    derived = type(value).derived(given) if isinstance(value, Record) else {}
    kept = {n: v for n, v in given.items() if n not in derived or not torch.equal(v, derived[n])}
    return {"class": kind, "fields": {n: _tree(v, f"{name}.{n}", arrays) for n, v in kept.items()}}


def _narrowed(array: NDArray) -> NDArray:
    """Indices in 16 or 32 bits, where they fit."""
    if array.dtype not in (np.int32, np.int64) or not array.size:
        return array
    least, most = int(array.min()), int(array.max())
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return array.astype(kind)
    return array


def _value(tree: Any, arrays: dict[str, NDArray]) -> Any:
    if isinstance(tree, list):
        return [_value(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree or "array" in tree:
        array = arrays[tree["tensor" if "tensor" in tree else "array"]]
        array = array.astype(tree["wide"]) if "wide" in tree else array
        return torch.from_numpy(array) if "tensor" in tree else array
    if "dict" in tree:
        return {key: _value(item, arrays) for key, item in tree["dict"].items()}
    kind: Any = _CLASSES[tree["class"]]
    given = {key: _value(item, arrays) for key, item in tree["fields"].items()}
    derived = kind.derived(given) if issubclass(kind, Record) else {}
    return kind(**{**derived, **given})
