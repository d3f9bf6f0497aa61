"""Augmented variants of training meshes, prepared once; every epoch draws one of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset

from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import MeshSample
from meshconv.errors import InputError
from meshconv.geometry.repair.augmentation import Augmentation

log = logging.getLogger(__name__)


def variant_preparations(how: Preparation, augment: Augmentation | None, variants: int) -> list[Preparation]:
    """The mesh as it is, then ``variants`` times changed by ``augment``.

    Raises
    ------
    InputError
        Variants without an augmentation, or with one that changes nothing, or a negative number.
    """
    varies = augment is not None and augment != Augmentation()
    if variants < 0:
        raise InputError(f"variants {variants} has to be at least 0")
    if variants and not varies:
        raise InputError(
            f"variants {variants} need something that varies: give augment, such as {{noise: 0.02}}, or variants 0"
        )
    if varies and not variants:
        log.warning("augment without variants has no effect; set the number of variants")
    return [how] + [replace(how, augment=augment, variant=k) for k in range(1, variants + 1)]


class Variants(Dataset):
    """Samples of which each has several variants; an item is one of them, drawn by torch's generator.

    Parameters
    ----------
    prepared : sequence of lists of MeshSample
        The samples themselves, then their variants, known by name; where one could not be prepared, the others stand.
    """

    def __init__(self, prepared: Sequence[list[MeshSample]]):
        first, *others = prepared
        found: dict[str, list[MeshSample]] = {s.name: [s] for s in first}
        for samples in others:
            for sample in samples:
                if sample.name in found:
                    found[sample.name].append(sample)
        self.choices = [found[s.name] for s in first]

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, i: int) -> Any:
        choice = self.choices[i]
        return choice[int(torch.randint(len(choice), ()))] if len(choice) > 1 else choice[0]
