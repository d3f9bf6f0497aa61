"""Views: surfaces with fields, side by side, as a page that turns or as a picture."""

from __future__ import annotations

import logging
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from meshconv.errors import InputError
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.io.cache.atomic import atomic_write
from meshconv.viz.coastlines import Line
from meshconv.viz.interactive.fields import Field, Legend, Values, as_field, legend_of
from meshconv.viz.interactive.page_text import pack, page, root
from meshconv.viz.interactive.panels import GlobeSurface, MeshSurface, arrows_of, frames_of
from meshconv.viz.interactive.picture import draw_panels
from meshconv.viz.relief import Mesh

__all__ = ["Panel", "View", "show"]

log = logging.getLogger(__name__)

_PICTURES = (".png", ".pdf", ".svg", ".jpg")
#: Pages above this many bytes are slow to open; the log says so.
LARGE = 8_000_000


@dataclass(frozen=True, eq=False)
class Panel:
    """A surface with its fields.

    Attributes
    ----------
    title, note : str
        What stands over it, and a smaller line below.
    surface
    fields : tuple of Field
    show_frames : bool
    """

    title: str
    surface: MeshSurface | GlobeSurface
    fields: tuple[Field, ...] = ()
    show_frames: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class View:
    """Surfaces side by side that turn together; fields of one name have the same colours in all of them.

    A notebook shows it. ``view.save("x.html")`` writes a page that loads nothing from elsewhere, ``"x.png"`` a picture;
    ``view.open()`` shows the page in a browser; ``view.beside(other)`` has the surfaces of both.

    Attributes
    ----------
    panels : tuple of Panel
    title : str
    first : str
        The field that is shown first; the page has a choice of all.
    cmap : str
        Colours of numbers: a map of matplotlib.
    limits : (float, float), optional
        Values at their ends; by default of each field the percentiles 1 and 99.
    """

    panels: tuple[Panel, ...]
    title: str = ""
    first: str = ""
    cmap: str = "viridis"
    limits: tuple[float, float] | None = None

    def beside(self, *others: View) -> View:
        """A view with the surfaces of all, one after the other.

        Raises
        ------
        InputError
            Meshes and spheres together: they turn in different ways.
        """
        panels = tuple(panel for one in (self, *others) for panel in one.panels)
        if len({type(panel.surface) for panel in panels}) > 1:
            raise InputError("a mesh beside a sphere: they turn in different ways; show them in two views")
        return replace(self, panels=panels)

    def save(self, path: str | Path) -> Path:
        """Write the view: a page for ``.html``, else a picture without display (``.png``, ``.pdf``, ``.svg``).

        Raises
        ------
        InputError
            Another ending, or a place that cannot be written to.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in (".html", *_PICTURES):
            raise InputError(f"{path}: a view is written to {', '.join(['.html', *_PICTURES])}; choose one of them")
        with atomic_write(path) as part:
            if kind == ".html":
                text = self.html()
                if len(text) > LARGE:
                    log.info("%s: %.1f MB; a simpler mesh or fewer fields make it open sooner", path, len(text) / 1e6)
                part.write_text(text, encoding="utf-8")
            else:
                self.picture().savefig(part, format=kind[1:], dpi=150)
        return path

    def open(self) -> Path:
        """Show the page in the browser, from a temporary file, whose path is returned."""
        with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False, encoding="utf-8") as file:
            file.write(self.html())
        webbrowser.open(Path(file.name).as_uri())
        return Path(file.name)

    def html(self) -> str:
        """The whole page, which loads nothing from elsewhere."""
        return page(self.title or "meshconv", self.element("100vh"))

    def element(self, height: str = "460px") -> str:
        """The element of this view alone, for a page that has the :func:`library` at its end."""
        return root(self._content, height)

    def picture(self) -> Figure:
        """The panels with the first field as a figure of matplotlib."""
        legend = next((legend for name, legend in self._legends.items() if name == self._shown), None)
        found = [(p.title, p.note, p.surface, self._field(p, self._shown)) for p in self.panels]
        return draw_panels(self.title, found, legend, self.cmap)

    def _repr_html_(self) -> str:
        """An inner page, so that many of them in a notebook do not meet."""
        text = page(self.title or "meshconv", self.element("100vh"))
        width = "100%" if len(self.panels) > 1 else "min(100%, 760px)"
        return (
            f'<iframe srcdoc="{escape(text)}" sandbox="allow-scripts" title="{escape(self.title or "view")}" '
            f'style="width:{width};height:480px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"View({len(self.panels)} surfaces; fields: {', '.join(self._names) or 'none'})"

    @property
    def _names(self) -> list[str]:
        return list(dict.fromkeys(field.name for panel in self.panels for field in panel.fields))

    @property
    def _shown(self) -> str:
        names = self._names
        if self.first and self.first not in names:
            raise InputError(f"no field {self.first!r}; there is {', '.join(names) or 'none'}")
        return self.first or next(iter(names), "")

    @staticmethod
    def _field(panel: Panel, name: str) -> Field | None:
        return next((field for field in panel.fields if field.name == name), None)

    @property
    def _legends(self) -> dict[str, Legend]:
        found = {}
        for name in self._names:
            fields = [field for panel in self.panels for field in panel.fields if field.name == name]
            found[name] = legend_of(fields, self.cmap, self.limits)
        return found

    @property
    def _content(self) -> dict[str, Any]:
        """What the page draws, in JSON's terms."""
        legends, names, shown = self._legends, self._names, self._shown
        panels = []
        for panel in self.panels:
            fields = [self._packed(panel, legends[name]) for name in names]
            arrows = [set.content for set in (frames_of(panel.surface) if panel.show_frames else [])]
            panels.append({"title": panel.title, "note": panel.note, "fields": fields, "arrows": arrows,
                           **panel.surface.content})  # fmt: skip
        described = [
            {"name": name, "kind": legend.of.kind, "unit": legend.of.unit, "limits": list(legend.limits),
             "names": list(legend.names), "colors": pack(legend.colors), "missing": legend.missing,
             "steps": list(legend.of.steps)}
            for name, legend in legends.items()
        ]  # fmt: skip
        pose = [float(v) for v in self.panels[0].surface.pose.reshape(-1)]
        first = names.index(shown) if shown else 0
        return {"title": self.title, "first": first, "pose": pose, "fields": described, "panels": panels}

    def _packed(self, panel: Panel, legend: Legend) -> dict[str, Any] | None:
        field = self._field(panel, legend.of.name)
        if field is None:
            return None
        codes, kept = legend.codes(field), panel.surface.kept
        found: dict[str, Any] = {"at": field.at, "values": pack(codes if kept is None else codes[:, kept])}
        if field.kind == "vector":
            found["arrows"] = arrows_of(panel.surface, field.at, field.values, legend.colors, legend.limits[1]).content
        return found


