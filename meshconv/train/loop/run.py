"""What a run keeps in its folder, checkpoint, metrics and log, and what of it is on the screen."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, LearningRateMonitor

from meshconv.progress import Pace
from meshconv.train.checkpoints.resuming import DrawnStates, RunCheckpoint, StepLimit
from meshconv.train.loop.companions import Companions
from meshconv.train.loop.logger import RunLogger
from meshconv.train.report.callback import TestReport
from meshconv.train.tasks.base import Task

log = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk ends the run, instead of a traceback for each line."""
        raise


# Marks lines that are for the screen: the log has them from elsewhere.
_SCREEN = "on_screen"


class EpochLines(Callback):
    """Where the output is no terminal, a line an epoch, or one a minute of a long one, instead of a bar."""

    def __init__(self) -> None:
        self.pace: Pace | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        bar = trainer.progress_bar_callback
        if bar is not None and not sys.stdout.isatty():
            bar.disable()
            self.pace = Pace() if trainer.is_global_zero else None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.pace is not None and self.pace.due():
            log.info("epoch %d: batch %d of %s", trainer.current_epoch, batch_idx + 1, trainer.num_training_batches)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.pace is not None:
            log.info("epoch %d: %s", trainer.current_epoch, _metrics(trainer), extra={_SCREEN: True})


class RunLog(Callback):
    """Log of a run, appended to ``log.txt``: command, time, messages, and the metrics of every epoch."""

    def __init__(self, folder: Path):
        self.path = folder / "log.txt"
        self.handler: logging.Handler | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        if not trainer.is_global_zero:
            return  # one process writes
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.handler = _LogFile(self.path, encoding="utf-8")
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self.handler.addFilter(lambda record: not hasattr(record, _SCREEN))
        logging.getLogger().addHandler(self.handler)
        self._write(" ".join(sys.argv))

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        for logger in trainer.loggers:
            if trainer.ckpt_path is not None and isinstance(logger, RunLogger):
                logger.go_on(trainer.global_step)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._write(f"epoch {trainer.current_epoch}: {_metrics(trainer)}")
        # The row that Lightning logs after the checkpoint: with it no checkpoint has an epoch that the table lacks.
        logged = {name: value for name, value in trainer.logged_metrics.items() if not name.startswith("val/")}
        row = {**logged, "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.log_metrics(row, trainer.global_step - 1)
                logger.save()

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._write(f"test: {_metrics(trainer)}")

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, error: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.handler is not None:
            logging.getLogger().removeHandler(self.handler)
            with suppress(OSError):  # of a full disk, which ended the run
                self.handler.close()
            self.handler = None

    def _write(self, message: str) -> None:
        """To the file alone: the screen has the progress bar."""
        if self.handler is not None:
            self.handler.handle(logging.makeLogRecord({"msg": message}))


class KeepTest(Callback):
    """Write the results of a test to the run's folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if isinstance(pl_module, Task) and trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            pl_module.write_test(self.folder)


def _metrics(trainer: lightning.Trainer) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in trainer.callback_metrics.items())


def run_options(folder: Path) -> dict[str, Any]:
    """Trainer arguments that keep a run's log, metrics and last checkpoint in ``folder``."""
    checkpoints = [RunCheckpoint(folder), DrawnStates(), StepLimit(), Companions()]
    return {
        "logger": RunLogger(folder),
        "callbacks": [*checkpoints, LearningRateMonitor("epoch"), RunLog(folder), EpochLines(), KeepTest(folder),
                      TestReport(folder)],
        "default_root_dir": str(folder),
    }


def quiet() -> None:
    """Keep Lightning's advice about worker processes and its banners off the screen, and all but one process quiet."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        logging.getLogger("meshconv").setLevel(logging.ERROR)
    for message in (
        "does not have many workers",
        "number of training batches",
        "have no `val_dataloader`",
        "Total length of `list`",
        "exists and is not empty",
        "LightningCLI's args parameter",
        "treespec",
        "The dirpath has changed",
        "your dataloader is not resumable",  # the rest of its epoch is drawn anew
    ):
        warnings.filterwarnings("ignore", message=f".*{message}.*")
