"""Examples in docstrings give what stands below them."""

from __future__ import annotations

import doctest
import importlib
import os
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "meshconv"
SLOW = {"lie/suggest.py"}
EXAMPLES = [
    pytest.param(path, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
    for path in sorted(PACKAGE.rglob("*.py"))
    for name in [path.relative_to(PACKAGE).as_posix()]
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_examples_of_docstrings(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not found.failed, "the report is above"
    assert os.listdir(tmp_path) == []
