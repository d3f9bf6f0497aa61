"""Every command of README and docs: its program, options and configurations exist, and its arguments are taken.

Commands of meshconv are read by its own parsers, in an empty folder: what then stops them is a file that is not there.
Options of scripts are compared with those that the scripts declare. ``test_the_readme_from_top_to_bottom`` runs the
commands for meshes, with one step of training each.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from commands import COMMANDS, ROOT, Command

from meshconv.cli import main
from meshconv.datasets import generate_shape
from meshconv.io import save_mesh
from meshconv.shipped import find_config

OF_LIGHTNING = ("fit", "test", "validate")
# In short; their options are read all the same.
SHORTER = {
    "shallow_water": ["--runs", "1", "--days", "1", "--truncation", "10", "--nside", "4"],
    "potential_flow": ["--train", "1", "--test", "1", "--level", "2"],
    "serve": ["--port", "-1"],  # else it would serve
}


def of(program: str, whole: bool | None = None) -> list[Command]:
    found = [c for c in COMMANDS if c.words[0] == program and whole in (None, c.whole)]
    return list({c.words: c for c in found}.values())


def test_there_are_commands():
    assert len(of("meshconv", whole=True)) > 40 and len(of("python")) > 50 and len(of("make")) > 3


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_make_has_the_target(command):
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M)
    assert set(command.words[1:]) <= {*targets, "help"}


@lru_cache(None)
def declared(script: Path) -> tuple[frozenset[str], bool]:
    """Options and choices that a script declares, and whether it hands further ones on."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    texts = {n.value for c in calls if c.func.attr in ("add_argument", "add_parser") for n in ast.walk(c)
             if isinstance(n, ast.Constant) and isinstance(n.value, str)}  # fmt: skip
    if any(isinstance(arg, ast.JoinedStr) for c in calls if c.func.attr == "add_argument" for arg in c.args):
        texts |= {f"--{node.arg}" for node in ast.walk(tree) if isinstance(node, ast.keyword)}  # those of dict(...)
        texts |= {f"--{n.value}" for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return frozenset(texts), any(call.func.attr == "parse_known_args" for call in calls)


@pytest.mark.parametrize("command", of("python"), ids=str)
def test_scripts_are_there_and_have_the_options(command):
    first, *rest = command.words[1:]
    if first == "-c":
        compile(rest[0], str(command), "exec")
        return
    if first == "-m":
        assert rest[0] == "pytest" and all((ROOT / w).exists() for w in rest[1:] if w.endswith(".py"))
        return
    script = ROOT / first
    assert script.is_file(), f"{first} is not there"
    known, hands_on = declared(script)
    options = [word.split("=")[0] for word in rest if word.startswith("--")]
    unknown = [o for o in options if o not in known and not (hands_on and re.match(r"--(data|model|trainer)\.", o))]
    assert not unknown, f"{first} has no option {unknown}"


@lru_cache(None)
def help_of(command: str) -> str:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert not ended.value.code
    return said.getvalue()


def slow_where(commands: list[Command], names: tuple[str, ...]) -> list[object]:
    """Commands as parameters, marked where one of these takes longer."""
    return [pytest.param(c, marks=[pytest.mark.slow] if {*c.words[1:3]} & {*names} else []) for c in commands]


@pytest.mark.parametrize("command", slow_where(of("meshconv", whole=False), OF_LIGHTNING), ids=str)
def test_what_is_named_in_a_sentence_exists(command):
    name = command.words[1]
    said = help_of(name)
    if command.words[2:3] == ("potential_flow",):
        return  # with options of its own
    for option in (word.split("=")[0] for word in command.words if word.startswith("--")):
        assert option in said or re.match(r"--(data|model|trainer)\.", option), f"{name} has no option {option}"


def shipped_config(command: Command) -> list[str]:
    """Words with the configuration that ships in place of a run's own: the run's name, or that of its ``fit``."""
    words = list(command.words)
    for k, word in enumerate(words[:-1]):
        found = re.fullmatch(r"runs/(\w+)/config.yaml", words[k + 1])
        if word == "--config" and found:
            fits = [c.words for c in COMMANDS if c.words[:2] == ("meshconv", "fit") and f"--name {found[1]}" in str(c)]
            words[k + 1] = fits[0][fits[0].index("--config") + 1] if fits else found[1]
    return words


@pytest.mark.parametrize("command", [c for c in of("meshconv", whole=True) if c.words[1] in OF_LIGHTNING], ids=str)
def test_trainings_and_tests_take_their_options(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = shipped_config(command)
    find_config(words[words.index("--config") + 1])
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--print_config"])
    assert not ended.value.code
    assert "class_path: meshconv." in capsys.readouterr().out


OTHERS = [c for c in of("meshconv", whole=True) if c.words[1] not in OF_LIGHTNING]


@pytest.mark.parametrize("command", slow_where(OTHERS, ("serve", "koeppen")), ids=str)
def test_other_commands_take_their_options(command, tmp_path, monkeypatch, capsys):
    """In an empty folder: what they miss is a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESHCONV_CACHE", str(tmp_path / "cache"))
    status = main([*command.words[1:], *(word for name in command.words[1:3] for word in SHORTER.get(name, []))])
    said = "".join(capsys.readouterr())
    assert status in (0, 2) and "lists the options" not in said
    if status:
        assert re.search(r"no such|not a folder|unreadable|port -1 is not", said), said


@pytest.mark.slow
def test_the_readme_from_top_to_bottom(tmp_path, monkeypatch):
    """Classification as it stands there: train, validate, test, predict."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESHCONV_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for family in ("apart", "dent_left"):
        Path("meshes", family).mkdir(parents=True)
        for k in range(10):
            save_mesh(generate_shape(family, generator), Path("meshes", family, f"{k}.ply"))
    Path("more_meshes").mkdir()
    for name in ("new_mesh.obj", "more_meshes/a.off"):
        save_mesh(generate_shape("apart", generator), Path(name))
    short = {"fit": ["--data.init_args.variants", "0", "--data.init_args.augment", "null", "--trainer.max_steps", "1",
                     "--trainer.accelerator", "cpu", "--data.init_args.val_fraction", "0.2"]}  # fmt: skip
    done = []
    for command in (c for c in COMMANDS if c.page == "README.md" and c.whole and c.words[0] == "meshconv"):
        if "classify" in str(command):
            assert main([*command.words[1:], *short.get(command.words[1], [])]) == 0, command
            done.append(command.words[1])
    assert done[:4] == ["fit", "validate", "test", "predict"]
    assert Path("predictions.csv").read_text().count("\n") == 3
