"""Progress of calls that do not report how far they are."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from meshconv import progress


def test_a_long_call_is_reported_and_a_short_one_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.02)
    monkeypatch.setattr(progress, "SECONDS", 0.02)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    with caplog.at_level(logging.INFO):
        with progress.waiting("short"):
            pass
        assert not caplog.records
        before = threading.active_count()
        with progress.waiting("long"):
            time.sleep(0.3)
        assert len(caplog.records) > 1 and all("long: " in r.getMessage() for r in caplog.records)
        assert threading.active_count() == before


def test_an_error_ends_the_report() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="inside"), progress.waiting("failing"):
        raise ValueError("inside")
    assert threading.active_count() == before
