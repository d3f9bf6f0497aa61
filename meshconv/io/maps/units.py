"""Units of variables: equivalence and conversion."""

from __future__ import annotations

import functools
import re

from cf_units import Unit

_NAMES = {
    "kelvin": "k", "deg_k": "k", "degk": "k",
    "degc": "c", "deg_c": "c", "celsius": "c", "degrees_celsius": "c", "degree_celsius": "c", "degreesc": "c",
    "°c": "c", "degrees_c": "c",
    "pascal": "pa", "pascals": "pa", "millibar": "hpa", "millibars": "hpa", "mbar": "hpa", "mb": "hpa",
    "meter": "m", "meters": "m", "metre": "m", "metres": "m", "gpm": "m", "second": "s", "seconds": "s", "sec": "s",
    "percent": "%", "unitless": "1", "dimensionless": "1", "none": "1", "-": "1", "": "1",
}  # fmt: skip


# What files of weather and climate write that UDUNITS does not have, or has as something else (C, the coulomb).
_AS_UDUNITS = (
    (re.compile(r"(?i)^\s*(?:deg(?:rees?)?[ _.]*c(?:els\w*)?|°\s*c|c|cels\w+)\s*$"), "degC"),
    (re.compile(r"(?i)^\s*(?:deg(?:rees?)?[ _.]*k(?:elvin)?|kelvins?)\s*$"), "K"),
    (re.compile(r"(?i)^\s*(?:deg(?:rees?)?[ _.]*f(?:ahrenheit)?|°\s*f)\s*$"), "degF"),
    (re.compile(r"\bgpm\b"), "m"),
    (re.compile(r"(?i)^\s*(?:fraction|proportion|unitless|dimensionless|none|-|~|\(?0 *- *1\)?|)\s*$"), "1"),
)


def same_unit(one: str, other: str) -> bool:
    """Whether two texts are spellings of the same unit.

    Order and notation of factors do not matter, nor do common names; ``False`` may be an unusual spelling.

    Examples
    --------
    >>> same_unit("m s-1", "m/s"), same_unit("kg m**-2", "kg/m^2"), same_unit("Celsius", "degC"), same_unit("K", "degC")
    (True, True, True, False)
    """
    return _factors(one) == _factors(other) or conversion(one, other) == (1.0, 0.0)


@functools.lru_cache(maxsize=256)
def conversion(one: str, other: str) -> tuple[float, float] | None:
    """Factor and offset that take values in one unit to another, by UDUNITS; None where there is no such conversion.

    Amounts of water are the same by mass and by depth: ``kg m-2 s-1`` and ``mm s-1``.

    Examples
    --------
    >>> conversion("hPa", "Pa"), conversion("degrees Celsius", "K"), conversion("m", "K")
    ((100.0, 0.0), (1.0, 273.15), None)
    """
    unit, wanted = (_udunits(text) for text in (one, other))
    if unit is None or wanted is None:
        return None
    # A kilogram of water on a square metre is a millimetre of rain.
    water = Unit("1000 kg m-3")
    unit = next((u for u in (unit, unit / water, unit * water) if u.is_convertible(wanted)), None)
    if unit is None:
        return None
    offset, at_one = (float(unit.convert(value, wanted)) for value in (0.0, 1.0))
    return round(at_one - offset, 12) if abs(at_one - offset) > 1e-3 else at_one - offset, round(offset, 9)


def _udunits(text: str) -> Unit | None:
    for pattern, name in _AS_UDUNITS:
        text = pattern.sub(name, text)
    try:
        unit = Unit(text)
    except ValueError:
        return None
    return None if unit.is_unknown() or unit.is_no_unit() or unit.is_time_reference() else unit


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
