"""Files that come with the package, found by their names from any folder: configurations and small data."""

from __future__ import annotations

import os
from pathlib import Path

from meshconv.errors import InputError

_CONFIGS = Path(__file__).parent / "configs"
# In an installation inside the package, in a clone beside it.
_PLACES = [folder / "data" for folder in Path(__file__).parents[:2]]
_DATA = next((place for place in _PLACES if (place / "README.md").is_file()), _PLACES[0])


def find_config(name: str | os.PathLike[str]) -> Path:
    """A configuration by its path or, where no such file exists, by the name of one that ships.

    Raises
    ------
    InputError
        There is neither; the line lists those that ship.

    Examples
    --------
    >>> find_config("classify").name
    'classify.yaml'
    """
    for path in (Path(name), _CONFIGS / f"{name}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in _CONFIGS.glob("*.yaml")))
    raise InputError(f"{name}: no such configuration; give a path, or the name of one that ships: {known}")


def find_data(path: str | os.PathLike[str]) -> Path:
    """A path as it is or, where nothing exists at it, the file of that name that ships.

    Examples
    --------
    >>> find_data("koeppen_hp64.nc").is_file()
    True
    """
    given = Path(path).expanduser()
    shipped = _DATA / given.name
    return shipped if given == Path(given.name) and not given.exists() and shipped.is_file() else given
