"""Networks by name: class, options with their defaults, construction."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from meshconv import models
from meshconv.datasets.class_path import import_class
from meshconv.errors import InputError


def network_class(name: str) -> type[nn.Module]:
    """The class of :mod:`meshconv.models` with this name, or at this class path.

    Raises
    ------
    InputError
        There is none.
    """
    known = {key: getattr(models, key) for key in models.__all__}
    if not isinstance(name, str) or ("." not in name and name not in known):
        raise InputError(f"network {name!r} is not known; use one of {', '.join(known)}, or a class path")
    return known[name] if name in known else import_class(name, nn.Module)


def network_options(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of a network, with the defaults of all plain arguments that are not given.

    A checkpoint holds them, so that its network stays what it was where a later version has other defaults.
    """
    parameters = list(inspect.signature(network_class(name)).parameters.values())[2:]  # without the two types
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and _is_plain(p.default)}
    return {**defaults, **(options or {})}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def make_network(name: str, in_type: str, out: int | str, options: Mapping[str, Any] | None) -> nn.Module:
    """A network of these types and options.

    Raises
    ------
    InputError
        It is not known or does not take them.
    """
    cls = network_class(name)
    try:
        return cls(in_type, out, **(options or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"options of {name}: {error}") from error
