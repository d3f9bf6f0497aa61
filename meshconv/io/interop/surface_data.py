"""PyTorch Geometric's Data with batching rules that are independent of attribute names."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import Data


class SurfaceData(Data):
    """Data of a gauge graph or mesh.

    PyTorch Geometric adds offsets to every attribute with "index" or "batch" in its name, and joins those with "index"
    along the last axis. Here ``edge_index`` ``[2, E]`` and ``face`` ``[3, F]`` are numbers of vertices, and they alone.
    """

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> int:
        return -1 if key in ("edge_index", "face") else 0

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> int:
        return int(self.num_nodes or 0) if key in ("edge_index", "face") else 0
