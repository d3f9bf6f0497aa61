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


# Letters of types with numbers that they hold exactly, the maps' order, and how many are in a row of the table.
TABLES: dict[str, dict[str, object]] = {
    **{f"{letter} {order} {row}": {"letter": letter, "order": order, "row": row}
       for letter in "EDJIK" for order in ("RING", "NESTED") for row in (1, 192 if letter in "JK" else 64)},
    **{f"part {letter} {order} {pixels} {row}": {"letter": letter, "order": order, "part": pixels, "row": row}
       for letter in "ED" for order in ("RING", "NESTED") for pixels in "JK" for row in (1, 12)},
    "nest": {"order": "NEST"}, "small letters": {"order": "ring"}, "bytes": {"letter": "B"},
    "no schema": {"header": {"INDXSCHM": None}}, "whole": {"header": {"OBJECT": "FULLSKY"}},
    "no type": {"header": {"PIXTYPE": None}}, "pixels": {"header": {"FIRSTPIX": 0, "LASTPIX": 191}},
    "object": {"part": "J", "header": {"OBJECT": "PARTIAL", "INDXSCHM": "EXPLICIT"}}, "no unit": {"unit": None},
    "galactic": {"header": {"COORDSYS": "G"}}, "marks": {"missing": healpy.UNSEEN}, "nan": {"missing": np.nan},
    "marks of 64 bits": {"missing": healpy.UNSEEN, "letter": "D"}, "infinite": {"missing": np.inf},
    "null": {"missing": -32768, "letter": "I", "header": {"TNULL1": -32768}},
    "null of 32 bits": {"missing": -1, "letter": "J", "header": {"TNULL1": -1}},
    "scaled null": {"missing": -32768, "letter": "I", "header": {"TNULL1": -32768, "TSCAL1": 0.5, "TZERO1": 3.0}},
    "other nside": {"nside": 3}, "nside 1": {"nside": 1, "order": "NESTED"},
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_programs_write_them(name: str, tmp_path: Path) -> None:
    of = TABLES[name]
    nside, letter, order = int(str(of.get("nside", NSIDE))), str(of.get("letter", "E")), str(of.get("order", "RING"))
    more = of.get("header", {})
    assert isinstance(more, dict)
    count, row, part = 12 * nside**2, int(str(of.get("row", 1))), of.get("part")
    pixels = np.arange(count) if part is None else np.arange(count)[::-1][: count // 4][np.arange(count // 4) ^ 1]
    ring = healpy.nest2ring(nside, pixels) if order[:4] == "NEST" else pixels
    values = ring.astype(np.float64) % 100
    stored, gap = values.copy(), "missing" in of
    if gap:
        stored[ring == 5] = float(str(of["missing"]))
    columns = [] if part is None else [
        fits.Column("PIXEL", f"{row}{part}", array=pixels.reshape(-1, row) if row > 1 else pixels)]
    stored = stored.astype({"E": "f4", "D": "f8", "J": "i4", "I": "i2", "K": "i8", "B": "u1"}[letter])
    columns.append(fits.Column("I_STOKES", f"{row}{letter}", array=stored.reshape(-1, row) if row > 1 else stored,
                               unit=None if "unit" in of else "K_CMB"))  # fmt: skip
    found = fits.BinTableHDU.from_columns(columns)
    found.header.update({"PIXTYPE": "HEALPIX", "NSIDE": nside, "ORDERING": order,
                         "INDXSCHM": "IMPLICIT" if part is None else "EXPLICIT"})  # fmt: skip
    found.header.update({key: value for key, value in more.items() if value is not None})
    for key in [key for key, value in more.items() if value is None]:
        del found.header[key]
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), found]).writeto(path)
    fields = open_fields(path)
    assert fields.variables == ["I_STOKES"] and fields.unit("I_STOKES") == (None if "unit" in of else "K_CMB")
    x, y, z = fields.grid.xyz.T
    place = healpy.vec2pix(nside, x, y, z)
    assert sorted(place.tolist()) == sorted(ring.tolist())
    scale, shift = float(more.get("TSCAL1", 1)), float(more.get("TZERO1", 0))
    wanted = scale * np.where(gap & (place == 5), np.nan, place % 100) + shift
    assert np.array_equal(fields.values("I_STOKES").ravel(), wanted, equal_nan=True)
