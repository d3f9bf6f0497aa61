"""Data loader whose order is that of its seed and epoch, and that raises errors of worker processes as themselves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from meshconv.errors import InputError


class Shuffled(Sampler):
    """Sampler of ``size`` indices in an order that depends on seed and epoch alone; passes count up on their own."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass is of."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(_mixed(self.seed, self.epoch))
        self.epoch += 1
        yield from torch.randperm(self.size, generator=order).tolist()


class Loader(DataLoader):
    """A :class:`torch.utils.data.DataLoader` that can be resumed, and raises ``InputError`` of workers as itself.

    Order and seeds of worker processes depend on torch's seed and the number of the epoch alone, not on what else is
    drawn nor on the number of workers. A checkpoint of Lightning's amid an epoch has the place in it
    (:meth:`state_dict`), where the next pass begins. torch makes of an error in a worker a new one whose message is a
    traceback: here errors come as values, and are raised where batches are taken.

    Parameters
    ----------
    dataset, batch_size, shuffle, options
        As of :class:`torch.utils.data.DataLoader`; ``collate_fn`` has to be given.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        collate_fn: Callable[[list], Any],
        **options: Any,
    ):
        self.seed = torch.initial_seed()
        options.setdefault("generator", torch.Generator())
        dataset = _Caught(dataset)
        if shuffle:
            options["sampler"] = Shuffled(len(dataset), self.seed)
        super().__init__(dataset, batch_size, collate_fn=_Collated(collate_fn), **options)
        self._done = self._left_out = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names the class of its own iterators
        epoch = next((s.epoch for s in (self.batch_sampler, self.sampler) if hasattr(s, "epoch")), 0)
        self.generator.manual_seed(_mixed(self.seed, epoch))
        left_out, self._left_out = self._left_out, 0
        for k, batch in enumerate(super().__iter__()):
            if k < left_out:
                continue
            if isinstance(batch, InputError):
                raise batch
            self._done = k + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Seed, and number of batches of this pass that have been taken."""
        return {"seed": self.seed, "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass leaves out the batches that have been taken, unless they are all."""
        self.seed, done = int(state["seed"]), int(state["batches"])
        self._left_out = done if done < len(self) else 0
        if isinstance(self.sampler, Shuffled):
            self.sampler.seed = self.seed


def _mixed(seed: int, epoch: int) -> int:
    return random.Random(f"{seed}/{epoch}").getrandbits(63)


class _Caught(Dataset):
    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except InputError as error:
            return error


class _Collated:
    def __init__(self, collate: Callable[[list], Any]):
        self.collate = collate

    def __call__(self, samples: list[Any]) -> Any:
        return next((s for s in samples if isinstance(s, InputError)), None) or self.collate(samples)
