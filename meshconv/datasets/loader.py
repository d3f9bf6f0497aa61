"""Data loader: batches of seed, epoch and process, a place to go on from, errors of worker processes as themselves."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from meshconv.errors import InputError
from meshconv.ranks import rank_and_world


class EpochBatches(Sampler[list[int]], ABC):
    """Base of batch samplers: lists of indices, by the number of the epoch alone; passes count up on their own."""

    repeats: ClassVar[bool] = False
    """Whether batches come twice where they do not go round the processes; else large ones are halved."""

    epoch = 0

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches, the same in every epoch."""

    @abstractmethod
    def of_epoch(self, epoch: int) -> list[list[int]]:
        """Batches of an epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return iter(self.of_epoch(epoch))


class Loader(DataLoader):
    """A :class:`torch.utils.data.DataLoader` that can be resumed and divided among processes.

    Batches and seeds of worker processes depend on torch's seed and the number of the epoch alone, not on what else is
    drawn nor on the number of workers. In a distributed training each process has its share: of training data batches
    of as many samples in every process, all samples once; of other data every sample once. A checkpoint of Lightning's
    amid an epoch has the place in it (:meth:`state_dict`), where the next pass begins. torch makes of an error in a
    worker a new one whose message is a traceback: here an ``InputError`` comes as a value, and is raised as itself.

    Parameters
    ----------
    dataset : Dataset
    batch_size
        In a process, unless ``batches`` are given.
    train
        Shuffle, and give every process as many batches.
    batches : EpochBatches, optional
        Of all processes.
    collate_fn, options
        As of :class:`torch.utils.data.DataLoader`; memory is pinned where there is a GPU.
    finish : callable, optional
        What becomes of a batch in this process: what all batches share need not come from worker processes.

    Raises
    ------
    InputError
        When it is iterated: fewer samples to train on than processes. To evaluate, each process has all of them then,
        which changes no mean.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        train: bool = False,
        batches: EpochBatches | None = None,
        *,
        collate_fn: Callable[[list], Any],
        finish: Callable[[Any], Any] | None = None,
        **options: Any,
    ):
        self.shares = Shares(len(dataset), batch_size, train, batches)
        options.setdefault("generator", torch.Generator())
        options.setdefault("pin_memory", torch.cuda.is_available())
        self._finish = finish
        super().__init__(
            _Caught(dataset), batch_size=None, sampler=self.shares, collate_fn=_Collated(collate_fn), **options
        )
        self._done = self._left_out = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names the class of its own iterators
        self.generator.manual_seed(_mixed(self.shares.seed, self.shares.epoch))
        left_out, self._left_out = self._left_out, 0
        for k, batch in enumerate(super().__iter__()):
            if k < left_out:
                continue
            if isinstance(batch, InputError):
                raise batch
            self._done = k + 1
            yield batch if self._finish is None else self._finish(batch)

    def state_dict(self) -> dict[str, int]:
        """Seed, and number of batches of this pass that have been taken."""
        return {"seed": self.shares.seed, "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass leaves out the batches that have been taken, unless they are all."""
        self.shares.seed, done = int(state["seed"]), int(state["batches"])
        self._left_out = done if done < len(self) else 0


class Shares(DistributedSampler):
    """Batches of this process in an epoch, lists of indices; passes count up on their own.

    A ``DistributedSampler`` to trainers: they do not replace it, and call ``set_epoch``.
    """

    def __init__(self, size: int, batch_size: int, train: bool, batches: EpochBatches | None):
        self.size, self.batch_size, self.train, self.batches = size, batch_size, train, batches
        self.seed, self.epoch = torch.initial_seed(), 0

    def __len__(self) -> int:
        rank, world = self._place()
        return len(range(rank, self._count(world), world))

    def __iter__(self) -> Iterator[list[int]]:
        rank, world = self._place()
        count, epoch = self._count(world), self.epoch
        self.epoch += 1
        if self.batches is not None:
            whole = self._even(self.batches.of_epoch(epoch), count, self.batches.repeats)
        elif not self.train:
            whole = self._even(_cut(list(range(self.size)), self.batch_size), count)
        else:
            order = torch.randperm(self.size, generator=torch.Generator().manual_seed(_mixed(self.seed, epoch)))
            steps = _cut(order.tolist(), self.batch_size * world)
            last = count // world - 1  # fewer samples than processes are left over for no step of their own
            steps = [*steps[:last], [k for step in steps[last:] for k in step]]
            whole = [step[k::world] for step in steps for k in range(world)]
        yield from whole[rank::world]

    def _place(self) -> tuple[int, int]:
        """Number of this process and of those that share the samples."""
        rank, world = rank_and_world()
        if not 0 < self.size < world:
            return rank, world
        if self.train:
            raise InputError(f"{self.size} samples for {world} processes; use fewer with --trainer.devices")
        return 0, 1

    def _count(self, world: int) -> int:
        """Number of batches of all processes."""
        if self.batches is None and self.train:
            steps, rest = divmod(self.size, self.batch_size * world)
            return max(steps + (rest >= world), self.size > 0) * world
        whole = -(-self.size // self.batch_size) if self.batches is None else len(self.batches)
        return -(-whole // world) * world if self.train else max(whole, min(world, self.size))

    @staticmethod
    def _even(batches: list[list[int]], count: int, repeats: bool = False) -> list[list[int]]:
        """As many as ``count``: some ``repeats``, or halves of the largest."""
        if repeats:
            return [batches[k % len(batches)] for k in range(count)]
        batches = list(batches)
        while len(batches) < count:
            most = max(range(len(batches)), key=lambda k: len(batches[k]))
            half = len(batches[most]) // 2
            batches[most : most + 1] = [batches[most][:half], batches[most][half:]]
        return batches


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[k : k + size] for k in range(0, len(order), size)]


def _mixed(seed: int, epoch: int) -> int:
    return random.Random(f"{seed}/{epoch}").getrandbits(63)


class _Caught(Dataset):
    """Lists of samples; an error of the user's data is a value."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, indices: Sequence[int]) -> Any:
        try:
            return [self.dataset[k] for k in indices]
        except InputError as error:
            return error


class _Collated:
    def __init__(self, collate: Callable[[list], Any]):
        self.collate = collate

    def __call__(self, samples: Any) -> Any:
        return samples if isinstance(samples, InputError) else self.collate(samples)
