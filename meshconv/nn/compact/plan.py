"""Networks with fewer fields, by a plan of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from meshconv.errors import InputError
from meshconv.nn.compact.half import half_features
from meshconv.nn.compact.integers import take_integers
from meshconv.nn.compact.shrinking import Constant, Restricted, bias_of, has_kernel, in_type, out_type, shrunken

NOTHING: dict[str, Any] = {"layers": {}, "bits": None, "bf16": False}
"""The plan that leaves a network as it is."""


def compact(network: nn.Module, plan: Mapping[str, Any]) -> None:
    """Make a network smaller, in place: layers keep some of their fields, weights may be read from integers.

    Parameters
    ----------
    network
    plan : mapping
        ``layers``: for a layer by its name which input fields it ``reads`` and which output fields it ``gives``, by
        their numbers in its own types; the numbers of the fields of its input that are there (``arrives``, null: all);
        and whether its output has zeros for the others (``wide``), as code between layers wants it. ``bits``: weights
        may be integers of so many bits (:func:`~meshconv.nn.compact.integers.take_integers`), null: none are.
        ``bf16``: whether features are bfloat16 (:func:`~meshconv.nn.compact.half.half_features`).

    Raises
    ------
    InputError
        The plan does not fit the network; the message names the layer.
    """
    for name, entry in plan["layers"].items():
        try:
            network.set_submodule(name, _restricted(network.get_submodule(name), **entry))
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"fields of layer {name!r} do not fit the network ({error})") from error
    if plan["bits"] is not None:
        take_integers(network, plan["bits"])
    if plan["bf16"]:
        half_features(network)


def _restricted(
    layer: nn.Module, reads: list[int], gives: list[int], arrives: list[int] | None, wide: bool
) -> nn.Module:
    """The layer that takes the fields ``arrives`` and returns ``gives``, or its full output type if ``wide``."""
    source, target = in_type(layer), out_type(layer)
    there = range(source.num_fields) if arrives is None else arrives
    if not set(reads) <= set(there):
        raise ValueError(f"it reads fields {sorted(set(reads) - set(there))}, which do not arrive")
    select, place = source.components(reads), target.components(gives)
    if reads and gives:
        new = shrunken(layer, reads, gives)
    else:
        where, bias = (bias_of(layer, gives) if has_kernel(layer) else None) or (None, None)
        new = Constant(len(place), where, bias, layer)
    if arrives is not None:
        select = torch.searchsorted(source.components(arrives), select)
    from_some = bool(reads) and list(reads) != list(there)
    into_more = wide and len(gives) < target.num_fields
    if from_some or into_more:
        new = Restricted(new, select if from_some else None, place if into_more else None, target.dim)
    if isinstance(new, Constant | Restricted):
        new.in_type = source.choose(there) if there else None
        new.out_type = target if wide else target.choose(gives) if gives else None
    return new.train(layer.training)
