"""Processes of a distributed training notice when one of them ends."""

from __future__ import annotations

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from meshconv.distributed.watch import Watch
from meshconv.ranks import rank_and_world


class Companions(Callback):
    """Callback that ends a process of a distributed training, with a line, where another one has ended amid it.

    Without it the others wait in their next exchange, for half an hour by default, and say nothing of which it was.
    """

    def __init__(self) -> None:
        self._watch: Watch | None = None

    def _begin(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._watch is None and rank_and_world()[1] > 1:
            self._watch = Watch("go on with --resume")

    on_train_start = on_validation_start = on_test_start = _begin

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):  # all are asked to end
            self._leave()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._watch is not None:
            self._watch.leave()
            self._watch = None
