"""Units of variables, as texts that mean the same or not."""

from __future__ import annotations

import re

_NAMES = {
    "kelvin": "k", "deg_k": "k", "degk": "k",
    "degc": "c", "deg_c": "c", "celsius": "c", "degrees_celsius": "c", "degree_celsius": "c", "degreesc": "c",
    "°c": "c", "degrees_c": "c",
    "pascal": "pa", "pascals": "pa", "millibar": "hpa", "millibars": "hpa", "mbar": "hpa", "mb": "hpa",
    "meter": "m", "meters": "m", "metre": "m", "metres": "m", "gpm": "m", "second": "s", "seconds": "s", "sec": "s",
    "percent": "%", "unitless": "1", "dimensionless": "1", "none": "1", "-": "1", "": "1",
}  # fmt: skip


def same_unit(one: str, other: str) -> bool:
    """Whether two texts are spellings of the same unit, as far as that shows without a table of units.

    Order and notation of factors do not matter, nor do common names; ``False`` may be an unusual spelling.

    Example
    -------
    >>> same_unit("m s-1", "m/s"), same_unit("kg m**-2", "kg/m^2"), same_unit("K", "degC")
    (True, True, False)
    """
    return _factors(one) == _factors(other)


def _factors(text: str) -> frozenset[tuple[str, int]]:
    powers: dict[str, int] = {}
    sign = 1
    # A slash divides by the factor that follows, as in "m/s" and "kg/m2/s".
    for token in re.findall(r"/|[^\s/*.^()]+(?:(?:\*\*|\^)[-+]?\d+)?", text.strip().lower()):
        if token == "/":
            sign = -1
            continue
        whole = _NAMES.get(token)
        found = None if whole else re.fullmatch(r"(\D*?[^\d\-+*^])(?:\*\*|\^)?([-+]?\d+)", token)
        name, power = (found[1], int(found[2])) if found else (token, 1)
        name = _NAMES.get(name, name)
        if name != "1":
            powers[name] = powers.get(name, 0) + sign * power
        sign = 1
    return frozenset((name, power) for name, power in powers.items() if power)
