"""Koeppen zones over the five spatial folds: SphereUNet and the network without neighbours, same schedule.

    python benchmarks/climate_folds.py            # about 15 minutes on 2 cores
"""

from __future__ import annotations

import argparse
import time

import lightning
import numpy as np

from meshconv.datasets.climate import KoeppenClimate
from meshconv.train import SegmentationTask

NETWORKS = {
    "SphereUNet": {"channels": [16, 24], "max_order": 1},
    "PixelwiseNetwork": {},
}


def run(network: str, fold: int, steps: int, rate: float, seed: int) -> tuple[float, float, float]:
    """Accuracy and mean IoU on the held-out blocks, and seconds of training."""
    lightning.seed_everything(seed, verbose=False)
    data = KoeppenClimate(fold=fold, num_levels=2)
    task = SegmentationTask(network, str(data.in_type), data.class_names, data.spec, NETWORKS[network], rate)
    trainer = lightning.Trainer(max_epochs=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    start = time.perf_counter()
    trainer.fit(task, data.train_dataloader())
    seconds = time.perf_counter() - start
    result = trainer.test(task, data.test_dataloader(), verbose=False)[0]
    return result["test/accuracy"], result["test/mean_iou"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--learning_rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"{'network':18} fold  accuracy  mean IoU  seconds")
    for network in NETWORKS:
        rows = []
        for fold in range(5):
            rows.append(run(network, fold, given.steps, given.learning_rate, given.seed))
            print(f"{network:18} {fold:4}  {rows[-1][0]:8.3f}  {rows[-1][1]:8.3f}  {rows[-1][2]:7.0f}", flush=True)
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        print(f"{network:18} mean  {mean[0]:8.3f}  {mean[1]:8.3f}  {mean[2]:7.0f}   "
              f"(spread over folds {spread[0]:.3f}, {spread[1]:.3f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
