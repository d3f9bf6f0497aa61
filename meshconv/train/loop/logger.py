"""Table of a run's metrics: kept through interruptions, and never half in the file."""

from __future__ import annotations

import csv
import io
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from meshconv.errors import PlaceError
from meshconv.io.cache.atomic import atomic_write


class RunLogger(Logger):
    """``metrics.csv`` and ``hparams.yaml`` in the folder of a run.

    The rows of an earlier training stay in the file until the first one of this training takes their place; a resumed
    training keeps those from before its checkpoint (:meth:`go_on`).

    Parameters
    ----------
    folder
    """

    def __init__(self, folder: str | os.PathLike[str]):
        super().__init__()
        self.folder = Path(folder)
        self.path = self.folder / "metrics.csv"
        self._columns: list[str] | None = None  # of the file, once it is this training's
        self._kept: list[dict[str, str]] = []
        self._waiting: list[dict[str, str]] = []
        self._last: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @rank_zero_only
    def go_on(self, step: int) -> None:
        """Keep the rows from before a step."""
        if self._columns is None:
            rows = self._read()
            self._kept = [row for row in rows if row["step"].isdigit() and int(row["step"]) < step]
            self._last = self._kept[-1] if self._kept else {}

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / "hparams.yaml") as part:
            save_hparams_to_yaml(part, params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row, unless the one before it has all of it."""
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        row = {name: str(value) for name, value in {**values, "step": step or 0}.items()}
        if not row.items() <= self._last.items():
            self._waiting.append(row)
            self._last = row

    @rank_zero_only
    def save(self) -> None:
        """Write what has been logged."""
        if not self._waiting:
            return
        known = self._columns
        kept = self._kept if known is None else []
        columns = sorted({*(known or ()), *(name for row in (*kept, *self._waiting) for name in row)})
        if columns == known:
            self._append(_table(columns, self._waiting))
        else:
            rows = [*(kept if known is None else self._read()), *self._waiting]
            header = dict(zip(columns, columns, strict=True))
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.path) as part:
                part.write_text(_table(columns, [header, *rows]), encoding="utf-8", newline="")
        self._columns, self._kept, self._waiting = columns, [], []

    def _append(self, text: str) -> None:
        """Whole lines, or none."""
        size = self.path.stat().st_size
        try:
            with self.path.open("a", encoding="utf-8", newline="") as stream:
                stream.write(text)
        except OSError as error:
            os.truncate(self.path, size)
            raise PlaceError.of(error, self.path) from error

    def _read(self) -> list[dict[str, str]]:
        """Rows of the file, without empty cells; a line without end was cut off as it was written."""
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8", errors="replace", newline="") as stream:
            text = stream.read()
        table = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        rows = [{name: value for name, value in row.items() if name and value} for row in table]
        return [row for row in rows if "step" in row]


def _table(columns: list[str], rows: Iterable[dict[str, str]]) -> str:
    stream = io.StringIO(newline="")
    csv.DictWriter(stream, columns).writerows(rows)
    return stream.getvalue()
