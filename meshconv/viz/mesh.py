"""Pictures of triangle meshes: shaded orthographic views by the painter's algorithm."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure

from meshconv.errors import InputError
from meshconv.viz.relief import Mesh, relief, vertex_normals
from meshconv.viz.sphere import zone_colors

__all__ = ["RIGHT", "WRONG", "contact_sheet", "draw_mesh"]

#: Colours of right and wrong predictions.
RIGHT, WRONG = "#1a7f37", "#cf222e"
_CLAY = "#c3ccd6"
_RELIEF = LinearSegmentedColormap.from_list("relief", ["#1f5fbf", "#8fb3e0", "#d9dde2", "#f0b27a", "#d9601a"])
# Light from the upper left front, and how much of it reaches faces turned away (no face is black).
_LIGHT = np.array([-0.45, 0.65, 0.62])
_AMBIENT = 0.42
_AZIMUTH, _ELEVATION = 18.0, 14.0
# Share of the vertex normals in a face's normal: looks smooth without hiding the faces.
_SMOOTH = 0.75


def view_rotation(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Rotation [3, 3] to a view of the broad side: rows right, up and towards the eye.

    The axes are the principal axes of the surface, faces weighed by area: the longest to the right,
    the shortest towards the eye. Signs follow the third moments, so that the picture does not
    depend on how the mesh lay in space.
    """
    corners = vertices[faces]
    weight = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    total = max(float(weight.sum()), np.finfo(np.float64).tiny)
    middle = corners.mean(axis=1)
    middle = middle - weight @ middle / total
    _, axes = np.linalg.eigh((middle * weight[:, None]).T @ middle / total)
    rotation = axes.T[::-1].copy()
    skew = weight @ (middle @ rotation.T) ** 3
    rotation[skew < 0] *= -1
    if np.linalg.det(rotation) < 0:
        rotation[2] *= -1
    return rotation


def _turned(azimuth: float, elevation: float) -> np.ndarray:
    a, e = np.deg2rad([azimuth, elevation])
    around = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    over = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    return over @ around


