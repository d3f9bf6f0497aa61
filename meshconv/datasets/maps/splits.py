"""Spatial splits: blocks of the sphere, or the values of a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.maps.surface import MapSurface
from meshconv.errors import InputError
from meshconv.geometry.sphere.healpix import HealpixSphere
from meshconv.io.maps.fields import SphereFields

_BLOCK_NSIDE = 4
_NOWHERE = np.iinfo(np.int64).min


def block_masks(points: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Masks of a split into blocks of 15 degrees: a fifth for testing, a tenth for validation.

    Neighbouring points are highly correlated: a split by points would test interpolation.
    """
    blocks = np.random.default_rng(0).permutation(12 * _BLOCK_NSIDE**2)
    if len(points) < len(blocks):
        raise InputError(
            f"{len(points)} points are too few to split one map into {len(blocks)} blocks; use a finer map"
        )
    block = blocks_of(points)
    test, val = len(blocks) // 5, len(blocks) // 10
    parts = {"test": blocks[:test], "val": blocks[test : test + val], "train": blocks[test + val :]}
    return {name: np.isin(block, part) for name, part in parts.items()}


def blocks_of(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Block of each unit vector: a pixel of HEALPix nside 4, 15 degrees wide."""
    return HealpixSphere(_BLOCK_NSIDE).locate(points)


def variable_masks(
    splits: Mapping[str, Any],
    fields: SphereFields,
    label_fields: SphereFields,
    surface: MapSurface,
    labelled: NDArray[np.bool_],
) -> dict[str, NDArray[np.bool_]]:
    """Masks of a split by the values of a map: ``{variable: fold, test: 0, val: [1, 2]}``.

    The variable is looked for beside the inputs, then beside the labels, and must not change with time. Values that are
    not named, or those under ``train`` if that is, are for training. ``val_fraction`` is the share of their blocks (15
    degrees, with ``labelled`` points) that is for validation instead; ``seed`` draws them.

    Raises
    ------
    InputError
        No such variable, values that do not occur, or one in two splits; a share that is not between 0 and 1.
    """
    name = str(splits["variable"])
    home = fields if name in fields.dataset.variables else label_fields
    values = home.values(name)
    if values.ndim != 1:
        raise InputError(f"{home.path}: splits: variable {name} has dimensions {home.dataset[name].dims}; give one map")
    known = np.isfinite(values)
    labels = np.where(known, np.round(np.where(known, values, 0)), _NOWHERE).astype(np.int64)
    regridder = surface.label_regridder(home)
    if regridder is not None:
        labels = regridder.majority(labels, _NOWHERE)
    labels = surface.inside(labels)
    present = np.setdiff1d(labels, [_NOWHERE]).tolist()
    asked = {k: np.atleast_1d(v).tolist() for k, v in splits.items() if k in ("train", "val", "test")}
    share, seed = splits.get("val_fraction"), splits.get("seed", 0)
    others = set(splits) - set(asked) - {"variable", "val_fraction", "seed"}
    if others or not asked or (share is not None and "val" in asked):
        raise InputError(
            f"splits: {dict(splits)}; write {{variable: {name}, test: 0}}, and val: [1] or val_fraction: 0.2"
        )
    if share is not None and not 0 <= share < 1:
        raise InputError(f"splits: val_fraction {share} is not in [0, 1)")
    named = [value for values in asked.values() for value in values]
    wrong = [value for value in named if value not in present] + [v for v in named if named.count(v) > 1]
    if wrong:
        raise InputError(
            f"{home.path}: splits: value {wrong[0]} of {name} is named twice or does not occur; it has {present[:20]}"
        )
    asked.setdefault("train", [value for value in present if value not in named])
    if not asked["train"]:
        raise InputError(f"{home.path}: splits: no value of {name} is left for training")
    masks = {part: np.isin(labels, asked.get(part, [])) for part in ("train", "val", "test")}
    if share:
        block = blocks_of(surface.points)
        blocks = np.unique(block[masks["train"] & labelled])
        order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed)).numpy()
        count = min(max(round(len(blocks) * share), 1), len(blocks) - 1)
        masks["val"] = masks["train"] & np.isin(block, blocks[order[:count]])
        masks["train"] &= ~masks["val"]
    return masks
