"""Figures of docs/concepts.md: gauges, holonomy, kernels.

    python docs/images/concepts.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from meshconv import HealpixSphere
from meshconv.geometry import PointSphere
from meshconv.geometry.sphere.frames import sphere_edges

_EYE = np.array([0.55, -0.65, 0.52])
_FIRST, _SECOND, _FIELD = "#cc3311", "#0077bb", "#222222"


def _axes(center: np.ndarray) -> np.ndarray:
    """Rows right, up, towards the eye."""
    eye = center / np.linalg.norm(center)
    right = np.cross([0.0, 0.0, 1.0], eye)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(eye, right), eye])


def _globe(ax: Axes, view: np.ndarray) -> None:
    ax.add_patch(Circle((0, 0), 1, facecolor="#eef1f3", edgecolor="#8899a6", linewidth=1))
    turn = np.linspace(0, 2 * np.pi, 181)
    for lat in np.deg2rad(np.arange(-60, 61, 30)):
        ring = np.stack([np.cos(lat) * np.cos(turn), np.cos(lat) * np.sin(turn), np.full_like(turn, np.sin(lat))], 1)
        _line(ax, ring @ view.T, "#c9d2d8", 0.6)
    for lon in np.deg2rad(np.arange(0, 180, 30)):
        ring = np.stack([np.cos(turn) * np.cos(lon), np.cos(turn) * np.sin(lon), np.sin(turn)], 1)
        _line(ax, ring @ view.T, "#c9d2d8", 0.6)
    ax.set_xlim(-1.05, 1.05)
    ax.set_ylim(-1.05, 1.05)
    ax.set_aspect("equal")
    ax.axis("off")


def _line(ax: Axes, seen: np.ndarray, color: str, width: float) -> None:
    shown = np.where(seen[:, 2:] > 0, seen[:, :2], np.nan)
    ax.plot(shown[:, 0], shown[:, 1], color=color, linewidth=width)


def _arrows(ax: Axes, points: np.ndarray, vectors: np.ndarray, view: np.ndarray, color: str, width: float) -> None:
    place, arrow = points @ view.T, vectors @ view.T
    front = place[:, 2] > 0.12
    ax.quiver(
        *place[front, :2].T, *arrow[front, :2].T, angles="xy", scale_units="xy", scale=1, color=color, width=width
    )


def gauges() -> Figure:
    """One tangent field in two gauges: the arrows stay, their components change."""
    figure = Figure(figsize=(7.2, 3.9), dpi=110, layout="constrained")
    graph, view, names = HealpixSphere(4).gauge_graph(), _axes(_EYE), ("south and east", "turned at each point")
    angle = torch.from_numpy(np.random.default_rng(0).uniform(-np.pi, np.pi, graph.num_vertices))
    normal = graph.frames[:, 2].numpy()
    flow = 0.22 * np.cross(np.array([0.3, 0.2, 1.0]), normal)
    shown = int(np.argmax(normal @ (_EYE / np.linalg.norm(_EYE))))
    for ax, now, name in zip(
        figure.subplots(1, 2), (graph, graph.change_gauge(angle)), names, strict=True
    ):
        frames = now.frames.numpy()
        _globe(ax, view)
        _arrows(ax, normal, 0.13 * frames[:, 0], view, _FIRST, 0.005)
        _arrows(ax, normal, 0.13 * frames[:, 1], view, _SECOND, 0.005)
        _arrows(ax, normal, flow, view, _FIELD, 0.007)
        ax.plot(*(view @ normal[shown])[:2], "o", markersize=9, markerfacecolor="none", color=_FIELD)
        first, second = frames[shown, :2] @ flow[shown]
        ax.set_title(f"frames: {name}\nthe marked vector is ({first:+.2f}, {second:+.2f})", fontsize=9)
    return figure


def holonomy() -> Figure:
    """A vector carried round an octant comes back turned by its area."""
    figure = Figure(figsize=(3.8, 3.9), dpi=110, layout="constrained")
    ax, view = figure.add_subplot(), _axes(np.array([1.0, 1.0, 0.9]))
    corners, steps = np.eye(3), 12
    leg = np.linspace(0, np.pi / 2, steps, endpoint=False)[:, None]
    path = np.concatenate([np.cos(leg) * corners[k] + np.sin(leg) * corners[(k + 1) % 3] for k in range(3)])
    sphere = PointSphere(path)
    frames = sphere.frames
    round_about = np.append(np.arange(len(path)), 0)
    src, dst = round_about[:-1], round_about[1:]
    _, _, transporter = sphere_edges(path, frames, path, frames, src, dst)
    turned = np.concatenate([[0.0], np.cumsum(transporter)]) + 0.4
    carried = np.cos(turned)[:, None] * frames[round_about, 0] + np.sin(turned)[:, None] * frames[round_about, 1]
    _globe(ax, view)
    _line(ax, path[round_about] @ view.T, "#8899a6", 1.5)
    _arrows(ax, path[round_about[:-1:2]], 0.26 * carried[:-1:2], view, _FIRST, 0.008)
    _arrows(ax, path[:1], 0.26 * carried[:1], view, _FIELD, 0.012)
    _arrows(ax, path[:1], 0.26 * carried[-1:], view, _SECOND, 0.012)
    degrees = np.rad2deg(transporter.sum()) % 360
    ax.set_title(f"black: start, blue: after the loop\nturned by {degrees:.0f} degrees, the octant's area", fontsize=9)
    return figure


def kernels() -> Figure:
    """Kernels that equivariance allows, one for each angular frequency."""
    figure = Figure(figsize=(7.2, 2.1), dpi=110, layout="constrained")
    x, y = np.meshgrid(np.linspace(-1, 1, 201), np.linspace(-1, 1, 201))
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    window = np.where(radius < 1, (1 - radius**2) ** 2, 0)
    rows = (
        (r"$0 \to 0$: 1", window),
        (r"$0 \to 1$: $\cos\theta$", radius * window * np.cos(angle)),
        (r"$0 \to 2$, $1 \to 1$: $\cos 2\theta$", radius**2 * window * np.cos(2 * angle)),
        (r"$1 \to 2$: $\cos 3\theta$", radius**3 * window * np.cos(3 * angle)),
    )
    for ax, (name, kernel) in zip(figure.subplots(1, 4), rows, strict=True):
        peak = np.abs(kernel).max()
        shown = np.where(radius < 1, kernel / peak, np.nan)
        ax.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower", extent=(-1, 1, -1, 1))
        ax.set_title(name, fontsize=10)
        ax.axis("off")
    return figure


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    for draw in (gauges, holonomy, kernels):
        draw().savefig(folder / f"concept_{draw.__name__}.png", bbox_inches="tight")  # titles of axes that are off


if __name__ == "__main__":
    main()
