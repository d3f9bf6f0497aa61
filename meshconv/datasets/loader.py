"""Data loader that passes an InputError of a worker process unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from meshconv.errors import InputError


class Loader(DataLoader):
    """A :class:`torch.utils.data.DataLoader` that raises the ``InputError`` of a worker process as itself.

    torch makes a new error of its class, whose message is a traceback: here errors come as values, and are raised where
    batches are taken.

    Parameters
    ----------
    dataset, batch_size, options
        As of :class:`torch.utils.data.DataLoader`; ``collate_fn`` has to be given.
    """

    def __init__(self, dataset: Dataset, batch_size: int = 1, *, collate_fn: Callable[[list], Any], **options: Any):
        super().__init__(_Caught(dataset), batch_size, collate_fn=_Collated(collate_fn), **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names the class of its own iterators
        for batch in super().__iter__():
            if isinstance(batch, InputError):
                raise batch
            yield batch


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
