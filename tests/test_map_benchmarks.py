"""What the benchmarks on the sphere rest on: turns of fields, the file of results, regions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from meshconv import FieldType, HealpixSphere
from meshconv.geometry import Regridder
from meshconv.models import SphereUNet

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("koeppen", "turned_earth", "map_training", "cyclones"):
        sys.modules.pop(name, None)


def test_results_go_on_where_they_stopped(tmp_path):
    from map_training import Results

    first = Results(tmp_path / "new" / "results.jsonl")
    assert not first.has(seed=0)
    first.add({"seed": 0, "options": {"channels": [8, 16]}, "score": 0.5})
    again = Results(first.path)
    assert again.has(seed=0, options={"channels": [8, 16]}) and not again.has(seed=1)
    assert not again.has(seed=0, options={"channels": [8, 8]})
    assert again.select(seed=0)[0]["score"] == 0.5


@pytest.mark.parametrize("name", ["90 degrees about z", "180 degrees about x"])
def test_exact_turns_change_no_answer(name):
    """Fields turned as the benchmark turns them, vectors included: the network's answer is the turned one."""
    from turned_earth import SeenTurned, turned, turns

    kind, sphere = FieldType("2x0 + 3x1"), HealpixSphere(8)
    seen = SeenTurned(8, turns()[name])
    there = torch.from_numpy(sphere.locate(seen.xyz))
    assert len(there.unique()) == sphere.npix
    x = torch.randn(sphere.npix, kind.dim)
    moved = turned(x, kind, Regridder(sphere, seen, "nearest"))
    assert torch.equal(moved[:, :2], x[there, :2])
    network, surface = SphereUNet(kind, 3, channels=(4, 4), width=8).eval().double(), sphere.hierarchy(2)
    answer, turned_answer = network(x.double(), surface), network(moved.double(), surface)
    torch.testing.assert_close(turned_answer, answer[there], rtol=1e-5, atol=1e-5)  # turned() gives float32


def test_any_turn_takes_a_field_along():
    """A linear function of the place and its gradient, turned by regridding: those of the turned function."""
    from turned_earth import SeenTurned, turned

    sphere, direction = HealpixSphere(32), np.array([0.6, 0.0, 0.8])
    turn = Rotation.random(random_state=3).as_matrix()

    def fields(along: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([sphere.xyz @ along[:, None], sphere.frames[:, :2] @ along], axis=1))

    found = turned(fields(direction), FieldType("1x0 + 1x1"), Regridder(sphere, SeenTurned(32, turn)))
    expected = fields(turn @ direction).float()
    assert (found - expected).abs().max() < 6e-3
    assert (fields(direction).float() - expected).abs().max() > 0.3


def test_cyclones_are_scored_over_the_ocean():
    from cyclones import Months, scores

    true, ocean = torch.tensor([[True] * 4, [True, False, True, True]]), torch.tensor([True, True, True, False])
    data = Months(torch.zeros(2, 4, 1), true, np.array([2017, 2018]), np.array([1, 1]), ocean, None)
    found = scores(torch.tensor([[0.9, 0.22, 0.1, 0.9]]), data, np.array([False, True]))["iou"]
    assert found["0.2"] == pytest.approx(1 / 3) and found["0.24"] == pytest.approx(1 / 2)


def test_a_correction_starts_at_the_climatology():
    from cyclones import METHODS, NETWORKS, Correction

    surface, x = HealpixSphere(4).hierarchy(3).to(torch.float32), torch.randn(2, 192, 7)
    for method, options in METHODS.items():
        network = Correction(NETWORKS[method]("7x0", 2, **options))
        chance = network(x, surface).softmax(-1)[..., 1]
        torch.testing.assert_close(chance, torch.sigmoid(x[..., -1]))


def test_smoothing_keeps_to_the_ocean_and_is_wider_along_the_latitudes():
    from cyclones import nearby

    sphere = HealpixSphere(16)
    ocean = np.abs(np.degrees(sphere.phi) - 90) > 20
    near = nearby(ocean, 12.0, 4.0)
    np.testing.assert_allclose(near.sum(axis=1)[ocean], 1)
    assert not near.toarray()[:, ~ocean].any()
    here = int(sphere.locate(np.array([[-1.0, 0, 0.02]]))[0])
    weight, offset = near.toarray()[here], sphere.xyz - sphere.xyz[here]
    along, across = (np.degrees(np.sqrt(weight @ offset[:, k] ** 2)) for k in (1, 2))
    assert along == pytest.approx(12, rel=0.1) and across == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("drop", [0, 1])
def test_what_past_years_tell_leaves_the_year_out(tmp_path, drop):
    """Cyclones of a training year do not reach that year's inputs, those of a test year reach none."""
    from cyclones import others, read

    rng, months, pixels = np.random.default_rng(0), 48, 192
    time = np.array([f"{y}-{m:02d}" for y in (2015, 2016, 2017, 2018) for m in range(1, 13)], dtype=object)
    sst = rng.normal(20, 5, (months, pixels)).astype(np.float32)
    sst[:, :40] = np.nan
    inputs = []
    for changed in (None, 2017, 2018):
        storms = np.random.default_rng(1).random((months, pixels)) < 0.2
        if changed is not None:
            rows = [t.startswith(str(changed)) for t in time]
            storms[rows] = ~storms[rows]
        np.savez(tmp_path / "maps.npz", sst_degC=sst, tc_mask4deg=storms, time=time)
        data, drawn = read(tmp_path / "maps.npz", 2018), np.random.default_rng(2)
        past = data.year < 2018
        given = [others(data, past, k, drop, drawn) if past[k] else past for k in range(months)]
        assert {int(g.sum()) for g in given} == {36, 24, 24 - 12 * drop}
        inputs.append(torch.stack([data.seen(k, "sst+past", g) for k, g in enumerate(given)]).unflatten(0, (4, 12)))
    before, other_2017, other_2018 = inputs
    assert torch.isfinite(before).all() and not before[..., :40, :].any()
    assert torch.equal(before, other_2018)
    same = [bool(torch.equal(before[k], other_2017[k])) for k in range(4)]
    assert same == [False, False, True, False]
