"""The shallow-water planet: exact solutions, symmetries, conservation, and its files."""

from __future__ import annotations

import math
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from meshconv import InputError
from meshconv.cli import main
from meshconv.datasets import Rings, ShallowWater, ShallowWaterRuns
from meshconv.datasets.shallow_water.solver import GRAVITY, RADIUS, ROTATION
from meshconv.io.maps.fields import open_fields

DAY = 86400.0


def zonal(water: ShallowWater) -> np.ndarray:
    """Steady flow about the axis of the planet: test 2 of Williamson et al. (1992), about any axis."""
    theta, phi = np.meshgrid(water.theta, water.phi, indexing="ij")
    st, ct, cp, sp = np.sin(theta), np.cos(theta), np.cos(phi), np.sin(phi)
    normal = np.stack([st * cp, st * sp, ct])
    speed = 2 * np.pi * RADIUS / (12 * DAY)
    wind = speed * np.cross(water.axis, normal, axisb=0, axisc=0)
    sine = np.tensordot(water.axis, normal, 1)
    height = (2.94e4 - (RADIUS * ROTATION * speed + speed**2 / 2) * sine**2) / GRAVITY
    south, east = np.stack([ct * cp, ct * sp, -st]), np.stack([-sp, cp, 0 * sp])
    return water.state_of(height, (wind * south).sum(0), (wind * east).sum(0))


@pytest.mark.parametrize("axis", [(0, 0, 1), (1.0, -0.4, 0.3)])
def test_steady_zonal_flow_is_kept(axis: tuple[float, ...]) -> None:
    water = ShallowWater(21, axis=axis, depth=2.94e4 / GRAVITY, damping_hours=math.inf)
    first = zonal(water)
    last = water.advance(first, 2 * DAY)
    for change, size in zip(last - first, first, strict=True):
        assert np.linalg.norm(change) <= 1e-12 * max(np.linalg.norm(size), np.linalg.norm(first[1]))


def test_time_steps_follow_the_equations() -> None:
    water = ShallowWater(10, damping_hours=math.inf)
    state = water.balanced_state(np.random.default_rng(0), degree=3, width=2)

    def rate(_: float, values: np.ndarray) -> np.ndarray:
        return water.tendency(values.reshape(state.shape)).ravel()

    exact = solve_ivp(rate, (0, DAY / 2), state.ravel(), "DOP853", rtol=1e-9, atol=1e-14).y[:, -1].reshape(state.shape)
    change = [np.linalg.norm(e - s) for e, s in zip(exact, state, strict=True)]
    error = [np.linalg.norm(e - a) for e, a in zip(exact, water.advance(state, DAY / 2), strict=True)]
    assert all(e < 5e-3 * c for e, c in zip(error[:2], change[:2], strict=True))


def test_mass_is_conserved_and_energy_nearly() -> None:
    water = ShallowWater(21, damping_hours=math.inf)
    first = water.balanced_state(np.random.default_rng(1))
    last = water.advance(first, DAY)
    assert water.mass(last) == water.mass(first) == pytest.approx(1e4, rel=1e-14)
    assert water.energy(last) == pytest.approx(water.energy(first), rel=1e-7)
    assert np.linalg.norm(last[1] - first[1]) > 0.1 * np.linalg.norm(first[1])


def test_a_balanced_state_has_no_divergence_and_does_not_begin_to() -> None:
    water = ShallowWater(21)
    state = water.balanced_state(np.random.default_rng(2), speed=25)
    assert np.abs(state[2]).max() == 0
    rate = water.tendency(state)
    assert np.abs(rate[2]).max() < 1e-10 * np.abs(rate[1]).max()
    assert np.sqrt((water.wind(state) ** 2).sum(0)).max() == pytest.approx(25)


def test_a_turned_planet_has_the_same_weather_turned() -> None:
    axis = np.array([0.6, -0.3, -0.2])
    upright, turned = ShallowWater(12), ShallowWater(12, axis=axis)
    states = [w.advance(w.balanced_state(np.random.default_rng(3)), DAY / 2) for w in (upright, turned)]
    assert turned.mass(states[1]) == upright.mass(states[0])
    energies = [w.energy(s) for w, s in zip((upright, turned), states, strict=True)]
    assert energies[1] == pytest.approx(energies[0], rel=1e-12)
    # The weather at the pole of the one is that at the axis of the other.
    axis /= np.linalg.norm(axis)
    at_pole = Rings(np.array([0.0]), np.array([1], np.uint64), np.zeros(1), np.zeros(1, np.uint64))
    at_axis = at_pole._replace(theta=np.arccos(axis[2:]), phi0=np.arctan2(axis[1:2], axis[:1]))
    pole, there = (w.maps(s, at) for w, s, at in zip((upright, turned), states, (at_pole, at_axis), strict=True))
    assert there.h == pytest.approx(pole.h, rel=1e-10)
    assert np.hypot(there.u, there.v) == pytest.approx(np.hypot(pole.u, pole.v), rel=1e-6)


def test_without_rotation_nothing_tells_east_from_west() -> None:
    water = ShallowWater(12, rotation=0.0)
    state = water.balanced_state(np.random.default_rng(4))
    # The mirror image of a flow is a flow: longitudes and vorticity change sign.
    mirror = np.conj(state) * np.array([1, -1, 1])[:, None]
    later, mirrored = water.advance(state, DAY / 4), water.advance(mirror, DAY / 4)
    assert np.abs(np.conj(later) * np.array([1, -1, 1])[:, None] - mirrored).max() < 1e-9 * np.abs(later[0]).max()
    assert not water.coriolis.any()


