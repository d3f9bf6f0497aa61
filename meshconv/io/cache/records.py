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
    ``tests/test_cache.py`` checks that nothing changes on the way.

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
    if isinstance(value, torch.Tensor):
        arrays[name] = value.detach().numpy()
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, (list, tuple)):
        return [_tree(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {"dict": {key: _tree(item, f"{name}.{key}", arrays) for key, item in value.items()}}
    kind = type(value).__name__
    if _CLASSES.get(kind) is not type(value):
        raise TypeError(f"{name} is of type {kind}, which is not stored; use {', '.join(_CLASSES)}, tensors or numbers")
    parts = {f.name: _tree(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
    return {"class": kind, "fields": parts}


def _value(tree: Any, arrays: dict[str, NDArray]) -> Any:
    if isinstance(tree, list):
        return [_value(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return torch.from_numpy(arrays[tree["tensor"]])
    if "array" in tree:
        return arrays[tree["array"]]
    if "dict" in tree:
        return {key: _value(item, arrays) for key, item in tree["dict"].items()}
    return _CLASSES[tree["class"]](**{key: _value(item, arrays) for key, item in tree["fields"].items()})
