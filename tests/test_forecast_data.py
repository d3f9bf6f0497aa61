"""Maps with target fields: samples along time, gaps, frames, statistics; and what is wrong with data."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from planet import TARGETS, series, write_planet

from meshconv import InputError
from meshconv.datasets import SphereMaps
from meshconv.datasets.maps.frames import Frames
from meshconv.datasets.maps.inputs import MapInputs


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_planet(tmp_path_factory.mktemp("planet"))


def raw(files: list[Path]) -> xr.Dataset:
    options = {"data_vars": "minimal", "compat": "override", "coords": "minimal"}
    with xr.open_mfdataset(files, combine="nested", concat_dim="time", **options) as data:
        return data.load()


def test_samples_do_not_cross_gaps(planet: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data = series(planet, splits={"train": ["2000-01-01", "2000-01-09"], "test": ["2000-01-11", "2000-01-15"]})
    # Two runs of eight steps each, with a day between them: six windows of two steps ahead in each.
    batches = list(data.train_dataloader())
    assert sum(len(b.x) for b in batches) == 12
    assert any("12 samples; 4 more would cross one of 1 gaps of time" in message for message in caplog.messages)
    assert [len(b.x) for b in data.test_dataloader()] == [3]  # these do not overlap


def test_samples_are_maps_of_the_file(planet: list[Path]) -> None:
    data = series(planet, targets=TARGETS | {"history": 2, "steps": 3}, splits={"train": ["2000-01-01", "2000-01-04"]})
    values = raw(planet)
    batch = next(iter(data.train_dataloader()))
    assert batch.x.shape == (4, 192, 8) and batch.target.shape == (4, 3, 192, 3) and batch.ahead.shape == (4, 2, 192, 4)
    assert data.in_type == "4x0 + 2x1" and data.field_names == ["h", "u+v"] and data.out_type == "1x0 + 1x1"
    frames = Frames.from_spec(data.spec)
    latest = frames.split(batch.x)
    for sample, name in enumerate(batch.names):
        k = values.indexes["time"].get_loc(name.removeprefix("time "))
        for back, frame in ((0, latest[sample, 1]), (1, latest[sample, 0]), (-1, batch.ahead[sample, 0])):
            state = frames.state(frame)
            now = values.isel(time=k - back)
            for component, truth in enumerate((now.h, -now.v, now.u)):
                assert np.abs(state[:, component].numpy() - truth.values).max() < 1e-5 * np.abs(values.h).max()
        for step in range(3):
            later = values.isel(time=k + 1 + step)
            assert torch.equal(batch.target[sample, step, :, 0], torch.from_numpy(later.h.values))
            assert torch.equal(batch.target[sample, step, :, 2], torch.from_numpy(later.u.values))


def test_statistics_have_no_direction(planet: list[Path]) -> None:
    data = series(planet, splits={"train": ["2000-01-01", "2000-01-09"]})
    values = raw(planet[:2])
    mean, size = data.target_statistics
    wind = np.hypot(values.u, values.v).values[[*range(1, 7), *range(9, 15)]]  # the first targets of all samples
    assert mean[1] == 0 and data.targets is not None
    assert data.targets.statistics[1]["reach"] == pytest.approx(wind.max(), rel=1e-4)
    assert float(size[1]) == pytest.approx(np.sqrt((wind**2).mean()), rel=1e-4)
    # Changes over a step, within the runs.
    steps = [values.isel(time=slice(a, a + 7)).diff("time") for a in (0, 8)]
    change = np.sqrt(np.mean([float((s.u**2 + s.v**2).mean()) for s in steps]))
    assert float(data.change_sizes[1]) == pytest.approx(change, rel=1e-4)
    assert data.climatology.shape == (192, 3)
    assert float(data.climatology[:, 0].mean()) == pytest.approx(float(values.h.mean()), rel=1e-3)


def test_frames_are_side_by_side_and_take_a_state() -> None:
    inputs = MapInputs(["f", "h"], [["u", "v"]], 4, [{"mean": 0, "std": 1}, {"mean": 10, "std": 2},
                                                     {"mean": 0, "std": 5}])  # fmt: skip
    frames = Frames(inputs, 3, [1, 2, 3])
    x = torch.randn(2, 3, 7, 4)
    joined = frames.join(x)
    assert joined.shape == (2, 7, 12) and torch.equal(frames.split(joined), x)
    angle = torch.randn(7)
    turned = torch.stack([inputs.in_type.rotate(x[:, k], angle) for k in range(3)], 1)
    assert torch.allclose(frames.join(turned), frames.in_type.rotate(joined, angle), atol=1e-6)
    state = torch.tensor([[16.0, 5.0, -10.0]]).expand(7, 3)
    frame = frames.with_state(x[0, 0], state)
    assert torch.allclose(frame[:, 1:], torch.tensor([3.0, 1.0, -2.0])) and torch.equal(frame[:, 0], x[0, 0, :, 0])
    assert torch.allclose(frames.state(frame), state)


def test_targets_of_the_same_time_on_a_finer_grid(tmp_path: Path) -> None:
    coarse = write_planet(tmp_path / "coarse", 1)
    fine = write_planet(tmp_path / "fine", 1, nside=8)
    data = series(coarse, labels=[str(f) for f in fine], nside=8, targets={"scalars": ["h"], "vectors": [["u", "v"]]})
    batch = next(iter(data.train_dataloader()))
    assert batch.x.shape[1:] == (768, 4) and batch.target.shape[1:] == (768, 3)
    state = raw(fine).h.sel(time=batch.names[0].removeprefix("time "))
    assert torch.equal(batch.target[0, :, 0], torch.from_numpy(state.values))


def changed(planet: list[Path], path: Path, change) -> Path:
    data = change(raw(planet[:1]))
    data.to_netcdf(path, engine="netcdf4")
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": TARGETS | {"lead": "8h"}}, "lead 8h is not a positive multiple of the step, 0 days 12:00:00"),
        ({"targets": TARGETS | {"lead": "soon"}}, "lead soon is not a positive multiple"),
        ({"targets": TARGETS | {"scalars": ["z"]}}, "no variable z; the file has"),
        ({"targets": {}}, "targets: no variables are given"),
        ({"targets": None}, "give a label, the variable with the classes, or targets"),
        ({"targets": TARGETS, "label": "h"}, "give a label, the variable with the classes, or targets"),
        ({"targets": TARGETS | {"steps": 0}}, "targets: steps 0 is not a positive whole number"),
        ({"targets": TARGETS | {"stesp": 2}}, "write {scalars: .h., vectors"),
        ({"targets": {"scalars": ["h"], "steps": 2}}, "steps and history need the time between them"),
        ({"targets": TARGETS | {"steps": 9}}, "train: no 10 steps of time without a gap"),
    ],
)
def test_what_is_wrong_with_targets_is_one_line(planet: list[Path], options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        series(planet, **options)
    assert "\n" not in str(error.value)


def test_days_of_other_calendars_are_days(planet: list[Path], tmp_path: Path) -> None:
    path = changed(planet, tmp_path / "noleap.nc", lambda d: d.convert_calendar("noleap"))
    data = series(str(path))
    assert data.targets is not None and data.targets.seconds == 12 * 3600


def test_a_time_that_is_there_twice_is_an_error(planet: list[Path], tmp_path: Path) -> None:
    path = changed(planet, tmp_path / "twice.nc", lambda d: d.isel(time=[0, 1, 1, 2, 3, 4]))
    with pytest.raises(InputError, match=r"time 2000-01-01T12:00:00.* is there twice"):
        series(str(path))


def test_units_of_inputs_and_targets_differ(planet: list[Path], tmp_path: Path) -> None:
    path = changed(planet, tmp_path / "km.nc", lambda d: d.assign(h=(d.h / 1e3).assign_attrs(units="km")))
    with pytest.raises(InputError, match=r"target h is in 'km', in the inputs .* in 'm'; convert one") as error:
        series(planet[:1], labels=str(path), targets={"scalars": ["h"]})
    assert "\n" not in str(error.value)


def test_a_label_still_makes_classes(planet: list[Path], tmp_path: Path) -> None:
    path = changed(planet, tmp_path / "l.nc", lambda d: d.assign(high=(d.h > d.h.mean()).astype("int16")))
    data = SphereMaps(str(path), "high", scalars=["h"], num_levels=2, cache=False)
    assert data.class_names == ["0", "1"] and not hasattr(data, "field_names") and "targets" not in data.spec
