"""What all tests share: seeds, small graphs, and data that is not part of the repository."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of what Lightning's command line calls
with warnings.catch_warnings():
    # Where the extension is absent the package says so, and the tests cover the references.
    warnings.filterwarnings("default", message="meshconv runs on plain-torch references")
    from meshconv import GaugeGraph, HealpixSphere, Hierarchy
    from meshconv.ops import is_compiled

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or written to the cache of the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESHCONV_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _find(folder: str, name: str) -> Path:
    path = SHARED / folder / name
    if not path.exists():
        pytest.skip(f"../shared/{folder}/{name} is not here")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data(name)``: path of a data set, or the test is skipped."""
    return lambda name: _find("data", name)


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """``reference(name)``: path of numbers that other code computed, or the test is skipped."""
    return lambda name: _find("reference", name)


@pytest.fixture
def compiled() -> None:
    """Skip where the compiled operators are absent."""
    if not is_compiled(torch.device("cpu")):
        pytest.skip("the compiled extension is absent")


@pytest.fixture(scope="session")
def sphere() -> GaugeGraph:
    """48 points of the unit sphere, float64."""
    return HealpixSphere(2).gauge_graph()


@pytest.fixture(scope="session")
def hierarchy() -> Hierarchy:
    """192, 48 and 12 points of the unit sphere, float64."""
    return HealpixSphere(4).hierarchy(3)


@pytest.fixture(scope="session")
def random_graph() -> Callable[..., GaugeGraph]:
    """``random_graph(vertices, edges, seed=0)``: any edges, duplicates and isolated points included."""

    def build(num_vertices: int, num_edges: int, seed: int = 0) -> GaugeGraph:
        g = torch.Generator().manual_seed(seed)

        def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
            return low + (high - low) * torch.rand(*shape, generator=g, dtype=torch.float64)

        src, dst = (torch.randint(max(num_vertices, 1), (num_edges,), generator=g) for _ in range(2))
        frames, _ = torch.linalg.qr(uniform(num_vertices, 3, 3) + 3 * torch.eye(3, dtype=torch.float64))
        frames = frames * torch.linalg.det(frames)[:, None, None].sign()
        return GaugeGraph.from_edges(
            src,
            dst,
            uniform(num_edges, high=2.0),
            uniform(num_edges, low=-math.pi, high=math.pi),
            uniform(num_edges, low=-math.pi, high=math.pi),
            frames=frames,
            positions=uniform(num_vertices, 3),
            areas=uniform(num_vertices, low=0.5, high=1.5),
            scale=0.7,
        )

    return build
