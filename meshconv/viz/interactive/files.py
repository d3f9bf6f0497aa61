"""Views of files: meshes with their arrays, maps on a globe, and what ``meshconv predict`` wrote."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError
from meshconv.extras import require
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.formats import BY_SUFFIX
from meshconv.io.meshes.labels import read_labels
from meshconv.io.meshes.load import read_mesh
from meshconv.viz.interactive.fields import Field, as_field
from meshconv.viz.interactive.page_text import pack
from meshconv.viz.interactive.panels import GlobeSurface, MeshSurface
from meshconv.viz.interactive.view import LARGE, Panel, View

if TYPE_CHECKING:
    from meshconv.io.maps.fields import SphereFields

__all__ = ["view_file"]

log = logging.getLogger(__name__)

_LIBRARY = 800_000  # bytes of a page without data
# Of a field at most: steps, and bytes of all of them before they are packed.
_STEPS, _FIELD = 60, 4_000_000
# Components east and north that files name without saying so.
_WINDS = (("u10", "v10"), ("uas", "vas"), ("u100", "v100"), ("ua", "va"), ("u", "v"), ("uo", "vo"))


def view_file(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    field: str = "",
    truth: str = "",
    select: Mapping[str, Any] | None = None,
) -> View:
    """View of a mesh file with its arrays, or of the maps of a NetCDF file on a globe.

    Parameters
    ----------
    path
        A mesh (:func:`meshconv.io.mesh_formats`), or what :func:`meshconv.io.open_fields` opens.
    labels
        A label file of the mesh's vertices or polygons, which is shown first.
    field
        Name of the array or variable that is shown first; the page has a choice of all.
    truth
        Name of another array, shown beside that field in its colours; of a mesh also a label file.
    select
        Of maps: values of dimensions, ``{"level": 850}``.

    Returns
    -------
    View
        As many fields and steps as fit into a page of 8 MB; what is left out is logged.

    Raises
    ------
    InputError
        Unreadable, no such field, labels of another number.
    """
    given, path = path, Path(path)
    if path.suffix.lower() in BY_SUFFIX:
        if select:
            raise InputError(f"{path}: a mesh has no dimensions to select from; leave --select out")
        mesh = read_mesh(path, volume_surface=True)
        surface: MeshSurface | GlobeSurface = MeshSurface(mesh)
        found = list(_of_mesh(mesh))
        if labels is not None:
            found.insert(0, _labels(mesh, Path(labels), Path(labels).name))
        if truth and truth not in [f.name for f in found] and Path(truth).is_file():
            found.append(_labels(mesh, Path(truth), truth))
    else:
        if labels is not None:
            raise InputError(f"{path}: --labels are for meshes, whose formats {', '.join(sorted(BY_SUFFIX))} are")
        require("a view of maps", "climate")
        from meshconv.io.maps.fields import open_fields

        fields = open_fields(given)
        if select:
            fields = fields.select(select)
        surface = GlobeSurface(fields.grid)
        found = list(_of_maps(fields, [name for name in (field, truth) if name]))
        fields.dataset.close()
    return _side_by_side(path, surface, found, field or (found[0].name if labels is not None else ""), truth)


def view_files(
    paths: Sequence[str | Path], labels: Sequence[Path] = (), field: str = "", truth: str = "",
    select: Mapping[str, Any] | None = None,
) -> View:  # fmt: skip
    """Views of several files side by side, each with its label file where there are some."""
    if labels and len(labels) != len(paths):
        raise InputError(f"labels: {len(labels)} label files for {len(paths)} meshes; give one for each")
    own: Sequence[Path | None] = labels or [None] * len(paths)
    views = [
        view_file(path, labels=one, field=field, truth=truth, select=select)
        for path, one in zip(paths, own, strict=True)
    ]
    if len(views) == 1:
        return views[0]
    named = [replace(one, panels=tuple(replace(p, title=p.title or one.title) for p in one.panels)) for one in views]
    first = named[0]
    if len(labels) > 1 and not field:  # one field, of which each file has its own
        named = [_renamed(one, one.first, "labels") for one in named]
        first = replace(named[0], first="labels")
    return replace(first, title="").beside(*named[1:])


def _renamed(view: View, name: str, to: str) -> View:
    fields = [tuple(replace(f, name=to) if f.name == name else f for f in p.fields) for p in view.panels]
    return replace(view, panels=tuple(replace(p, fields=f) for p, f in zip(view.panels, fields, strict=True)))


def _side_by_side(path: Path, surface: MeshSurface | GlobeSurface, found: list[Field], first: str, truth: str) -> View:
    names = [f.name for f in found]
    for name in (first, truth):
        if name and name not in names:
            raise InputError(f"{path}: no field {name!r}; it has {', '.join(names) or 'none'}")
    if truth and not first:
        raise InputError(f"{path}: truth {truth!r} of which field? give --field or --labels")
    wanted = [f for f in found if f.name in (first, truth)]
    kept = _that_fit(path, surface, wanted + [f for f in found if f.name not in (first, truth)])
    if not truth:
        return View((Panel("", surface, kept),), path.name, first or (names[0] if names else ""))
    right = replace(next(f for f in kept if f.name == truth), name=first)
    if right.kind != next(f for f in kept if f.name == first).kind:
        raise InputError(f"{path}: {truth} is of another kind than {first}; choose arrays that can be compared")
    rest = tuple(f for f in kept if f.name not in (first, truth))
    shown = next(f for f in kept if f.name == first)
    return View((Panel(f"truth: {truth}", surface, (right, *rest)), Panel(first, surface, (shown, *rest))),
                path.name, first)  # fmt: skip


def _that_fit(path: Path, surface: MeshSurface | GlobeSurface, found: Sequence[Field]) -> tuple[Field, ...]:
    """The first fields that a page has room for."""
    room, kept, out = LARGE - _LIBRARY - len(json.dumps(surface.content)), list[Field](), list[str]()
    for one in found:
        size = len(pack(one.values if one.kind == "color" else one.size)["data"]) if one.values.dtype.kind != "U" else 0
        if kept and size > room:
            out.append(one.name)
            continue
        room -= size
        kept.append(one)
    if out:
        log.info("%s: no room for %s; choose one with --field", path, ", ".join(out))
    return tuple(kept)


def _of_mesh(mesh: TriangleMesh) -> Iterator[Field]:
    counts = {"vertices": mesh.num_vertices, "faces": mesh.num_faces}
    for at, data in (("vertices", mesh.vertex_data), ("faces", mesh.face_data)):
        for name, values in _joined(data).items():
            array = np.asarray(values)
            if array.dtype.kind in "biufSUO" and (array.ndim == 1 or (array.ndim == 2 and array.shape[1] in (1, 3, 4))):
                if array.ndim == 2 and array.shape[1] == 4 and array.dtype != np.uint8:
                    continue
                known = f"{name} of faces" if at == "faces" and name in mesh.vertex_data else name
                yield as_field(known, array, {at: counts[at]}, None)


def _joined(data: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Arrays with vectors that a file has as three columns, ``x_0``, ``x_1`` and ``x_2``, in one."""
    found = dict(data)
    for name in list(data):
        stem = re.fullmatch(r"(.+)_0", name)
        parts = [f"{stem[1]}_{k}" for k in range(3)] if stem else []
        if stem and all(p in found for p in parts) and f"{stem[1]}_3" not in found and stem[1] not in found:
            found[stem[1]] = np.stack([found.pop(p) for p in parts], axis=-1)
    return found