def default_rotation(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Rotation of the usual picture: :func:`view_rotation`, a little from the side and from above."""
    return _turned(_AZIMUTH, _ELEVATION) @ view_rotation(vertices, faces)


def draw_mesh(
    ax: Axes,
    mesh: Mesh,
    *,
    values: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    colors: Sequence[str] | None = None,
    color: str = _CLAY,
    cmap: str | Colormap = "viridis",
    limits: tuple[float, float] | None = None,
    rotation: np.ndarray | None = None,
    azimuth: float = _AZIMUTH,
    elevation: float = _ELEVATION,
) -> PolyCollection:
    """Draw a mesh with shading.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its axes are switched off and its limits fit the mesh, whatever its size.
    mesh : Mesh
        ``vertices`` [V, 3] and ``faces`` [F, 3].
    values : float array [V] or [F], optional
        Scalar coloured by ``cmap``; NaN keeps ``color``.
    labels : int array [V] or [F], optional
        Category numbers from 0, coloured by ``colors`` or the default palette.
    color : str
        Colour of a mesh without values.
    limits : (float, float), optional
        Values at the ends of ``cmap``; default the 1st and 99th percentile.
    rotation : array [3, 3], optional
        Rows right, up, towards the eye; default :func:`view_rotation`.
    azimuth, elevation : float
        Further turn of the view in degrees.

    Returns
    -------
    matplotlib.collections.PolyCollection
        One polygon per face, back to front.

    Raises
    ------
    InputError
        If values or labels have neither one entry per vertex nor one per face.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> triangle = SimpleNamespace(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    >>> len(draw_mesh(Figure().add_subplot(), triangle).get_paths())
    1
    """
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    base = view_rotation(vertices, faces) if rotation is None else rotation
    points = vertices @ (_turned(azimuth, elevation) @ base).T
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) / max(float((high - low)[:2].max()), 1e-300)

    rgb = _face_colors(values, labels, colors, color, cmap, limits, len(vertices), faces)
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    behind = normal[:, 2] < 0
    normal = (1 - _SMOOTH) * normal + _SMOOTH * vertex_normals(points, faces)[0][faces].mean(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    # A face seen from behind (an open mesh) is lit on the side that shows.
    normal[behind] *= -1
    light = np.clip(normal @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    shade = _AMBIENT + (1 - _AMBIENT) * light
    gloss = 0.18 * light**18
    rgb = np.clip(rgb * shade[:, None] * 1.12 + gloss[:, None], 0, 1)

    order = np.argsort(corners[:, :, 2].mean(axis=1))
    # Edges in the face's own colour close the hairlines that antialiasing leaves.
    polygons = PolyCollection(list(corners[order, :, :2]), facecolors=rgb[order], edgecolors=rgb[order], linewidths=0.3)
    ax.add_collection(polygons)
    ax.set(xlim=(-0.55, 0.55), ylim=(-0.55, 0.55))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return polygons


def _face_colors(
    values: np.ndarray | None,
    labels: np.ndarray | None,
    colors: Sequence[str] | None,
    color: str,
    cmap: str | Colormap,
    limits: tuple[float, float] | None,
    num_vertices: int,
    faces: np.ndarray,
) -> np.ndarray:
    rgb = np.tile(to_rgb(color), (len(faces), 1))
    given = values if values is not None else labels
    if given is None:
        return rgb
    given = np.asarray(given)
    if given.shape not in ((num_vertices,), (len(faces),)):
        raise InputError(
            f"values: shape {given.shape} for {num_vertices} vertices and {len(faces)} faces, "
            "give one value for each vertex or each face"
        )
    per_face = given if given.shape == (len(faces),) else None
    if values is not None:
        scalar = np.asarray(given[faces].mean(axis=1) if per_face is None else per_face, dtype=float)
        known = np.isfinite(scalar)
        if known.any():
            ends = np.percentile(scalar[known], [1, 99]) if limits is None else limits
            scale = matplotlib.colormaps[cmap] if isinstance(cmap, str) else cmap
            rgb[known] = scale(Normalize(*ends)(scalar[known]))[:, :3]
        return rgb
    # A face takes the label of most of its vertices, else of the first.
    if per_face is None:
        a, b, c = given[faces].T
        per_face = np.where(b == c, b, a)
    palette = zone_colors([str(i) for i in range(int(per_face.max()) + 1)]) if colors is None else colors
    return np.array([to_rgb(c) for c in palette])[per_face]


def _shows_more_from_behind(mesh: Mesh, height: np.ndarray) -> bool:
    """Whether the far side of the default view has more relief than the near one."""
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    eye = default_rotation(vertices, faces)[2]
    facing = vertex_normals(vertices, faces)[0] @ eye
    # A rim shows as a silhouette from both sides: what faces the eye counts, by its square.
    return bool((height**2 * np.sign(facing) * facing**2).sum() < 0)


def contact_sheet(
    meshes: Sequence[Mesh],
    titles: Sequence[str],
    colors: Sequence[str],
    *,
    columns: int = 8,
    notes: Sequence[str] | None = None,
    show_relief: bool = True,
    cell: float = 1.35,
) -> Figure:
    """Grid of meshes with a line of text under each.

    Parameters
    ----------
    meshes : sequence of Mesh
    titles : sequence of str
        Text under each mesh: its predicted class.
    colors : sequence of str
        Colour of each title, such as :data:`RIGHT` or :data:`WRONG`.
    columns : int
        Meshes in a row.
    notes : sequence of str, optional
        A second, smaller line: for instance the true class where the prediction is wrong.
    show_relief : bool
        Colour the meshes by :func:`relief`: orange where it is high, blue where it is low.
    cell : float
        Width of a cell in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the numbers of meshes, titles, colours and notes differ.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> triangle = SimpleNamespace(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    >>> len(contact_sheet([triangle] * 3, ["a", "b", "c"], [RIGHT] * 3, columns=2).axes)
    3
    """
    notes = [""] * len(meshes) if notes is None else notes
    if not len(meshes) == len(titles) == len(colors) == len(notes):
        counts = (len(meshes), len(titles), len(colors), len(notes))
        raise InputError(f"titles: {counts} meshes, titles, colors and notes, expected one of each")
    columns = max(1, min(columns, len(meshes)))
    rows = -(-len(meshes) // columns)
    figure = Figure(figsize=(columns * cell, max(rows, 1) * cell * 1.22))
    for i, mesh in enumerate(meshes):
        row, column = divmod(i, columns)
        box = (column / columns, 1 - (row + 0.82) / rows, 1 / columns, 0.82 / rows)
        ax = figure.add_axes(box)
        if show_relief:
            height = relief(mesh)
            end = max(float(np.percentile(np.abs(height), 97)), 1e-12)
            back = 180.0 if _shows_more_from_behind(mesh, height) else 0.0
            draw_mesh(ax, mesh, values=height, cmap=_RELIEF, limits=(-end, end), azimuth=_AZIMUTH + back)
        else:
            draw_mesh(ax, mesh)
        x, y = (column + 0.5) / columns, 1 - (row + 0.83) / rows
        figure.text(x, y, titles[i], color=colors[i], fontsize=8, ha="center", va="top", weight="bold")
        figure.text(x, y - 0.085 / rows, notes[i], color=colors[i], fontsize=6.5, ha="center", va="top")
    return figure
