"""Gauge convolutions over a geodesic ball become homogeneous ones as the points become dense."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

pytest.importorskip("ducc0", reason="the transform needs the extra 'homogeneous'")
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    sys.modules.pop("homogeneous", None)


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "least"), [("smooth", 1.8), ("hat", 1.8), ("box", 1.0)])
def test_order_of_convergence(profile, least):
    """Sums weighted by area, from scalars to scalars and to vectors, against closed forms by degree."""
    from homogeneous import gauge_errors

    coarse, fine = (gauge_errors(profile, nside) for nside in (8, 16))
    for a, b in zip(coarse, fine, strict=True):
        assert math.log2(a / b) > least and b < 0.05
