"""Loggers of a configuration beside the run's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from meshconv.cli import main
from meshconv.datasets import write_shapes


@pytest.mark.slow
def test_tensorboard_beside_the_run_s_own_files(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_shapes(tmp_path / "shapes", train=2, test=1, seed=1)
    common = ["--runs", str(tmp_path / "runs"), "--name", "logged", "--trainer.accelerator", "cpu"]
    logger = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", str(tmp_path / "board")]
    options = "{channels: 4, blocks: 1, width: 8}"
    assert main(["fit", "--config", "classify", "--data.init_args.root", str(tmp_path / "shapes"), *common, *logger,
                 "--model.init_args.options", options, "--data.init_args.workers", "0", "--trainer.max_epochs", "2",
                 "--trainer.enable_progress_bar", "false"]) == 0  # fmt: skip
    run = tmp_path / "runs" / "logged"
    files = ("last.ckpt", "metrics.csv", "config.yaml", "log.txt", "hparams.yaml")
    assert all((run / name).is_file() for name in files)
    with (run / "metrics.csv").open(newline="") as stream:
        own = [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]
    (folder,) = {path.parent for path in (tmp_path / "board").rglob("events.*")}
    board = EventAccumulator(str(folder)).Reload()
    assert len(own) == 2
    assert [event.value for event in board.Scalars("train/loss")] == pytest.approx(own, rel=1e-6)
    before = (run / "metrics.csv").read_bytes()
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "last", *common]) == 0
    assert (run / "metrics.csv").read_bytes() == before and (run / "report.html").is_file()
    events = [EventAccumulator(str(path)).Reload() for path in (tmp_path / "board").rglob("events.*")]
    assert any("test/accuracy" in one.Tags()["scalars"] for one in events)
