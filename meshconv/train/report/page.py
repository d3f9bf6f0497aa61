"""The page of a test: metrics beside baselines, curves of the training, confusion, worst cases."""

from __future__ import annotations

import csv
import datetime
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from meshconv import __version__
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.train.report.case import Case
from meshconv.viz import html
from meshconv.viz.confusion import draw_confusion
from meshconv.viz.curves import draw_curves
from meshconv.viz.interactive.fields import Field, as_field
from meshconv.viz.interactive.page_text import library
from meshconv.viz.interactive.panels import GlobeSurface, MeshSurface
from meshconv.viz.interactive.view import Panel, View

__all__ = ["render_test", "surfaces_of"]

log = logging.getLogger(__name__)

# Bytes of the page that views may take; the others are pictures.
_TURNING = 4_500_000
# Worst cases of fields and segments that are drawn: each has two surfaces.
_PAIRS = 3
_PAIRS_LISTED = 8
_EMBEDDED = 1_500_000  # of a picture that the test wrote
_CONFUSED = 60  # most classes with a matrix


def render_test(
    folder: Path,
    trained: Path,
    cases: Sequence[Case],
    count: int,
    surface_of: Callable[[str], MeshSurface | GlobeSurface] | None = None,
    checkpoint: str = "",
) -> str:
    """Page of what a test left in a folder; names and numbers of files are escaped.

    Parameters
    ----------
    folder
        With ``test_metrics.json``, and what else the task wrote.
    trained
        Folder of the run, with ``metrics.csv``.
    cases
        The worst first.
    count
        Of cases that were tested.
    surface_of
        Surface of a case by its name; None where there is none to draw.
    checkpoint
        That was tested.
    """
    found = json.loads((folder / "test_metrics.json").read_text(encoding="utf-8"))
    name = f"Test of {folder.resolve().name}"
    about = f"meshconv {__version__}, {datetime.date.today().isoformat()}{f', {checkpoint}' if checkpoint else ''}"
    parts = [f"<h1>{escape(name)}</h1>", f'<p class="soft">{escape(about)}</p>', html.command(" ".join(sys.argv))]
    metrics = {k: v for k, v in found.items() if isinstance(v, int | float) or v is None}
    parts.append(html.tiles((_number(v), k) for k, v in _headlines(metrics)))
    parts.append(_metrics(folder, metrics, found.get("classes") or []))
    if found.get("classes"):
        parts.append(_classes(found["classes"], str(found.get("weighted_by", "count"))))
    parts.append(_confusion(folder))
    worst, turning = _worst(cases, count, surface_of)
    parts.append(worst)
    parts.append(_worst_pairs(folder))
    parts.append(_curves(trained))
    parts.append(_pictures(folder))
    return html.page(name, "\n".join(part for part in parts if part), library() if turning else "")


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"


