"""Lightning's command line with meshconv's defaults: ``fit``, ``validate`` and ``test``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger


class RunCLI(LightningCLI):
    """``runs/<name>/`` holds checkpoint, metrics, configuration and log of a run."""

    def __init__(self, args: list[str] | None = None, run: bool = True):
        super().__init__(
            lightning.LightningModule,
            lightning.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", default="run", help="the run is kept in <runs>/<name>/")
        parser.add_argument("--runs", default="runs", help="folder of all runs")
        parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
        parser.set_defaults({"trainer.enable_model_summary": False, "trainer.accelerator": "auto"})
        for name in ("in_type", "class_names", "spec"):
            convert = {"compute_fn": str} if name == "in_type" else {}
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate", **convert)

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        config = self.config[self.subcommand] if self.subcommand else self.config
        folder = Path(config["runs"]) / config["name"]
        return super().instantiate_trainer(**{**run_options(folder), **kwargs})


def run_options(folder: Path) -> dict[str, Any]:
    """Trainer arguments that keep a run's log, metrics and last checkpoint in ``folder``."""
    checkpoint = ModelCheckpoint(folder, filename="{epoch}", save_last=True, save_top_k=1, enable_version_counter=False)
    return {
        "logger": CSVLogger(str(folder.parent), folder.name, version=""),
        "callbacks": [checkpoint, LearningRateMonitor("epoch")],
        "default_root_dir": str(folder),
    }
