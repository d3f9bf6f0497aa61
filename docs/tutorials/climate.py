# %% [markdown]
# # Segment a climate
#
# Maps on the sphere have a class at each point: a Koeppen zone, a cyclone, a kind of surface. The data set
# `koeppen_hp64.nc` comes with the package. It has monthly temperature and precipitation, elevation, and the
# Koeppen-Geiger zones of the land.
#
# ## A network that comes with the package

# %%
import numpy as np
import xarray as xr

import meshconv
from meshconv.shipped import find_data

task = meshconv.load_pretrained("koeppen")
print(f"{type(task.network).__name__} with {sum(p.numel() for p in task.parameters()):,} weights")
print("zones:", *task.class_names)

# %% [markdown]
# The predictor reads a NetCDF file on any grid and gives zones and probabilities on the same grid. `meshconv predict
# koeppen FILE` writes them to `predictions.nc`, with pictures.

# %%
predict = meshconv.Predictor("koeppen")
found = predict("koeppen_hp64.nc")
print(found)

# %% [markdown]
# ## Score
#
# A score on points that the network was trained on says little. The file has five folds of blocks of 15 degrees; fold
# 3 was held out.

# %%
with xr.open_dataset(find_data("koeppen_hp64.nc"), engine="netcdf4") as data:
    truth, fold = data["koeppen_two_letter"].values, data["fold"].values
(name,) = [name for name, values in found.items() if "flag_meanings" in values.attrs]
zone = found[name].values.reshape(-1)
held_out = (truth >= 0) & (fold == 3)
print(f"accuracy on fold 3: {np.mean(zone[held_out] == truth[held_out]):.3f}")

# %% [markdown]
# ## Train one of your own
#
# The same data on a coarse grid, 3,072 pixels of 3.7 degrees, so that it takes seconds.

# %%
small = meshconv.fit(
    "climate_koeppen", nside=16, name="coarse",
    **{"trainer.max_epochs": 15, "model.init_args.learning_rate": 0.01, "trainer.enable_progress_bar": False},
)  # fmt: skip
coarse = small("koeppen_hp64.nc")[name].values.reshape(-1)
print(f"accuracy on fold 3 from the coarse grid: {np.mean(coarse[held_out] == truth[held_out]):.3f}")
