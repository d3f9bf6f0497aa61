"""HEALPix maps from FITS, the format of cosmology."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.io.unpack import check_expansion

FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")
_BLOCK, _CARD = 2880, 80
_MOST_BLOCKS = 200


def is_fits(path: Path) -> bool:
    """Whether a file is one, by its name."""
    return path.name.lower().endswith(FITS_SUFFIXES)


def open_fits(path: Path) -> xr.Dataset:
    """HEALPix maps of a FITS file: a variable for each column of its first table.

    Parameters
    ----------
    path : Path
        As :func:`healpy.write_map` and others write it, of the whole sphere or of some pixels (``EXPLICIT``).

    Returns
    -------
    xarray.Dataset
        Along ``cell``, in the order of the file, which the attributes ``ORDERING`` and ``NSIDE`` tell; pixels that a
        partial map has as ``cell_ids``. NaN where the file has healpy's mark of missing values.

    Raises
    ------
    InputError
        No HEALPix map, damaged, or more pixels than the file can hold.
    """
    if path.suffix == ".gz":
        raise InputError(f"{path}: packed with gzip; unpack it with gunzip")
    import healpy  # GPL-2 and slow to import: only where it is used
    from astropy.io import fits

    level = logging.getLogger("healpy").level
    logging.getLogger("healpy").setLevel(logging.ERROR)
    try:
        header = _table_header(path)
        if str(header.get("PIXTYPE", "")).upper() != "HEALPIX" and "NSIDE" not in header:
            raise ValueError("its first table is no HEALPix map, it lacks NSIDE and PIXTYPE")
        explicit = str(header.get("INDXSCHM", "")).upper() == "EXPLICIT" or header.get("OBJECT") == "PARTIAL"
        if str(header.get("ORDERING", "")).upper() not in ("RING", "NEST", "NESTED"):
            raise ValueError(f"its ORDERING is {header.get('ORDERING', 'missing')}, not RING or NESTED")
        # Numbers from the first map on; texts and truth values are no maps.
        every = range(int(header["TFIELDS"]) - explicit)
        chosen = [k for k in every if _kind(header, k + 1 + explicit) in "BIJKED"]
        nside = int(header["NSIDE"])
        if nside < 1 or not chosen:
            raise ValueError(f"{len(chosen)} maps of nside {nside}")
        check_expansion(8 * len(chosen) * 12 * nside**2, path.stat().st_size)
        with warnings.catch_warnings(), fits.open(path, memmap=False) as content:
            warnings.simplefilter("error")  # of files that are cut short
            if explicit:
                _check_pixels(np.asarray(content[1].data.field(0)).ravel(), 12 * nside**2)
            maps = np.atleast_2d(healpy.read_map(content, field=tuple(chosen), nest=None, dtype=np.float64))
    except InputError:
        raise
    # The library fails in any way on a damaged file.
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a HEALPix map of FITS ({first_line(error)}); write it by "
                         "healpy.write_map") from error  # fmt: skip
    finally:
        logging.getLogger("healpy").setLevel(level)
    maps = np.where(np.isfinite(maps) & (np.abs(maps / healpy.UNSEEN - 1) > 1e-5), maps, np.nan)
    for row, k in zip(maps, chosen, strict=True):
        null = _null(header, k + 1 + explicit)
        if null is not None:
            row[row == null] = np.nan
    variables: dict[str, Any] = {}
    stored = np.flatnonzero(np.isfinite(maps).any(axis=0)) if explicit else None
    coordinates = {}
    if stored is not None:
        maps = maps[:, stored]
        coordinates["cell_ids"] = ("cell", stored)
    for k, values in zip(chosen, maps, strict=True):
        name = str(header.get(f"TTYPE{k + 1 + explicit}", f"map{k}")).strip() or f"map{k}"
        name = "_".join(name.split())
        if name in variables:
            raise InputError(f"{path}: two of its columns are called {name}; rename one")
        unit = str(header.get(f"TUNIT{k + 1 + explicit}", "")).strip()
        variables[name] = ("cell", values, {"units": unit} if unit else {})
    about = {key: header[key] for key in ("ORDERING", "NSIDE", "COORDSYS") if key in header}
    return xr.Dataset(variables, coordinates, about).chunk()


def _kind(header: dict[str, Any], column: int) -> str:
    """Letter of a column's type, behind the length of its rows."""
    return str(header.get(f"TFORM{column}", "")).strip().lstrip("0123456789")[:1] or "?"


def _null(header: dict[str, Any], column: int) -> float | None:
    """What whole numbers of a column are where there is no value, scaled as these are; None: all are values."""
    null = header.get(f"TNULL{column}")
    if null is None:
        return None
    scale, shift = (float(header.get(f"{key}{column}", default)) for key, default in (("TSCAL", 1), ("TZERO", 0)))
    return float(null) * scale + shift


def _check_pixels(pixels: NDArray, count: int) -> None:
    """The library counts a negative pixel from the end, and of two values of one pixel keeps the last."""
    wrong = pixels[(pixels < 0) | (pixels >= count)]
    if len(wrong):
        raise ValueError(f"pixel {wrong[0]} is none of {count}")
    if len(np.unique(pixels)) < len(pixels):
        raise ValueError("it has a pixel twice")


def _table_header(path: Path) -> dict[str, Any]:
    """Keywords of the first extension."""
    with path.open("rb") as stream:
        if stream.read(6) != b"SIMPLE":
            raise ValueError("it does not begin as FITS does")
        stream.seek(0)
        first = _cards(stream.read(_BLOCK * _MOST_BLOCKS))
        if int(first[0].get("NAXIS", 0)):
            raise ValueError("it is a picture, no table")
        stream.seek(first[1])
        found = _cards(stream.read(_BLOCK * _MOST_BLOCKS))[0]
    if found.get("XTENSION") != "BINTABLE":
        raise ValueError("its first extension is no table")
    return found


def _cards(content: bytes) -> tuple[dict[str, Any], int]:
    """Keywords, and the length of the header."""
    found: dict[str, Any] = {}
    for at in range(0, len(content) - _CARD + 1, _CARD):
        card = content[at : at + _CARD].decode("ascii", errors="replace")
        key = card[:8].strip()
        if key == "END":
            return found, -(-(at + _CARD) // _BLOCK) * _BLOCK
        if card[8:10] == "= ":
            text = card[10:].strip()
            if text.startswith("'"):
                found[key] = text[1:].split("'")[0].rstrip()
            else:
                word = text.split("/")[0].strip()
                found[key] = int(word) if word.lstrip("+-").isdigit() else word
    raise ValueError("its header has no end")
