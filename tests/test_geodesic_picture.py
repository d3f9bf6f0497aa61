"""The depth buffer, and the picture of geodesic circles."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import icosphere

from meshconv import InputError, Neighbourhood
from meshconv.viz import geodesic_picture
from meshconv.viz.raster import rasterize


def test_every_pixel_of_a_square_belongs_to_one_triangle_and_values_are_linear() -> None:
    points = np.array([[1.0, 2, 0], [9, 2, 0], [9, 7, 4], [1, 7, 4]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    raster = rasterize(points, faces, 12, 10)
    row, column = np.divmod(raster.pixel, 12)
    assert len(raster.pixel) == 8 * 5
    assert (row.min(), row.max(), column.min(), column.max()) == (2, 6, 1, 8)
    np.testing.assert_allclose(raster.interpolate(points[:, 0], faces), column + 0.5, atol=1e-12)
    np.testing.assert_allclose(raster.interpolate(points, faces)[:, 1], row + 0.5, atol=1e-12)


def test_the_nearer_face_shows_whichever_comes_first() -> None:
    points = np.array([[0.0, 0, 1], [8, 0, 1], [0, 8, 1], [0, 0, 0], [8, 0, 2], [0, 8, 2]])
    near, far = np.array([[0, 1, 2]]), np.array([[3, 5, 4]])
    for faces, first in ((np.vstack([near, far]), 0), (np.vstack([far, near]), 1)):
        raster = rasterize(points, faces, 8, 8)
        row, column = np.divmod(raster.pixel, 8)
        shown, meet = raster.face == first, column + row + 1 == 4
        # The second face rises from 0 at the corner to 2 at the far edge: they meet on x + y = 4.
        np.testing.assert_array_equal(shown[~meet], (column + row + 1 < 4)[~meet])


def test_what_lies_outside_is_cut_off_and_edges_on_cover_nothing() -> None:
    points = np.array([[-50.0, -50, 0], [100, -50, 0], [-50, 100, 0], [3, 3, 1]])
    assert len(rasterize(points, np.array([[0, 1, 2], [3, 3, 3]]), 6, 4).pixel) == 24
    assert len(rasterize(points + 500, np.array([[0, 1, 2]]), 6, 4).pixel) == 0


def test_circles_lie_where_the_closed_form_says() -> None:
    mesh = icosphere(3)
    centre = int(mesh.vertices[:, 2].argmax())
    picture = geodesic_picture(
        mesh, mesh.gauge_graph(Neighbourhood(radius=0.25)), [centre], rotation=np.eye(3), width=300, height=300
    )
    assert picture.shape == (300, 300, 3)
    assert picture.dtype == np.uint8
    assert (picture[0, 0] == 255).all()
    row, column = np.indices((300, 300))
    x, y = (2 * column - 299) / 291, (299 - 2 * row) / 291
    inside = x**2 + y**2 < 0.9
    z = np.sqrt(np.where(inside, 1 - x**2 - y**2, 0))
    distance = np.arccos(np.clip(np.stack([x, y, z], -1) @ mesh.vertices[centre], -1, 1))
    # Five circles at equal steps; arrows, rays and triangles are of lighter colours.
    dark = (picture.max(axis=2) < 90) & inside & (distance < 1)
    outer = np.median(distance[dark & (distance > 0.9 * distance[dark].max())])
    assert 0.6 < outer < 0.25 * np.sqrt(4 * np.pi)
    step = distance[dark] / (outer / 5)
    assert np.mean(np.abs(step - np.rint(step)) < 0.2) > 0.9
    assert set(np.rint(step).astype(int)) >= {1, 2, 3, 4, 5}


def test_centres_without_neighbours() -> None:
    mesh = icosphere(1)
    graph = mesh.gauge_graph(Neighbourhood(radius=0.3))
    for centres in ([], [42], [-1]):
        with pytest.raises(InputError, match="choose vertices that have neighbours"):
            geodesic_picture(mesh, graph, centres, rotation=np.eye(3))
