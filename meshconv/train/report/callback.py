"""The report of a test: its worst cases are gathered while it runs."""

from __future__ import annotations

import heapq
import logging
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch.utils.hooks import RemovableHandle

from meshconv.datasets.batch import SurfaceBatch
from meshconv.io.cache.atomic import atomic_write
from meshconv.train.report.case import Case
from meshconv.train.report.page import render_test, surfaces_of
from meshconv.train.tasks.base import Task

__all__ = ["TestReport"]

log = logging.getLogger(__name__)

#: Cases that are kept: what a page shows.
KEPT = 8


class TestReport(Callback):
    """Writes ``report.html`` after a test, with the worst cases: what :meth:`Task.cases` makes of each output.

    Of a distributed test they are those of the first process.

    Parameters
    ----------
    folder
        Of the run.

    Attributes
    ----------
    found : list of Case
        The worst first.
    count : int
        Cases that were looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._heap: list[tuple[float, int, Case]] = []
        self.count = 0
        self._hook: RemovableHandle | None = None

    @property
    def found(self) -> list[Case]:
        return [case for _, _, case in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._heap, self.count = [], 0
        if isinstance(pl_module, Task) and trainer.is_global_zero:
            self._hook = pl_module.register_forward_hook(self._note)

    def _note(self, task: Any, given: tuple[Any, ...], output: Any) -> None:
        if not given or not isinstance(given[0], SurfaceBatch):
            return
        for case in task.cases(given[0], output):
            self.count += 1
            heapq.heappush(self._heap, (case.error, -self.count, case))
            if len(self._heap) > KEPT:
                heapq.heappop(self._heap)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._remove()
        if isinstance(pl_module, Task) and trainer.is_global_zero and (self.folder / "test_metrics.json").is_file():
            checkpoint = trainer.ckpt_path
            beside = Path(checkpoint).parent if checkpoint else self.folder
            trained = next((f for f in (self.folder, beside) if (f / "metrics.csv").is_file()), self.folder)
            surfaces = surfaces_of(pl_module.data) if self._heap else None
            page = render_test(self.folder, trained, self.found, self.count, surfaces, str(checkpoint or ""))
            with atomic_write(self.folder / "report.html") as part:
                part.write_text(page, encoding="utf-8")
            log.info("report: %s", self.folder / "report.html")

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
