"""What the benchmarks of hybrid inference share: training with a validation, tables and figures over seeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from map_training import Results
from torch import Tensor, nn


def fit(
    module: nn.Module, loss: Callable[[], Tensor], validate: Callable[[], float], steps: int, rate: float
) -> nn.Module:
    """Adam with a cosine schedule; the state with the best validation error of 12, the first before training."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, state = validate(), deepcopy(module.state_dict())
    for step in range(steps):
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // 12) == 0:
            error = validate()
            if error < best:
                best, state = error, deepcopy(module.state_dict())
    module.load_state_dict(state)
    return module


def measure_once(results: Results, key: dict[str, Any], measure: Callable[[], dict[str, float]]) -> None:
    """Add what ``measure`` finds and its minutes of processor time, unless the results have the key."""
    if not results.has(**key):
        begin = time.process_time()
        results.add(key | measure() | {"minutes": (time.process_time() - begin) / 60})


def values_of(rows: list[dict[str, Any]], name: str, of: dict[str, Any]) -> list[float]:
    return [row[name] for row in rows if all(row[k] == v for k, v in of.items())]


def table(rows: list[dict[str, Any]], by: str, columns: dict[str, str]) -> None:
    """Means and standard deviations over the seeds, for each value of ``by``."""
    print(f"| {by} | seeds | {' | '.join(columns.values())} | minutes |")
    print("| --- " * (len(columns) + 3) + "|")
    for value in sorted({row[by] for row in rows}):
        cells = []
        for name in columns:
            found = values_of(rows, name, {by: value})
            spread = f" ± {np.std(found):.2g}" if len(set(found)) > 1 else ""
            cells.append(f"{np.mean(found):.4g}{spread}")
        minutes = values_of(rows, "minutes", {by: value})
        print(f"| {value} | {len(minutes)} | {' | '.join(cells)} | {np.mean(minutes):.1f} |")


def figure(
    rows: list[dict[str, Any]], by: str, columns: dict[str, str], path: Path, x_name: str, y_name: str
) -> None:
    """Errors over the logarithm of ``by``; bars are standard deviations over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    points = sorted({row[by] for row in rows})
    shown, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
    for (name, title), marker in zip(columns.items(), "osD^v<", strict=False):
        found = [values_of(rows, name, {by: point}) for point in points]
        axes.errorbar(points, [np.mean(f) for f in found], [np.std(f) for f in found], marker=marker, label=title,
                      capsize=2)  # fmt: skip
    axes.set(xscale="log", xlabel=x_name, ylabel=y_name)
    axes.set_xticks(points, [str(p) for p in points])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    shown.legend(loc="outside upper center", ncols=len(columns), fontsize="small")
    shown.savefig(path, dpi=150)
