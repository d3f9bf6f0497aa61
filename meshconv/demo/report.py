"""The report: a self-contained HTML page."""

from __future__ import annotations

import os
import tempfile
from html import escape
from pathlib import Path

from meshconv.demo.results import Report
from meshconv.demo.sections import climate_section, duration, shape_section
from meshconv.viz import html

__all__ = ["render_report", "write_report"]


def write_report(path: str | Path, report: Report) -> Path:
    """Write the report as one HTML file.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Parameters
    ----------
    path : str or Path
        Its folder is made if it does not exist.
    report : Report

    Returns
    -------
    Path

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_report(f"{folder}/report.html", Report("Trial", "0.1", "today", 1.0))
    ...     "<h1>Trial</h1>" in file.read_text(encoding="utf-8")
    True
    """
    path = Path(path)
    text = render_report(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes files for the owner alone; a report is to be shown.
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def render_report(report: Report) -> str:
    """The page as text; all names and notes are escaped."""
    version = f"meshconv {report.version}, {report.date}, {duration(report.seconds)} in all"
    parts = [f"<h1>{escape(report.title)}</h1>", f'<p class="soft">{escape(version)}</p>']
    parts.append(html.tiles(_headlines(report)))
    if report.climate is not None:
        parts.append(climate_section(report.climate))
    if report.shapes is not None:
        parts.append(shape_section(report.shapes))
    parts.append("<h2>How this was obtained</h2>")
    parts.append(
        "<p>All numbers are of data that training did not see. In each task both models saw the "
        "same data under the same schedule; the baseline looks at each point by itself. The "
        "gauge error is the largest relative change of a trained network's output when the tangent "
        "frames of its input are turned at random: exact equivariance leaves rounding.</p>"
    )
    parts.append(html.command(report.command))
    rows = [(escape(key), escape(value)) for key, value in report.environment.items()]
    if rows:
        parts.append(html.table(("Environment", ""), rows))
    return html.page(report.title, "\n".join(parts))


def _headlines(report: Report) -> list[tuple[str, str]]:
    items = []
    if (climate := report.climate) is not None:
        model, baseline = climate.model, climate.baseline
        if model.mean_iou is not None and baseline.mean_iou is not None:
            text = f"mean IoU of {model.name} on held-out land; {baseline.name}: "
            items.append((f"{model.mean_iou:.3f}", text + f"{baseline.mean_iou:.3f}"))
    if (shapes := report.shapes) is not None:
        text = f"of {len(shapes.meshes)} unseen meshes right by {shapes.model.name}; "
        text += f"{shapes.baseline.name}: {shapes.baseline.accuracy:.1%}"
        items.append((f"{shapes.model.accuracy:.1%}", text))
    for part in (report.climate, report.shapes):
        if part is not None and part.model.gauge_error is not None:
            items.append((f"{part.model.gauge_error:.1e}", f"gauge error of the trained {part.model.name}"))
    return items
