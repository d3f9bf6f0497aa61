"""File signatures of other formats named ``.nc`` by mistake, and remedies."""

from __future__ import annotations

from pathlib import Path

from meshconv.errors import InputError
from meshconv.io.unpack import PACKED, UNPACK

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SAVE = "save it as NetCDF"
# First bytes (at 0), what begins so, and what helps.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    *PACKED,
    (b"GRIB", "GRIB", "let its name end in .grib, or convert it: cdo -f nc4 copy IN.grib OUT.nc"),
    (b"BUFR", "BUFR", "convert it with ecCodes' bufr_to_... tools; a map is needed, not reports"),
    (b"SIMPLE  =", "FITS", "a HEALPix map has to be called .fits"),
    (b"\x0e\x03\x13\x01", "HDF4", f"convert it with h4tonccf_nc4, or read it with pyhdf and {_SAVE}"),
    (b"\xcd\xf3\x00\x01", "NASA's CDF", f"read it with cdflib and {_SAVE} with xarray"),
    (b"\xcd\xf2\x60\x02", "NASA's CDF", f"read it with cdflib and {_SAVE} with xarray"),
    (b"II*\x00", "TIFF", "convert it with rioxarray.open_rasterio(...).to_netcdf"),
    (b"MM\x00*", "TIFF", "convert it with rioxarray.open_rasterio(...).to_netcdf"),
    (b"II+\x00", "TIFF", "convert it with rioxarray.open_rasterio(...).to_netcdf"),
    (b"\x89PNG", "a PNG picture", "give the data it was drawn from"),
    (b"\xff\xd8\xff", "a JPEG picture", "give the data it was drawn from"),
    (b"%PDF", "a PDF document", "give the data"),
    (b"\x93NUMPY", "a NumPy array", f"give it coordinates with xarray and {_SAVE}"),
    (b"PAR1", "Parquet", f"read it with pandas and {_SAVE} with xarray"),
    (b"MATLAB 5.0", "a MATLAB file", f"read it with scipy.io.loadmat and {_SAVE} with xarray"),
    (b"netcdf ", "CDL, the text of a NetCDF file", "make the file with ncgen -o OUT.nc"),
    (b"Dataset {", "an answer of OPeNDAP", f"open its address with xarray and {_SAVE}"),
)


def check_signature(path: Path) -> None:
    """Raise unless a file begins as NetCDF does.

    Raises
    ------
    InputError
        Another format that is known, with the way out.
    ValueError
        Nothing that is known.
    """
    with path.open("rb") as stream:
        start = stream.read(2048)
    if start[:4] in (b"CDF\x01", b"CDF\x02", b"CDF\x05") or _HDF5 in (start[at : at + 8] for at in (0, 512, 1024)):
        return
    if b"GRIB" in start[:64]:
        start = b"GRIB"  # behind a heading of the WMO
    kind = next(((name, help_) for magic, name, help_ in _KINDS if start.startswith(magic)), None) or _of_text(start)
    if kind is not None:
        raise InputError(f"{path}: this is {kind[0]}, not NetCDF or Zarr; {kind[1]}")
    raise ValueError("it begins neither as HDF5 nor as classic NetCDF" if start else "it is empty")


def _of_text(start: bytes) -> tuple[str, str] | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        return "a web page or XML, perhaps of a failed download", "get the file again, logged in if that is asked"
    if text[:1] in (b"{", b"["):
        references = b'"refs"' in text or b".zgroup" in text or b"zarr" in text
        remedy = f"open it with xarray.open_dataset(..., engine='kerchunk') and {_SAVE} or Zarr"
        if references:
            return "JSON with references of kerchunk", remedy
        return "JSON", f"give NetCDF or Zarr; references of kerchunk: {remedy}"
    if start[257:262] == b"ustar":
        return "a TAR archive", UNPACK
    if b"/annex/objects/" in start[:300]:
        return "a pointer of git-annex, not the file", "fetch it with git annex get"
    return None
