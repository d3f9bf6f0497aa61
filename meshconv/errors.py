"""InputError, the error of bad input, and its messages."""

from __future__ import annotations

import errno
import re
from pathlib import Path


class InputError(ValueError):
    """Bad input: one line that names the file, the value and the way out."""


class PlaceError(InputError, OSError):
    """A place that cannot be written to, or not any more."""

    # Full disks, missing rights, and places that are something else or nowhere.
    ERRNOS = frozenset(
        getattr(errno, name)
        for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "EEXIST",
                     "ENAMETOOLONG", "ENOENT")
        if hasattr(errno, name)
    )  # fmt: skip

    @classmethod
    def of(cls, error: OSError, path: Path | str | None = None) -> PlaceError:
        """From what the system says, of ``path`` or the file that it names."""
        found = cls(f"{path or error.filename or 'the output'}: {error.strerror}; see to space and permissions there")
        found.errno, found.strerror = error.errno, error.strerror
        return found

    def __str__(self) -> str:
        return str(self.args[0])


def first_line(error: BaseException) -> str:
    """First line of another library's error message, shortened; its type if empty."""
    if isinstance(error, KeyError):
        return f"{error} is missing or unknown"
    if isinstance(error, OverflowError):
        return "a number is too large"
    lines = [line.strip()[:160] for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Error(s) in loading state_dict"):
        del lines[0]
    return next(iter(lines), type(error).__name__)


def behind(error: BaseException | None) -> InputError | None:
    """The user's error behind an exception: the configuration parser wraps those of what it instantiates."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def parser_says(text: str) -> str:
    """What the parser objects to, in one line and without its own classes."""
    unknown = re.search(r"class_path '([^']+)':\s+Option '([^']+)' is not accepted", text)
    if unknown is not None:
        return f"{unknown[1]} has no option {unknown[2]}; its documentation lists them"
    missing = re.search(r"arguments are required: (.*)", text)
    if missing is not None:
        return f"missing: {missing[1]}"
    keys = ".".join(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', text)))
    lines = [line.strip().removeprefix("- ") for line in text.splitlines()]
    own = ("Parser key", "Does not validate", "Subtypes:", "Errors:", "Given value", "Problem with given", "tip:")
    said = [line for line in lines if line and not line.startswith(own)]
    said = [line for line in said if not re.fullmatch(r"Expected a .*NoneType.*", line)]
    value = re.search(r"Given value: (?!NestedArg|Namespace)(.*)", text)
    reason = re.sub(r"<class '([^']+)'>|typing\.(?=\w)", r"\1", ", ".join(dict.fromkeys(said)))
    reason = reason.replace("Expected a ", "expected ")
    given = f"; it is {value[1]}" if value else ""
    return f"{keys}{': ' if keys else ''}{reason[:300]}{given[:100]}"
