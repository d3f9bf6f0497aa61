"""The command ``meshconv``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from meshconv.errors import PlaceError, behind

# File in meshconv/commands, and what the usage says; imported when it is called.
_COMMANDS = {
    "demo": ("demo", "train on climate and on generated meshes, write a report (about six minutes)"),
    "fit": ("fit", "train:    meshconv fit --config classify --data.init_args.root FOLDER"),
    "test": ("fit", "evaluate: meshconv test --config runs/NAME/config.yaml --ckpt_path last"),
    "validate": ("fit", "the same on the validation split"),
    "prepare": ("prepare", "meshconv prepare FOLDER --config classify: fill the cache ahead of a training"),
    "calibrate": ("calibrate", "meshconv calibrate CKPT... --config runs/NAME/config.yaml: of one, or of an ensemble"),
    "compress": ("compress", "meshconv compress runs/NAME/last.ckpt --prune l0 --bits 8 --data runs/NAME/config.yaml"),
    "predict": ("predict", "meshconv predict runs/NAME/last.ckpt FILE...; of a calibrated one with --uncertainty"),
    "models": ("models", "networks that come with meshconv: their names stand for a checkpoint in every command"),
    "export": ("export", "meshconv export runs/NAME/last.ckpt --to torch aoti onnx: files for other programs"),
    "serve": ("serve", "meshconv serve runs/NAME/last.ckpt: predictions over HTTP, and a page to try them"),
    "generate": ("generate", "meshconv generate shallow_water OUT: weather of a planet to train forecasts on"),
    "check": ("check", "meshconv check FILE...: defects of meshes; --repair OUT repairs them"),
    "view": ("view", "meshconv view FILE: a mesh with its arrays, or maps on a globe, as a page that turns"),
    "cache": ("cache", "folder and size of the cache of prepared meshes; --clear empties it"),
    "info": ("info", "versions, devices, and the kernels of each operator"),
}
_LIST = "\n".join(f"  {name:9} {said}" for name, (_, said) in _COMMANDS.items())
_USAGE = f"""usage: meshconv COMMAND ...

Convolutional networks on triangle meshes and on the sphere.

commands:
{_LIST}

meshconv COMMAND --help lists all options; --debug shows tracebacks."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one line on bad input, 130 on Ctrl-C, 143 on SIGTERM.

    ``check`` has 1 for a mesh that needs repair. Where the reader of the output has gone, as ``head`` does, it is 141.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # that it builds a cache is no news
    logging.getLogger("healpy").setLevel(logging.WARNING)  # nor that it does not smooth
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    if args[0] not in _COMMANDS:
        print(f"meshconv: error: no command {args[0]!r}; there are {', '.join(_COMMANDS)}", file=sys.stderr)
        return 2
    try:
        with _terminable():
            status = import_module(f"meshconv.commands.{_COMMANDS[args[0]][0]}").run(args)
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 141
    except Exception as error:
        bad_input = behind(error) or _bad_place(error)
        if bad_input is None or "--debug" in args:
            raise
        print(f"meshconv: error: {bad_input}", file=sys.stderr)
        return 2
    except Terminated:
        print("meshconv: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("meshconv: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return status or 0


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is half written is removed."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Context in which SIGTERM raises :class:`Terminated`, unless the program has a handler of its own."""

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    plain = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if plain:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if plain:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _bad_place(error: BaseException | None) -> PlaceError | None:
    """A full disk or missing rights behind an exception."""
    while error is not None and not (isinstance(error, OSError) and error.errno in PlaceError.ERRNOS):
        error = error.__cause__ or error.__context__
    return None if error is None else PlaceError.of(error)


if __name__ == "__main__":
    sys.exit(main())
