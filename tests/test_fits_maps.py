"""HEALPix maps of FITS: both orders, parts of the sphere, missing values; what is no such map."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from meshconv import HealpixSphere, InputError
from meshconv.io import open_fields

NSIDE = 4
COUNT = 12 * NSIDE**2


@pytest.mark.parametrize("nest", [True, False])
def test_columns_are_variables_on_the_nested_grid(nest: bool, tmp_path: Path) -> None:
    path = tmp_path / "cmb.fits"
    x, _, z = healpy.pix2vec(NSIDE, np.arange(COUNT), nest=nest)
    x = np.where(z > 0.9, healpy.UNSEEN, x)
    healpy.write_map(path, [x, z], nest=nest, column_names=["TEMPERATURE", "Q STOKES"], column_units=["K", "uK"],
                     dtype=[np.float32, np.float64], coord="G")  # fmt: skip
    fields = open_fields(path)
    assert isinstance(fields.grid, HealpixSphere) and fields.grid.nside == NSIDE
    assert fields.variables == ["TEMPERATURE", "Q_STOKES"] and fields.unit("Q_STOKES") == "uK"
    wanted = fields.grid.xyz
    assert fields.values("Q_STOKES") == pytest.approx(wanted[:, 2], abs=1e-12)
    found = fields.values("TEMPERATURE")
    assert np.array_equal(np.isnan(found), wanted[:, 2] > 0.9)
    assert found[wanted[:, 2] <= 0.9] == pytest.approx(wanted[wanted[:, 2] <= 0.9, 0], abs=1e-6)
    assert fields.dataset.attrs["COORDSYS"] == "G"


@pytest.mark.parametrize("nest", [True, False])
def test_a_part_of_the_sphere(nest: bool, tmp_path: Path) -> None:
    path = tmp_path / "part.fits"
    _, _, z = healpy.pix2vec(64, np.arange(12 * 64**2), nest=nest)
    pixels = np.flatnonzero(z > 0.5)
    columns = [fits.Column("PIXEL", "J", array=pixels), fits.Column("T", "D", array=z[pixels])]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "NESTED" if nest else "RING", "NSIDE": 64,
                         "INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"})  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    fields = open_fields(path)
    (name,) = fields.variables
    assert fields.grid.num_points == (z > 0.5).sum()
    assert fields.values(name) == pytest.approx(fields.grid.xyz[:, 2], abs=1e-12)


def test_what_is_no_map_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cmb.fits"
    healpy.write_map(path, np.arange(COUNT, dtype=np.float64))
    whole = path.read_bytes()
    for content, says in (
        (b"not at all", "does not begin as FITS does"),
        (whole[:4000], "has no end"),
        (whole[: len(whole) - 2880], "cannot be read as a HEALPix map"),
        (whole.replace(b"NSIDE   =                    4", b"NSIDE   =             67108864"), "would become"),
        (whole.replace(b"NSIDE   ", b"NOTHING ").replace(b"PIXTYPE ", b"NOTHING "), "it lacks NSIDE and PIXTYPE"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=says) as error:
            open_fields(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    packed = tmp_path / "cmb.fits.gz"
    packed.write_bytes(whole)
    with pytest.raises(InputError, match="gunzip"):
        open_fields(packed)


def table(path: Path, columns: list[fits.Column], **header: object) -> None:
    found = fits.BinTableHDU.from_columns(columns)
    found.header.update({"PIXTYPE": "HEALPIX", "NSIDE": NSIDE, "ORDERING": "RING", **header})
    if header.get("ORDERING") is None and "ORDERING" in header:
        del found.header["ORDERING"]
    fits.HDUList([fits.PrimaryHDU(), found]).writeto(path, overwrite=True)


def test_texts_are_left_out_and_scaled_numbers_are_what_they_mean(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    z = healpy.pix2vec(NSIDE, np.arange(COUNT))[2]
    columns = [fits.Column("S", "3A", array=["abc"] * COUNT), fits.Column("T", "I", array=np.rint(1e4 * z).astype(int)),
               fits.Column("FLAG", "L", array=z > 0), fits.Column("N", "J", array=np.arange(COUNT))]  # fmt: skip
    table(path, columns, TSCAL2=1e-4, TZERO2=0.5, TUNIT2="K")
    fields = open_fields(path)
    assert fields.variables == ["T", "N"] and fields.unit("T") == "K"
    assert fields.values("T") == pytest.approx(fields.grid.xyz[:, 2] + 0.5, abs=1e-4)


def test_pixels_that_are_not_there_or_twice_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    part = {"INDXSCHM": "EXPLICIT"}
    values = fits.Column("T", "D", array=[1.0, 2.0, 3.0])
    for columns, header, says in (
        ([fits.Column("PIXEL", "J", array=[0, -1, 5]), values], part, f"pixel -1 is none of {COUNT}"),
        ([fits.Column("PIXEL", "J", array=[0, 1, COUNT]), values], part, f"pixel {COUNT} is none of"),
        ([fits.Column("PIXEL", "J", array=[0, 1, 1]), values], part, "it has a pixel twice"),
        ([fits.Column("T", "D", array=np.zeros(COUNT))], {"ORDERING": None}, "its ORDERING is missing"),
        ([fits.Column("T", "D", array=np.zeros(COUNT))], {"ORDERING": "GRAY"}, "its ORDERING is GRAY, not RING"),
        ([fits.Column("S", "3A", array=["abc"] * COUNT)], {}, "0 maps of nside 4"),
        ([fits.Column(n, "D", array=np.zeros(COUNT)) for n in ("T S", "T_S")], {}, "two of its columns are called T_S"),
    ):
        table(path, columns, **header)
        with pytest.raises(InputError, match=says) as error:
            open_fields(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
