"""Optional dependencies: extras, their packages, and the error where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from meshconv.errors import InputError

# Modules by the extra of setup.cfg that installs them; tests/test_dependencies.py compares both with what is imported.
MODULES = {
    "train": ("lightning", "torchmetrics", "jsonargparse", "matplotlib"),
    "climate": ("xarray", "netCDF4", "dask", "pyproj", "cf_units", "zarr", "pandas"),
    "formats": ("assimp_py", "meshio", "nibabel", "collada", "lz4", "laspy", "h5py"),
    "grib": ("cfgrib",),
    "planet": ("ducc0",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "serve": ("starlette", "uvicorn"),
    "viz": ("matplotlib",),
    "pyg": ("torch_geometric",),
    "pytorch3d": ("pytorch3d",),
    "homogeneous": ("ducc0",),
    "cluster": ("distributed",),
}


class MissingExtraError(InputError, ImportError):
    """A part of meshconv that is used without the packages it needs."""


def require(what: str, *extras: str, only: str | None = None) -> None:
    """Raise unless the packages of these extras are installed; nothing is imported.

    Parameters
    ----------
    what
        Module, function or command that needs them.
    extras
        Keys of ``MODULES``.
    only
        The one module of these that is needed; None: all.

    Raises
    ------
    MissingExtraError
        An ``ImportError`` and an ``InputError``, with what is missing and what to install.

    Examples
    --------
    >>> require(__name__, "viz")
    """
    missing = {n: [m for m in MODULES[n] if only in (None, m) and not is_installed(m)] for n in extras}
    names = sorted({m for modules in missing.values() for m in modules})
    if names:
        wanted = ",".join(name for name, modules in missing.items() if modules)
        verb = "is" if len(names) == 1 else "are"
        raise MissingExtraError(
            f"{what} needs {', '.join(names)}, which {verb} not installed: pip install 'meshconv[{wanted}]'"
        )


def is_installed(module: str) -> bool:
    """Whether a module can be imported; it is not."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a finder that refuses it, a module without a specification
        return False
