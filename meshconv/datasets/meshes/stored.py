"""Prepared meshes that are read from the cache when they are needed, so that memory does not grow with a collection."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from meshconv.io.cache.cache import Cache, Key

# Bytes of entries that stay in memory; layers keep about as much again beside the graphs that they work on.
_IN_MEMORY = 512 << 20


class EntryMemory:
    """Entries of a cache; those that were used last stay in memory.

    Parameters
    ----------
    cache : Cache
    limit
        Bytes of their tensors.
    """

    def __init__(self, cache: Cache, limit: int = _IN_MEMORY):
        self.cache, self.limit = cache, limit
        self._entries: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self.taken = 0
        """Bytes of what is in memory."""

    def get(self, key: Key, build: Callable[[], Any]) -> Any:
        """An entry; one that the cache has lost is built again."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]
        entry = self.cache.fetch(key, build)
        self.put(key, entry)
        return entry

    def put(self, key: Key, entry: Any) -> None:
        """Keep an entry, at the cost of those that were not used for longest."""
        leaves = pytree.tree_leaves(entry)
        size = sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor | np.ndarray))
        self.taken += size - self._entries.pop(key, (None, 0))[1]
        self._entries[key] = entry, size
        while self.taken > self.limit and len(self._entries) > 1:
            self.taken -= self._entries.popitem(last=False)[1][1]