def _headlines(metrics: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    """The metrics that are of all classes, fields and leads, at most four."""
    order = ("accuracy", "mean_iou", "f1", "r2", "relative_l2", "rmse", "error_x100", "refined_error_x100", "loss")
    known = {k: v for k, v in metrics.items() if k.split("/")[0] in order and not k.startswith("iou/")}
    return sorted(known.items(), key=lambda item: order.index(item[0].split("/")[0]))[:4]


def _metrics(folder: Path, metrics: Mapping[str, float | None], classes: Sequence[Mapping[str, Any]]) -> str:
    """Table of metrics, each beside what it is for a prediction that needs no network."""
    trivial = _of_one_class(classes)
    rows = []
    for name, value in metrics.items():
        if name.startswith(("iou/", "unchanged/")):
            continue  # of each class, which have a table; of the inputs, which are baselines
        baseline, of_what = trivial.get(name, _ideal(name))
        if f"unchanged/{name}" in metrics:
            baseline, of_what = _number(metrics[f"unchanged/{name}"]), "the input, unchanged"
        rows.append((escape(name), _number(value), baseline, escape(of_what)))
    parts = ["<h2>Metrics of the test</h2>", html.table(("", "this network", "baseline", "of"), rows)]
    forecast = folder / "forecast.csv"
    if forecast.is_file():
        parts.append(_forecast(forecast))
    return "\n".join(parts)


def _of_one_class(classes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Accuracy, mean IoU and F1 of the most frequent class of the test, predicted everywhere."""
    shares = [float(entry["share"] or 0.0) for entry in classes]
    if not shares:
        return {}
    most, occur = max(shares), sum(share > 0 for share in shares)
    name = f"{classes[shares.index(most)]['name']} everywhere"
    return {
        "accuracy": (_number(most), name),
        "mean_iou": (_number(most / occur), name),
        "f1": (_number(2 * most / (1 + most) / occur), name),
    }


def _ideal(name: str) -> tuple[str, str]:
    """Baselines that hold whatever the data are."""
    kind = name.split("/")[0]
    return {
        "r2": ("0", "the mean of the truths"),
        "relative_l2": ("1", "zero everywhere"),
        "relative_l2_of_meshes": ("1", "zero everywhere"),
        "cosine": ("0", "random directions"),
    }.get(kind, ("", ""))


def _forecast(path: Path) -> str:
    """Root mean square errors of the forecast, of persistence and of the climatology, by field and lead."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    models = list(dict.fromkeys(row["model"] for row in rows))
    leads = sorted({int(row["step"]) for row in rows})
    shown = sorted({leads[0], leads[len(leads) // 2], leads[-1]}) if leads else []
    table = []
    for name in dict.fromkeys(row["field"] for row in rows):
        for step in shown:
            at = {row["model"]: row for row in rows if row["field"] == name and int(row["step"]) == step}
            if not at:
                continue
            lead = next(iter(at.values())).get("lead_hours") or str(step)
            errors = [_number(float(at[m]["rmse"])) if m in at and at[m]["rmse"] else "–" for m in models]
            table.append((escape(name), f"{float(lead):g}", *errors))
    return "<h3>RMSE by lead</h3>" + html.table(("", "lead, hours or steps", *models), table)


def _classes(classes: Sequence[Mapping[str, Any]], by: str) -> str:
    columns = ("iou", "f1", "precision", "recall", "share")
    rows = [(escape(str(entry["name"])), *(_number(entry.get(c)) for c in columns)) for entry in classes]
    return f"<h3>Classes, weighted by {escape(by)}</h3>" + html.table(("", *columns), rows)


def _confusion(folder: Path) -> str:
    path = folder / "confusion.csv"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as stream:
        head, *rows = list(csv.reader(stream))
    if len(rows) > _CONFUSED:
        return ""
    drawing = draw_confusion(np.array([[float(v) for v in row[1:]] for row in rows]), head[1:])
    image = html.picture(drawing, "Confusion matrix", dpi=100)
    text = "Percent of each true class (row)."
    return f'<h2>Confusion</h2><div class="narrow">{html.figure(image, "Confusion matrix", text)}</div>'


def _worst(
    cases: Sequence[Case], count: int, surface_of: Callable[[str], MeshSurface | GlobeSurface] | None
) -> tuple[str, bool]:
    """The worst cases, and whether some of them turn."""
    if not cases:
        return "", False
    rows = [(escape(_short(case.name)), escape(case.said), escape(case.note)) for case in cases]
    parts = [f"<h2>Worst cases of {count:,}</h2>", html.table(("", "prediction", ""), rows)]
    views = [] if surface_of is None else list(_views(cases, surface_of))
    room, turning = _TURNING, False
    for view in views:
        element = view.element("460px")
        if len(element) <= room:
            room, turning = room - len(element), True
            parts.append(f'<div class="turning">{element}</div>')
        else:
            parts.append(f"<figure>{html.picture(view.picture(), view.title, dpi=80)}</figure>")
    return "\n".join(parts), turning


def _worst_pairs(folder: Path) -> str:
    """The pairs of a correspondence with the largest errors."""
    path = folder / "geodesic_errors.csv"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as stream:
        head, *rows = list(csv.reader(stream))
    worst = sorted(rows, key=lambda row: -float(row[-1]))[:_PAIRS_LISTED]
    columns = [*head[:2], *(f"{name} x 100" for name in head[2:])]
    table = html.table(columns, ([escape(cell) for cell in row] for row in worst))
    return f"<h2>Worst of {len(rows):,} pairs</h2>{table}"


def _views(cases: Sequence[Case], surface_of: Callable[[str], MeshSurface | GlobeSurface]) -> list[View]:
    """Truth and prediction side by side, or the meshes that have one value each, all together."""
    whole: list[Panel] = []
    found: list[View] = []
    for case in cases:
        if case.truth and len(found) == _PAIRS:
            break
        try:
            surface = surface_of(case.name)
        except (InputError, OSError) as error:  # a file that has gone since
            log.warning("report: %s has no picture (%s)", case.name, error)
            continue
        if not case.truth:
            whole.append(Panel(case.said, surface, note=f"{case.note}; {_short(case.name)}"))
            continue
        if surface.counts.get(case.at) != len(next(iter(case.truth.values()))):
            continue  # of edges, or of points that the surface has not
        panels = [Panel(title, surface, _fields(case, values, surface))
                  for title, values in (("truth", case.truth), ("prediction", case.prediction))]  # fmt: skip
        found.append(View(tuple(panels), f"{_short(case.name)}: {case.said}"))
    return [*([View(tuple(whole), "Predictions that are farthest from the truth")] if whole else []), *found]


def _fields(case: Case, values: Mapping[str, Any], surface: MeshSurface | GlobeSurface) -> tuple[Field, ...]:
    counts = {case.at: surface.counts[case.at]}
    return tuple(
        as_field(name, array, counts, None, case.units.get(name, ""), case.names if array.dtype.kind == "i" else ())
        for name, array in values.items()
    )


def _short(name: str) -> str:
    """The last two parts of a path: class and file."""
    return "/".join(Path(name).parts[-2:])


def _curves(trained: Path) -> str:
    """Curves of what ``metrics.csv`` of the training has over its steps."""
    path = trained / "metrics.csv"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    series: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "epoch", None) and value and row.get("step"):
                try:
                    at, number = float(row["step"]), float(value)
                except ValueError:
                    continue
                if math.isfinite(number):
                    series.setdefault(name, ([], []))
                    series[name][0].append(at)
                    series[name][1].append(number)
    cells: list[str] = []
    for what in dict.fromkeys(name.split("/", 1)[-1] for name in series if "/" in name):
        group = {split: series[f"{split}/{what}"] for split in ("train", "val") if f"{split}/{what}" in series}
        if not group or max(len(x) for x, _ in group.values()) < 2 or len(cells) == 6:
            continue
        every = sorted({x for xs, _ in group.values() for x in xs})
        curves = {split: np.interp(every, *xy, left=np.nan, right=np.nan) for split, xy in group.items()}
        figure = draw_curves(every, curves, "step", what)
        if what == "loss" and all((np.array(y) > 0).all() for _, y in group.values()):
            figure.axes[0].set_yscale("log")
        cells.append(html.figure(html.picture(figure, f"Curve of {what}", dpi=90), what))
    return f'<h2>Learning curves</h2><div class="grid small">{"".join(cells)}</div>' if cells else ""


def _pictures(folder: Path) -> str:
    """What the task itself has drawn."""
    cells: list[str] = []
    for path in sorted([*folder.glob("*.png"), *folder.glob("*.gif")]):
        if path.stem != "confusion" and path.stat().st_size < _EMBEDDED and len(cells) < 8:
            cells.append(html.figure(html.file_picture(path, path.stem), path.name))
    return f'<h2>Pictures of the test</h2><div class="grid">{"".join(cells)}</div>' if cells else ""


def surfaces_of(data: Any) -> Callable[[str], MeshSurface | GlobeSurface] | None:
    """Surfaces of a data module's test by the names in its batches; None where it has neither meshes nor a grid."""
    data = getattr(data, "test_data", data)
    surface = getattr(data, "surface", None)
    if surface is not None and hasattr(surface, "grid"):
        grid = surface.grid if surface.domain is None else surface.grid.part(np.flatnonzero(surface.domain))
        globe = GlobeSurface(grid)
        return lambda name: globe
    if not hasattr(data, "samples") or not hasattr(data, "how"):
        return None
    sources = {sample.name: sample.source for sample in data.samples("test")}

    def mesh(name: str) -> MeshSurface:
        if name not in sources:
            raise InputError(f"{name}: no such mesh in the test")
        found: TriangleMesh = data.how.mesh(sources[name])
        return MeshSurface(found)

    return mesh
