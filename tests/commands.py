"""Commands of the documentation, as a user would copy them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_SHELL = ("", "sh", "bash")
_PROGRAMS = ("meshconv", "make", "python")


class Command(NamedTuple):
    """A command of a page, without its comment.

    Attributes
    ----------
    page : str
    words : tuple of str
        As a shell splits it, without environment variables before it and marks of what may be left out.
    whole : bool
        In a block of its own: it can be run as it stands. Others may only name a command.
    """

    page: str
    words: tuple[str, ...]
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def commands_of(page: Path) -> list[Command]:
    """Those in fenced blocks of the shell and in indented ones, and those between backquotes (no ``meshconv ...``)."""
    text, found = page.read_text(encoding="utf-8"), []
    lines, fence = [], None
    for line in text.splitlines():
        mark = re.match(r"\s*```(\S*)", line)
        if mark:
            fence = mark[1] if fence is None else None
        elif fence in _SHELL or (fence is None and line.startswith("    ")):
            lines.append(line.strip())
    blocks = "\n".join(lines).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    inline = re.findall(r"`((?:meshconv|make|python) (?!\.\.\.)[^`]+)`", re.sub(r"\s*\n\s*", " ", prose))
    for line, whole in [*((line, True) for line in blocks), *((line, False) for line in inline)]:
        if line.split(" ")[0] not in _PROGRAMS and not re.match(r"[A-Z_]+=\S* python", line):
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise AssertionError(f"{page.name}: {line!r} is no command of a shell ({error})") from error
        words = [word.strip("[]") if re.fullmatch(r"\[--\w+|\d[\d.]*\]", word) else word for word in words]
        while "=" in words[0]:
            del words[0]
        if words[0] == "python" and not re.search(r"\.py$|^-", words[1]):
            continue  # a line that a program printed
        found.append(Command(page.name, tuple(words), whole))
    return list(dict.fromkeys(found))


COMMANDS = [command for page in PAGES for command in commands_of(page)]
