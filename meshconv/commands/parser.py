"""Parser of commands, and the types of their options."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import NoReturn

from meshconv.errors import InputError


class Parser(ArgumentParser):
    """Parser of a command's options, whose objections are one line as all others."""

    def __init__(self, prog: str, description: str):
        super().__init__(prog=prog, description=description)
        self.add_argument("--debug", action="store_true", help="show a traceback for bad input")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog.removeprefix('meshconv ')}: {message}; {self.prog} --help lists the options")


def truth(word: str) -> bool:
    """An option's value as configurations write it; argparse says what is wrong with another."""
    if word.lower() not in ("true", "false"):
        raise ValueError(word)
    return word.lower() == "true"


def folder(word: str) -> bool | str:
    """A folder, or whether there is one."""
    return word.lower() == "true" if word.lower() in ("true", "false") else word