def test_runs_are_files_of_one_series(tmp_path: Path) -> None:
    options = {"days": 1, "step_hours": 12, "nside": 4, "truncation": 8}
    files = ShallowWaterRuns(**options, spin_up_days=0).write(tmp_path, 2)
    assert [path.name for path in files] == ["run_0000.nc", "run_0001.nc"]
    fields = open_fields(files)
    assert fields.grid.content == ("healpix", "4", "nest") and fields.dataset.sizes["time"] == 4
    times = fields.dataset.time.values
    assert str(times[0]) == "2000-01-01T00:00:00.000000000" and times[2] - times[0] == np.timedelta64(2, "D")
    # At the start of a run the file has the balanced state.
    water = ShallowWater(8)
    state = water.balanced_state(np.random.default_rng([0, 1]))
    ring = healpy.nest2ring(4, np.arange(192))
    for name, values in water.maps(state, Rings.healpix(4))._asdict().items():
        assert fields.values(name, at={"time": 2}) == pytest.approx(values[ring].astype(np.float32))
    north = fields.values("coriolis") / (2 * ROTATION)
    assert north == pytest.approx(np.cos(fields.grid.theta), abs=1e-6)
    fields.dataset.close()


def test_zarr_stores_hold_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = {"days": 1, "step_hours": 12, "nside": 4, "truncation": 8, "spin_up_days": 0}
    files = ShallowWaterRuns(**options).write(tmp_path, 2)
    command = ["generate", "shallow_water", str(tmp_path), "--format=zarr", "--runs=2"]
    assert main([*command, *(f"--{name}={value}" for name, value in options.items())]) == 0
    stores = capsys.readouterr().out.splitlines()
    assert stores == [str(path.with_suffix(".zarr")) for path in files]
    one, other = open_fields(files), open_fields(str(tmp_path / "*.zarr"))
    assert one.grid.content == other.grid.content and (one.dataset.time == other.dataset.time).all()
    for name in ("h", "u", "v"):
        assert (one.values(name) == other.values(name)).all()
        assert other.unit(name) == one.unit(name)
    one.dataset.close()
    before = (tmp_path / "run_0000.zarr" / ".zmetadata").stat().st_mtime_ns
    assert main([*command, *(f"--{name}={value}" for name, value in options.items())]) == 0
    assert (tmp_path / "run_0000.zarr" / ".zmetadata").stat().st_mtime_ns == before
    assert not list(tmp_path.glob(".*"))


def test_latitudes_and_longitudes_agree_with_pixels(tmp_path: Path) -> None:
    options = {"days": 1, "step_hours": 24, "truncation": 8, "axis": (1, 0, 0)}
    (one,) = ShallowWaterRuns(**options, nside=4, grid="latlon").write(tmp_path / "a", 1)
    (two,) = ShallowWaterRuns(**options, nside=128).write(tmp_path / "b", 1)
    regular, pixels = open_fields(one), open_fields(two)
    near = pixels.grid.locate(regular.grid.xyz)
    for name in ("h", "u", "v", "coriolis"):
        a, b = regular.values(name).ravel(), pixels.values(name).ravel()[near]
        assert np.abs(a - b).max() < 0.1 * b.std()
    regular.dataset.close()
    pixels.dataset.close()


def test_generation_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["generate", "shallow_water", str(tmp_path), "--days=1", "--step_hours=24", "--nside=4", "--truncation=8"]
    assert main([*command, "--runs=1"]) == 0
    before = (tmp_path / "run_0000.nc").stat().st_mtime_ns
    assert main([*command, "--runs=2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("run_0001.nc")
    assert (tmp_path / "run_0000.nc").stat().st_mtime_ns == before
    assert main([*command, "--runs=1", "--seed=1"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "run_0000.nc: a run with other options" in said[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"step_hours": 5}, "step_hours 5 does not divide a day"),
        ({"days": 0}, "days 0 is not a positive number"),
        ({"nside": 6}, "nside 6 is not a power of two"),
        ({"axis": (0, 0, 0)}, "axis .* is not the direction"),
        ({"truncation": 2}, "truncation 2 is below 4"),
        ({"grid": "icon"}, "grid 'icon' is not known"),
    ],
)
def test_options_are_checked(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        ShallowWaterRuns(**options)
    assert "\n" not in str(error.value)


def test_an_unstable_flow_is_an_error() -> None:
    water = ShallowWater(8)
    with np.errstate(all="ignore"), pytest.raises(InputError, match="unstable"):
        water.advance(water.balanced_state(np.random.default_rng(0), speed=1e5), 2 * DAY)


def test_the_dataset_is_cf(tmp_path: Path) -> None:
    (path,) = ShallowWaterRuns(days=1, step_hours=24, nside=4, truncation=8).write(tmp_path, 1)
    with xr.open_dataset(path) as data:
        assert data.attrs["Conventions"] == "CF-1.13" and data.u.attrs["standard_name"] == "eastward_wind"
        assert {n: data[n].attrs["units"] for n in ("h", "u", "v", "coriolis")} == {
            "h": "m", "u": "m s-1", "v": "m s-1", "coriolis": "s-1",
        }  # fmt: skip
