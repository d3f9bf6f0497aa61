"""Pictures of triangle meshes: shaded orthographic views by the painter's algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from meshconv.errors import InputError
from meshconv.viz.colors import VIRIDIS, Categorical, Continuous
from meshconv.viz.relief import Mesh, relief, vertex_normals

__all__ = ["RIGHT", "WRONG", "MeshView", "contact_sheet", "draw_mesh", "view_rotation"]

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


@dataclass(frozen=True)
class MeshView:
    """Direction from which a mesh is seen.

    Parameters
    ----------
    rotation : array [3, 3], optional
        Rows right, up, towards the eye; default :func:`view_rotation`.
    azimuth, elevation
        Further turn in degrees.
    """

    rotation: np.ndarray | None = None
    azimuth: float = _AZIMUTH
    elevation: float = _ELEVATION

    def of(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Rotation ``[3, 3]`` of a mesh."""
        a, e = np.deg2rad([self.azimuth, self.elevation])
        around = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        over = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
        return over @ around @ (view_rotation(vertices, faces) if self.rotation is None else self.rotation)


_BROAD_SIDE = MeshView()


def draw_mesh(
    ax: Axes,
    mesh: Mesh,
    values: np.ndarray | None = None,
    *,
    colors: Continuous | Categorical = VIRIDIS,
    plain: str = _CLAY,
    view: MeshView = _BROAD_SIDE,
) -> PolyCollection:
    """Draw a mesh with shading.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its axes are switched off and its limits fit the mesh, whatever its size.
    mesh : Mesh
        ``vertices`` [V, 3] and ``faces`` [F, 3].
    values : array [V] or [F], optional
        Numbers or, with categorical colours, category numbers from 0. NaN keeps ``plain``.
    colors
        How they become colours.
    plain
        Colour of a mesh without values.
    view
        Direction.

    Returns
    -------
    matplotlib.collections.PolyCollection
        One polygon per face, back to front.

    Raises
    ------
    InputError
        If values have neither one entry per vertex nor one per face, or categories have too few colours.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> triangle = SimpleNamespace(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    >>> len(draw_mesh(Figure().add_subplot(), triangle).get_paths())
    1
    """
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    points = vertices @ view.of(vertices, faces).T
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) / max(float((high - low)[:2].max()), 1e-300)

    rgb = np.tile(to_rgb(plain), (len(faces), 1))
    if values is not None:
        per_face = _at_faces(np.asarray(values), len(vertices), faces, isinstance(colors, Categorical))
        known = np.isfinite(per_face)
        rgb[known] = colors.rgb(per_face[known])
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


def _at_faces(values: np.ndarray, num_vertices: int, faces: np.ndarray, categorical: bool) -> np.ndarray:
    """Values of the faces, float ``[F]``: the mean of the corners; or the category of most of them, or of the first."""
    if values.shape not in ((num_vertices,), (len(faces),)):
        raise InputError(
            f"values: shape {values.shape} for {num_vertices} vertices and {len(faces)} faces, "
            "give one value for each vertex or each face"
        )
    values = values.astype(np.float64)
    if values.shape == (len(faces),):
        return values
    a, b, c = values[faces].T
    return np.where(b == c, b, a) if categorical else values[faces].mean(axis=1)


def _shows_more_from_behind(mesh: Mesh, height: np.ndarray) -> bool:
    """Whether the far side of the default view has more relief than the near one."""
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    eye = MeshView().of(vertices, faces)[2]
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
            draw_mesh(ax, mesh, height, colors=Continuous(_RELIEF, (-end, end)), view=MeshView(azimuth=_AZIMUTH + back))
        else:
            draw_mesh(ax, mesh)
        x, y = (column + 0.5) / columns, 1 - (row + 0.83) / rows
        figure.text(x, y, titles[i], color=colors[i], fontsize=8, ha="center", va="top", weight="bold")
        figure.text(x, y - 0.085 / rows, notes[i], color=colors[i], fontsize=6.5, ha="center", va="top")
    return figure