def _labels(mesh: TriangleMesh, path: Path, name: str) -> Field:
    """Labels of a file, of the elements of the mesh's file."""
    labels, origin = read_labels(path), mesh.origin
    places: dict[str, tuple[int, NDArray | None]]
    places = {"vertices": (mesh.num_vertices, None), "faces": (mesh.num_faces, None)}
    if origin is not None:
        places = {"vertices": (len(origin.vertex_to), origin.vertex_from),
                  "faces": (len(origin.face_to), origin.face_from)}  # fmt: skip
    for at, (count, place) in places.items():
        if len(labels) == count:
            shown = labels if place is None else labels[place]
            return as_field(name, shown, {at: len(shown)}, None)
    has = " and ".join(f"{count} {at}" for at, (count, _) in places.items())
    raise InputError(f"{path}: {len(labels)} labels, and {mesh.name} has {has}; give one for each vertex or face")


def _of_maps(fields: SphereFields, asked: Sequence[str]) -> Iterator[Field]:
    """Variables that are maps, those that were asked for first; then winds as vectors."""
    names = [name for name in fields.variables if fields.dataset[name].dtype.kind in "fiub"]
    counts = {name: math.prod(_others(fields, name).values()) for name in names}
    for count in dict.fromkeys(counts.values()):
        shown = len(_evenly(fields, count))
        if shown < count:
            which = ", ".join(name for name in names if counts[name] == count)
            log.info("%s: %d of %d steps of %s; choose with --select", fields.path, shown, count, which)
    for name in sorted(names, key=lambda name: name not in asked):
        values, steps = _steps(fields, name)
        flags = fields.dataset[name].attrs
        classes = tuple(str(flags.get("flag_meanings", "")).split())
        if classes and len(np.atleast_1d(flags.get("flag_values", ()))) == len(classes):
            order = np.argsort(np.atleast_1d(flags["flag_values"]), kind="stable")
            sorted_flags = np.atleast_1d(flags["flag_values"])[order].astype(np.float64)
            place = np.minimum(np.searchsorted(sorted_flags, values), len(classes) - 1)
            values = np.where(sorted_flags[place] == values, order[place], -1)
            yield Field(name, "label", "points", values, names=classes, steps=steps)
        else:
            yield Field(name, "scalar", "points", values, fields.unit(name) or "", steps=steps)
    if "label" in names and "probability" in names and "class" in fields.dataset["probability"].dims:
        best = fields.dataset["probability"].max("class", skipna=False)
        if not set(best.dims) - set(fields.dims):
            of_label = replace(fields, dataset=fields.dataset.assign(best=best))
            values = of_label.values("best", allow_missing=True)
            yield Field("probability of the label", "scalar", "points", values[None])
    yield from _winds(fields, names)


