# %% [markdown]
# # Forecast a planet
#
# A forecast is a network that is applied to its own output. The planet here is one of shallow water: a layer of fluid
# on a turning sphere, with height and wind. It is solved by spherical harmonics, to train on.

# %%
import numpy as np
import xarray as xr

import meshconv
from meshconv.datasets import ShallowWaterRuns

files = ShallowWaterRuns(days=6, nside=8, truncation=21).write("planet", runs=5)
with xr.open_dataset(files[-1], engine="netcdf4") as run:
    print(dict(run.sizes), list(run.data_vars))

# %% [markdown]
# ## Train
#
# The wind is a field of tangent vectors on the way in, inside the network and on the way out; no component is ever
# treated alone. The network learns the change over six hours. `steps: 1` trains on single steps, which is quick;
# `--config forecast` has rollouts of two.

# %%
predict = meshconv.fit(
    "forecast", inputs="planet/*.nc", name="planet", num_levels=2,
    targets={"scalars": ["h"], "vectors": [["u", "v"]], "lead": "6h", "steps": 1, "test_steps": 4},
    **{"model.init_args.options": {"channels": [12, 16], "max_order": 1, "context": 0}, "trainer.max_epochs": 8,
       "model.init_args.rollout": 1, "trainer.enable_progress_bar": False},
)  # fmt: skip

# %% [markdown]
# ## Forecast
#
# The last run was not trained on. A forecast from its first map, cut out as a file of its own, is compared with what
# came, and with persistence: the forecast that nothing changes.

# %%
with xr.open_dataset(files[-1], engine="netcdf4") as run:
    run.isel(time=slice(0, 1)).to_netcdf("start.nc")
    truth = run["h"].isel(time=slice(0, 5)).values
(written,) = predict.save("start.nc", "ahead", horizon=4)
with xr.open_dataset(written, engine="netcdf4") as forecast:
    ahead = forecast["h"].values


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


for step in range(4):
    ours, persistence = (rmse(guess, truth[step + 1]) for guess in (ahead[step], truth[0]))
    print(f"{6 * (step + 1):3} h: error of the height {ours:.1f} m, of persistence {persistence:.1f} m")

# %% [markdown]
# `meshconv test --config runs/planet/config.yaml --ckpt_path last` measures all fields and leads, with spectra, and
# draws an animated map.
