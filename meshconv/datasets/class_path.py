"""Class paths in checkpoints, and the classes that may be imported by them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, TypeVar, get_type_hints

from meshconv.errors import InputError

T = TypeVar("T")

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
# Classes of torch.nn itself are loaded already.
_TORCH = re.compile(r"torch\.nn\.\w+")


def class_path(cls: type) -> str:
    """Shortest importable path of a class: that of the outermost loaded package that exports it.

    Examples
    --------
    >>> from meshconv.nn import GaugeConv
    >>> class_path(GaugeConv)
    'meshconv.nn.GaugeConv'
    """
    parts = cls.__module__.split(".")
    for k in range(1, len(parts)):
        package = ".".join(parts[:k])
        if vars(sys.modules.get(package, object)).get(cls.__name__) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def import_class(path: str, base: type[T]) -> type[T]:
    """The class of a path that the user wrote, which may be any.

    Raises
    ------
    InputError
        It cannot be imported, or is no subclass of ``base``.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise InputError(f"{path!r} is no class path; write package.module.Class")
    module, name = path.rsplit(".", 1)
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"class {path} cannot be imported ({error}); the package has to be installed or on PYTHONPATH"
        ) from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise InputError(f"{path} is no subclass of {base.__name__}; give one")
    return found


def constructor_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Arguments of a class's constructor by name, with those that it hands its further ones on to.

    Annotations are types, or as they are written where these cannot be found.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        init = vars(base)["__init__"]
        parameters = [p for p in inspect.signature(init).parameters.values() if p.name != "self"]
        try:
            hints = get_type_hints(init)
        except Exception:  # names that only a type checker imports
            hints = {}
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, p.replace(annotation=hints.get(p.name, p.annotation)))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def check_trust(path: Any, trust: Sequence[str], source: Any) -> None:
    """Refuse a class path of a checkpoint unless it is meshconv's own or in a package of ``trust``.

    Raises
    ------
    InputError
        It names the package, and the option that gives consent.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise InputError(f"{source}: {str(path)[:80]!r} is no class path; use a checkpoint that meshconv fit wrote")
    allowed = any(path.startswith(f"{package}.") for package in ("meshconv", *trust))
    if not allowed and not _TORCH.fullmatch(path):
        package = path.split(".")[0]
        raise InputError(
            f"{source}: the checkpoint needs {path}, code of package {package}; if you trust it, give --trust "
            f'{package}, in Python trust=("{package}",)'
        )