def _winds(fields: SphereFields, names: Sequence[str]) -> Iterator[Field]:
    standard = {str(fields.dataset[name].attrs.get("standard_name", "")): name for name in names}
    pairs = [(name, standard.get(what.replace("eastward", "northward"))) for what, name in standard.items()
             if "eastward" in what]  # fmt: skip
    pairs += [pair for pair in _WINDS if set(pair) <= set(names)]
    for east_name, north_name in dict.fromkeys(pairs):
        if north_name is None:
            continue
        (x, steps), (y, _) = _steps(fields, east_name), _steps(fields, north_name)
        try:
            turned = [fields.earth_components((east_name, north_name), a, b) for a, b in zip(x, y, strict=True)]
        except InputError:  # directions are not known; each component is shown
            continue
        frames = fields.grid.frames
        vectors = np.stack([u[:, None] * frames[:, 1] - v[:, None] * frames[:, 0] for u, v in turned])
        yield Field(f"{east_name} and {north_name}", "vector", "points", vectors, fields.unit(east_name) or "",
                    steps=steps)  # fmt: skip


def _steps(fields: SphereFields, name: str) -> tuple[NDArray, tuple[str, ...]]:
    """Values ``[steps, V]`` along the other dimensions, evenly spaced ones where there are many, and their names."""
    sizes = _others(fields, name)
    values, names = [], []
    for step in _evenly(fields, math.prod(sizes.values())):
        at = dict(zip(sizes, map(int, np.unravel_index(step, tuple(sizes.values()))), strict=True)) if sizes else {}
        values.append(fields.values(name, at=at, allow_missing=True))
        names.append(", ".join(_place(fields, dimension, k) for dimension, k in at.items()))
    return np.array(values, dtype=np.float64).reshape(len(values), fields.grid.num_points), tuple(names)


def _others(fields: SphereFields, name: str) -> dict[str, int]:
    """Dimensions besides those of the grid."""
    return {str(d): n for d, n in fields.dataset[name].sizes.items() if d not in fields.dims}


def _evenly(fields: SphereFields, count: int) -> NDArray[np.int64]:
    """Positions of the steps that a page has room for."""
    most = max(1, min(_STEPS, _FIELD // (4 * max(fields.grid.num_points, 1))))
    return np.unique(np.round(np.linspace(0, count - 1, min(count, most))).astype(np.int64))


def _place(fields: SphereFields, dimension: str, position: int) -> str:
    if dimension not in fields.dataset.coords:
        return f"{dimension} {position}"
    return f"{dimension} {str(fields.dataset[dimension].values[position]).removesuffix('.000000000')}"
