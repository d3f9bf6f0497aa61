"""docs/robustness.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_named_tests_exist():
    named = []
    for row in (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8").splitlines():
        if not row.startswith("| ") or row.startswith(("| kind", "| ---")) or row.count("|") != 5:
            continue
        _, _, _, tests, also, _ = row.split("|")
        file = ""
        for path, name in re.findall(r"`(?:(tests/\w+\.py): )?(\w+)`", tests):
            file = path or file
            named.append((file, name))
        named += re.findall(r"`(tests/\w+\.py): (\w+)`", also)
    assert len(named) > 60
    for path, name in named:
        assert f"def test_{name}(" in (ROOT / path).read_text(encoding="utf-8"), (path, name)
