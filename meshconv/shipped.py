"""Files that come with the package, found by their names from any folder: configurations, small data, and weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

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


def find_model(path: str | os.PathLike[str]) -> Path:
    """A path as it is or, where no file is at it, the checkpoint of that name that ships.

    Examples
    --------
    >>> find_model("koeppen").name
    'koeppen.ckpt'
    """
    given = Path(path)
    shipped = _DATA / "models" / f"{given.name}.ckpt"
    return shipped if given == Path(given.name) and not given.is_file() and shipped.is_file() else given


def shipped_models() -> dict[str, dict[str, Any]]:
    """What is known of the checkpoints that ship, by their names, in plain values.

    ``data``, ``licence``, ``scores``, ``bytes``, and how they were made: ``command``, ``config``, ``options``,
    ``compress`` where that was done, ``versions``, and ``test``, all that the test wrote.

    Examples
    --------
    >>> shipped_models()["koeppen"]["config"]
    'climate_koeppen'
    """
    found = {}
    for path in sorted((_DATA / "models").glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = {**about, "bytes": path.with_suffix(".ckpt").stat().st_size}
    return found
