"""The report's two sections: tables and pictures of the climate task and of the mesh task."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import nan

import numpy as np
from matplotlib.figure import Figure

from meshconv.demo.results import ClimateResults, ModelResults, ShapeResults
from meshconv.viz import html
from meshconv.viz.colors import NO_DATA, Categorical, Continuous, zone_colors
from meshconv.viz.confusion import draw_confusion
from meshconv.viz.mesh import RIGHT, WRONG, contact_sheet
from meshconv.viz.sphere import draw_healpix

__all__ = ["climate_section", "duration", "shape_section"]

# Both correct, only the gauge network, only the baseline, neither; colours without red-green contrast.
_VERDICTS = (
    "both correct",
    "only {model} correct",
    "only {baseline} correct",
    "both wrong",
    "training blocks",
)
_VERDICT_COLORS = ("#9dbdd0", "#1553b5", "#f0a202", "#7d1f10", "#d3d8dc")
_MAX_PER_CLASS = 8


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _score_table(model: ModelResults, baseline: ModelResults) -> str:
    rows: list[tuple[str, ...]] = [("Accuracy", *html.larger(model.accuracy, baseline.accuracy, ".1%"))]
    if model.mean_iou is not None and baseline.mean_iou is not None:
        rows.append(("Mean IoU", *html.larger(model.mean_iou, baseline.mean_iou, ".3f")))
    both = (model, baseline)
    errors = ("–" if m.gauge_error is None else f"{m.gauge_error:.1e}" for m in both)
    rows.append(("Gauge error, relative", *errors))
    counts = ("–" if m.parameters is None else f"{m.parameters:,}" for m in both)
    rows.append(("Parameters", *counts))
    times = ("–" if m.seconds is None else duration(m.seconds) for m in both)
    rows.append(("Training time", *times))
    return html.table(("", model.name, baseline.name), rows)


def _lead(model: float, baseline: float, names: tuple[str, str], what: str, scale: float) -> str:
    """One sentence that compares two metrics."""
    gap = (model - baseline) * scale
    if abs(gap) < 0.05:
        return f"{names[0]} and {names[1]} are equal in {what}."
    ahead, behind = names if gap > 0 else names[::-1]
    return f"{ahead} is {abs(gap):.1f} points of {what} above {behind}."


def _map(values: np.ndarray, colors: Sequence[str], pale: np.ndarray | None, alt: str) -> str:
    drawing = Figure(figsize=(7.0, 3.55))
    ax = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
    draw_healpix(ax, values, colors=Categorical(colors), pale=pale, columns=1200)
    return html.picture(drawing, alt)


def climate_section(results: ClimateResults) -> str:
    """Section of the climate task: metrics, input fields, truth and predictions, IoU of each zone."""
    truth = np.asarray(results.truth)
    land = truth >= 0
    held_out = np.asarray(results.held_out, dtype=bool) & land
    model, baseline = results.model, results.baseline
    names = (model.name, baseline.name)
    colors = zone_colors(results.zones)
    pale = land & ~held_out

    parts = ["<h2>The climate of the Earth on a HEALPix sphere</h2>"]
    parts.append(f"<p>{escape(results.note)}</p>" if results.note else "")
    if model.mean_iou is not None and baseline.mean_iou is not None:
        lead = _lead(model.mean_iou, baseline.mean_iou, names, "mean IoU", 100)
    else:
        lead = _lead(model.accuracy, baseline.accuracy, names, "accuracy", 100)
    parts.append(f"<p>{escape(lead)}</p>")
    parts.append(_score_table(model, baseline))
    parts.append(html.command(results.command))

    parts.append("<h3>Input</h3>")
    cells = []
    for item in results.fields:
        drawing = Figure(figsize=(5.2, 3.25), layout="constrained")
        ax = drawing.add_subplot()
        draw_healpix(ax, item.values, colors=Continuous(item.cmap, unit=item.unit), columns=1000)
        cells.append(html.figure(html.picture(drawing, f"Map of {item.name}"), item.name))
    parts.append(f'<div class="grid">{"".join(cells)}</div>')

    parts.append("<h3>Truth and prediction</h3>")
    parts.append(html.legend([*results.zones, "excluded"], [*colors, NO_DATA]))
    cells = [html.figure(_map(truth, colors, None, "Map of the true zones"), "Truth")]
    for score, said in zip((model, baseline), (results.prediction, results.baseline_prediction), strict=True):
        drawn = _map(np.where(land, said, -1), colors, pale, f"Map predicted by {score.name}")
        cells.append(html.figure(drawn, score.name, "Pale: training blocks."))
    right = np.asarray(results.prediction) == truth
    baseline_right = np.asarray(results.baseline_prediction) == truth
    verdict = np.where(held_out, 3 - 2 * right - baseline_right, np.where(land, 4, -1))
    verdicts = [v.format(model=model.name, baseline=baseline.name) for v in _VERDICTS]
    drawn = _map(verdict, _VERDICT_COLORS, None, "Map of correct and wrong predictions in the test blocks")
    count = np.bincount(verdict[held_out], minlength=4)
    total = max(int(count.sum()), 1)
    shares = [f"{v}: {c / total:.1%}" for v, c in zip(verdicts, count, strict=False)]
    caption = html.figure(drawn, "Correct and wrong predictions", "Coloured: the test blocks.")
    cells.append(f"<div>{caption}{html.legend([*shares, verdicts[4]], _VERDICT_COLORS)}</div>")
    parts.append(f'<div class="grid">{"".join(cells)}</div>')

    parts.append("<h3>IoU of each zone in the test blocks</h3>")
    both = [list(score.class_iou) or [nan] * len(results.zones) for score in (model, baseline)]
    pixels = np.bincount(truth[held_out], minlength=len(results.zones))
    rows = []
    for i, zone in enumerate(results.zones):
        cell = html.swatch(colors[i]) + escape(zone)
        rows.append((cell, *html.larger(both[0][i], both[1][i], ".3f"), f"{pixels[i]:,}"))
    parts.append(html.table(("Zone", *names, "Pixels"), rows))
    return "\n".join(parts)


def shape_section(results: ShapeResults) -> str:
    """Section of the mesh task: metrics, test meshes with predicted classes, confusion matrices."""
    model, baseline = results.model, results.baseline
    truth, said = np.asarray(results.truth), np.asarray(results.prediction)
    classes = [name.replace("_", " ") for name in results.classes]

    parts = ["<h2>Classification of meshes</h2>"]
    parts.append(f"<p>{escape(results.note)}</p>" if results.note else "")
    lead = _lead(model.accuracy, baseline.accuracy, (model.name, baseline.name), "accuracy", 100)
    parts.append(f"<p>{escape(lead)}</p>")
    parts.append(_score_table(model, baseline))
    parts.append(html.command(results.command))

    # The same number of each class, as a large first class would fill the sheet.
    shown = [np.flatnonzero(truth == c)[:_MAX_PER_CLASS] for c in range(len(classes))]
    order = np.concatenate(shown) if shown else np.empty(0, dtype=int)
    if len(order):
        right = truth[order] == said[order]
        sheet = contact_sheet(
            [results.meshes[i] for i in order],
            [classes[said[i]] for i in order],
            [RIGHT if r else WRONG for r in right],
            notes=["" if r else f"is {classes[truth[i]]}" for i, r in zip(order, right, strict=True)],
        )
        parts.append("<h3>Test meshes and predicted classes</h3>")
        image = html.picture(sheet, "Test meshes with the predicted class under each")
        parts.append(f'<div class="scroll wide">{image}</div>')
        of = "All" if len(order) == len(truth) else f"The first {_MAX_PER_CLASS} of each class of"
        text = f"{of} {len(truth)} test meshes, {int(right.sum())} of {len(order)} shown are correct. "
        text += f"Below each mesh is the class predicted by {model.name}: green is correct, red is wrong, with the "
        text += "true class below. Orange is above the surrounding surface, blue below."
        parts.append(f'<p class="soft">{escape(text)}</p>')

    parts.append("<h3>Confusion matrices</h3>")
    cells = []
    for score, answers in ((model, said), (baseline, np.asarray(results.baseline_prediction))):
        counts = np.zeros((len(classes), len(classes)), dtype=int)
        np.add.at(counts, (truth, answers), 1)
        image = html.picture(draw_confusion(counts, classes), f"Confusion matrix of {score.name}")
        cells.append(html.figure(image, score.name, "Percent of each true class (row)."))
    parts.append(f'<div class="grid">{"".join(cells)}</div>')
    return "\n".join(parts)