def show(
    surface: Mesh | SphereGrid,
    values: Values | None = None,
    *,
    truth: Values | None = None,
    names: Sequence[str] = (),
    unit: str | Mapping[str, str] = "",
    title: str = "",
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    frames: bool = False,
    steps: Sequence[str] | None = None,
    coast: Sequence[Line] | None = None,
) -> View:
    """View of a mesh or a sphere with values on it.

    Parameters
    ----------
    surface : TriangleMesh, another mesh with ``vertices`` and ``faces``, or SphereGrid
    values : array or dict of arrays by name, optional
        With n vertices or faces, or n points of the grid. Numbers ``[n]`` are scalars; whole numbers with up to 64
        values and words are labels, negative ones none. ``[n, 3]`` are vectors in space, ``[n, 2]`` components in the
        tangent frames; uint8 ``[n, 3]`` are colours. ``[steps, n]`` and ``[steps, n, 3]`` are steps in time. NaN is no
        value.
    truth : array or dict, optional
        Shown beside the values under the same names, turning with them.
    names : sequence of str, optional
        Of the labels 0, 1, ...
    unit : str or dict by name
        Of scalars and vectors.
    title : str
    cmap : str
        Colour map of matplotlib; viridis, the default, and cividis are perceptually uniform and for colour-blind eyes.
    limits : (float, float), optional
        Values at the ends of the colours; by default the percentiles 1 and 99.
    frames : bool
        Tangent frames as arrows: e1 red, e2 blue.
    steps : sequence of str, optional
        Names of the steps; then the first axis of the values is that of steps.
    coast : list of array [m, 2], optional
        Lines on a sphere, latitudes and longitudes in degrees; by default coastlines where cartopy is installed.

    Returns
    -------
    View

    Raises
    ------
    InputError
        Values that have neither one entry for each vertex nor one for each face or point, or are of another type.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> triangle = SimpleNamespace(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    >>> show(triangle, [0.5, 1.0, 2.0], unit="m")
    View(1 surfaces; fields: values)
    """
    on = GlobeSurface(surface, coast) if isinstance(surface, SphereGrid) else MeshSurface(surface)

    def panel(label: str, given: Values | None) -> Panel:
        several = {} if given is None else given if isinstance(given, Mapping) else {"values": given}
        found = tuple(_field(on, str(name), array, unit, names, steps) for name, array in several.items())
        return Panel(label, on, found, frames)

    panels = (panel("", values),) if truth is None else (panel("truth", truth), panel("prediction", values))
    return View(panels, title, cmap=cmap, limits=limits)


def _field(
    on: MeshSurface | GlobeSurface, name: str, array: ArrayLike, unit: str | Mapping[str, str],
    names: Sequence[str], steps: Sequence[str] | None,
) -> Field:  # fmt: skip
    # Frames of a large mesh take a while, and few fields need them.
    given = np.asarray(array) if not isinstance(array, np.ma.MaskedArray) else array
    frames = on.frames if given.ndim > 1 and given.shape[-1] == 2 else None
    found = unit if isinstance(unit, str) else unit.get(name, "")
    return as_field(name, array, on.counts, frames, found, names, steps)
