"""Latitude-longitude grids, arbitrary points, and regridding between all kinds of grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial import SphericalVoronoi

from meshconv import HealpixSphere, InputError
from meshconv.geometry import LatLonGrid, PointSphere, Regridder, icosahedral_sphere
from meshconv.geometry.sphere.delaunay import DelaunayPoints
from meshconv.geometry.sphere.points import distinct_points


def global_grid(rows: int = 60, north_first: bool = False, start: float = 0.0, poles: bool = False) -> LatLonGrid:
    step = 180 / rows
    lat = np.linspace(-90, 90, rows + 1) if poles else np.arange(rows) * step - 90 + step / 2
    return LatLonGrid(lat[::-1] if north_first else lat, start + np.arange(2 * rows) * step)


def scattered(count: int = 3000) -> PointSphere:
    return PointSphere(np.random.default_rng(0).normal(size=(count, 3)))


GRIDS = {
    "north first": lambda: global_grid(north_first=True),
    "from -180": lambda: global_grid(start=-180.0),
    "with poles": lambda: global_grid(poles=True),
    "healpix": lambda: HealpixSphere(16),
    "healpix ring": lambda: HealpixSphere(15, "ring"),
    "icosahedral": lambda: icosahedral_sphere(4),
    "scattered": scattered,
}


def smooth(xyz: np.ndarray) -> np.ndarray:
    x, y, z = xyz.T
    return 1 + x - 0.5 * y * z + 0.7 * z**2


def rotation_field(xyz: np.ndarray) -> np.ndarray:
    """Solid rotation about a slanted axis: smooth across both poles, where its east component is not."""
    return np.cross([0.6, -0.3, 0.2], xyz)


@pytest.mark.parametrize("name", GRIDS)
def test_areas_cover_the_sphere_and_cells_contain_their_points(name):
    grid = GRIDS[name]()
    assert grid.areas.sum() == pytest.approx(4 * np.pi, rel=1e-9)
    assert (grid.areas > 0).all()
    located = grid.locate(grid.xyz)
    same_place = np.linalg.norm(grid.xyz[located] - grid.xyz, axis=1) < 1e-12  # all of a pole's row is one point
    assert same_place.all()
    np.testing.assert_allclose(np.linalg.det(grid.frames), 1, atol=1e-12)


def in_a_wedge() -> np.ndarray:
    """Points of an eighth of a turn with both poles: an edge of their convex hull runs from pole to pole."""
    xyz = np.abs(np.random.default_rng(1).normal(size=(40, 3))) * [1, 1, 0.5]
    return np.concatenate([xyz, [[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 1, 0]]])


@pytest.mark.parametrize(
    "xyz",
    [
        np.random.default_rng(0).normal(size=(500, 3)),
        np.random.default_rng(0).normal(size=(5, 3)),
        np.random.default_rng(0).normal(size=(20, 3)) * 0.1 + [1, 1, 1],
        global_grid(12).xyz,
        in_a_wedge(),
    ],
    ids=["scattered", "five", "region", "rows", "wedge"],
)
def test_cells_are_those_of_the_voronoi_diagram(xyz):
    """With SciPy's, cut along its regions."""
    xyz = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
    wanted = SphericalVoronoi(xyz, threshold=1e-8).calculate_areas()
    found = DelaunayPoints(xyz, np.zeros((len(xyz), 3, 3))).cells
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert found.sum() == pytest.approx(4 * np.pi, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(GRIDS, 2)))
def test_scalars_and_vectors_between_all_grids(a, b):
    source, target = GRIDS[a](), GRIDS[b]()
    regrid = Regridder(source, target)
    assert np.abs(regrid.weights.sum(axis=1) - 1).max() < 1e-12
    error = np.abs(regrid(smooth(source.xyz)) - smooth(target.xyz)).max()
    assert error < (0.13 if a == "scattered" else 0.02)
    given = np.einsum("vi,vki->vk", rotation_field(source.xyz), source.frames[:, :2])
    wanted = np.einsum("vi,vki->vk", rotation_field(target.xyz), target.frames[:, :2])
    assert np.abs(regrid.vectors(given) - wanted).max() < (0.1 if a == "scattered" else 0.01)


def test_components_alone_would_fail_at_the_pole():
    """The control: interpolating east and south as numbers is wrong by the size of the field next to the poles."""
    source, target = global_grid(30), HealpixSphere(32)
    given = np.einsum("vi,vki->vk", rotation_field(source.xyz), source.frames[:, :2])
    wanted = np.einsum("vi,vki->vk", rotation_field(target.xyz), target.frames[:, :2])
    regrid = Regridder(source, target)
    by_component = np.stack([regrid(given[:, k]) for k in range(2)], axis=-1)
    assert np.abs(by_component - wanted).max() > 20 * np.abs(regrid.vectors(given) - wanted).max()


@pytest.mark.parametrize("kind", ["latlon", "healpix", "icosahedral"])
def test_bilinear_converges_to_second_order(kind):
    target = scattered()
    errors = []
    for k in (0, 1):
        source = {"latlon": global_grid(30 * 2**k), "healpix": HealpixSphere(8 * 2**k),
                  "icosahedral": icosahedral_sphere(3 + k)}[kind]  # fmt: skip
        error = Regridder(source, target)(smooth(source.xyz)) - smooth(target.xyz)
        errors.append(np.sqrt((error**2).mean()))
    assert np.log2(errors[0] / errors[1]) > 1.7


@pytest.mark.parametrize(
    ("a", "b"),
    [("north first", "healpix"), ("healpix", "from -180"), ("scattered", "healpix"), ("icosahedral", "with poles")],
)
def test_conservative_keeps_integrals(a, b):
    source, target = GRIDS[a](), GRIDS[b]()
    # Something that hardly any interpolation keeps: different in every cell.
    values = np.random.default_rng(1).normal(size=source.num_points) + 1
    regrid = Regridder(source, target, "conservative", samples=64)
    mean = (values * source.areas).sum() / (4 * np.pi)
    kept = (regrid(values) * target.areas).sum() / (4 * np.pi)
    assert kept == pytest.approx(mean, abs=2e-3)
    assert Regridder(source, target, "conservative")(np.ones(source.num_points)) == pytest.approx(1)


def test_interpolation_to_a_coarser_grid_would_not_keep_integrals():
    """The control: most cells of the source have no part in it."""
    source, target = HealpixSphere(32), global_grid(9)
    values = np.random.default_rng(1).normal(size=source.num_points) + 1
    mean = (values * source.areas).sum() / (4 * np.pi)
    lost = [
        abs((Regridder(source, target, method)(values) * target.areas).sum() / (4 * np.pi) - mean)
        for method in ("bilinear", "conservative")
    ]
    assert lost[0] > 10 * lost[1]


def test_majority_of_labels():
    source, target = HealpixSphere(32), HealpixSphere(8)
    labels = np.random.default_rng(2).integers(0, 3, source.npix)
    labels[:16] = -1
    labels[16:32] = [7] * 5 + [2] * 5 + [-1] * 6
    regrid = Regridder(source, target, "conservative")
    found = regrid.majority(labels)
    children = labels.reshape(-1, 16)
    expected = [np.bincount(c[c >= 0], minlength=8).argmax() if (c >= 0).any() else -1 for c in children]
    assert (found == expected).all() and found[0] == -1 and found[1] == 2
    stacked = regrid.majority(np.stack([labels, labels[::-1]]))
    assert stacked.shape == (2, 768) and (stacked[0] == expected).all()


def test_missing_values_are_left_out_and_stay_missing():
    source, target = global_grid(30), HealpixSphere(16)
    land = smooth(source.xyz)
    land[source.xyz[:, 0] > 0.2] = np.nan
    found = Regridder(source, target)(np.stack([land, smooth(source.xyz)]))
    missing = np.isnan(found[0])
    assert not np.isnan(found[1]).any()
    assert missing[target.xyz[:, 0] > 0.3].all() and not missing[target.xyz[:, 0] < 0.1].any()
    np.testing.assert_allclose(found[0, ~missing], smooth(target.xyz)[~missing], atol=0.08)


def test_regions_stay_regions():
    grid = LatLonGrid(np.arange(30, 61, 2.0), np.arange(-20, 41, 2.0))
    assert not grid.is_periodic and grid.areas.sum() == pytest.approx(
        np.radians(62) * (np.sin(np.radians(61)) - np.sin(np.radians(29)))
    )
    points = PointSphere(grid.xyz)
    target = HealpixSphere(32)
    lat, lon = 90 - np.degrees(target.theta), (np.degrees(target.phi) + 180) % 360 - 180
    inside = (lat > 31) & (lat < 59) & (lon > -19) & (lon < 39)
    outside = (lat < 20) | (lat > 70) | (lon < -45) | (lon > 65)
    for source in (grid, points):
        for method in ("bilinear", "nearest"):
            found = Regridder(source, target, method)(smooth(source.xyz))
            assert np.isnan(found[outside]).all()
            np.testing.assert_allclose(found[inside], smooth(target.xyz)[inside], atol=0.06)
    points.gauge_graph().validate()
    assert points.gauge_graph().log_radius.max() < np.radians(12)
    assert points.areas.sum() == pytest.approx(grid.areas.sum(), rel=0.2)


def test_order_of_rows_and_columns_does_not_matter():
    target, values = HealpixSphere(16), None
    lat, lon = np.arange(-87.5, 90, 5), np.arange(2.5, 360, 5)
    for la in (lat, lat[::-1]):
        for lo in (lon, (lon + 180) % 360 - 180, np.roll(lon, 13), np.append(lon, lon[0] + 360)):
            grid = LatLonGrid(la, lo)
            found = Regridder(grid, target)(smooth(grid.xyz))
            values = found if values is None else values
            np.testing.assert_allclose(found, values, atol=1e-12)


def test_point_graphs():
    sphere = icosahedral_sphere(3)
    graph = sphere.gauge_graph()
    graph.validate()
    assert sorted(set(graph.dst_ptr.diff().tolist())) == [5, 6] and int((graph.dst_ptr.diff() == 5).sum()) == 12
    around = sphere.gauge_graph(radius=0.3)
    around.validate()
    assert around.log_radius.max() <= 0.3 + 1e-12
    near = (torch.from_numpy(sphere.xyz) @ torch.from_numpy(sphere.xyz).T) > np.cos(0.3)
    assert around.num_edges == int(near.sum()) - sphere.num_points
    assert float(around.scale[0]) == 0.15
    assert len(sphere.triangles) == 2 * sphere.num_points - 4


def circle(tilt: bool, height: float = 0.0, turn: float = 2 * np.pi) -> np.ndarray:
    t = np.arange(100) * turn / 100
    xyz = np.stack([np.cos(t), np.sin(t), np.full(100, height)], axis=-1)
    return xyz @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] if tilt else xyz


CIRCLES = [circle(False), circle(True), circle(True, 0.7), circle(True, turn=2.0), circle(True).astype("f4")]


@pytest.mark.parametrize("points", CIRCLES)
def test_points_on_one_circle_have_no_areas(points):
    for use in (lambda grid: grid.areas, lambda grid: grid.gauge_graph(), lambda grid: grid.hierarchy(2)):
        with pytest.raises(InputError, match="all 100 points lie on one circle"):
            use(PointSphere(points))


@pytest.mark.parametrize("tilt", [False, True])
def test_areas_of_a_hemisphere(tilt):
    whole = icosahedral_sphere(5)
    part = whole.xyz @ (np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] if tilt else np.eye(3))
    keep = whole.xyz[:, 2] >= -1e-9
    areas = PointSphere(part[keep]).areas
    # Cells on the rim reach beyond it.
    inner = whole.xyz[keep][:, 2] > 0.1
    np.testing.assert_allclose(areas[inner], whole.areas[keep][inner], rtol=1e-9)
    assert areas.sum() == pytest.approx(2 * np.pi, rel=0.05)


@pytest.mark.parametrize("apart", [0.0, 1e-8, 1e-7, 1e-6])
def test_copies_are_what_rounding_sets_apart(apart):
    rng = np.random.default_rng(0)
    xyz = icosahedral_sphere(3).xyz[rng.permutation(642)]
    copied = rng.permutation(642)[:50]
    moved = xyz[copied] + apart * rng.normal(size=(50, 3)) / 2
    points = np.concatenate([xyz, moved / np.linalg.norm(moved, axis=1, keepdims=True)])
    first, point = distinct_points(points)
    np.testing.assert_array_equal(first, np.arange(642))
    np.testing.assert_array_equal(point, [*range(642), *copied])
    # What a grid is fine enough to hold is none.
    close = xyz[:1] + 1e-4 * rng.normal(size=(200, 3))
    assert len(distinct_points(close / np.linalg.norm(close, axis=1, keepdims=True))[0]) == 200
    metres = xyz[:1] + np.stack(np.meshgrid([0], np.arange(30), np.arange(30), indexing="ij"), -1).reshape(-1, 3) * 8e-7
    assert len(distinct_points(metres / np.linalg.norm(metres, axis=1, keepdims=True))[0]) == 900


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_columns_that_go_on_after_the_circle_is_closed(dtype):
    once = LatLonGrid(np.arange(-87.5, 90, 5), 73.3 + 3.0 * np.arange(120))
    more = LatLonGrid(once.lat_deg, (73.3 + 3.0 * np.arange(123)).astype(dtype))
    assert more.is_periodic
    areas = more.areas.reshape(more.shape)
    np.testing.assert_allclose(areas[:, :120], once.areas.reshape(once.shape), rtol=1e-4)
    assert not areas[:, 120:].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LatLonGrid([0, 10, 5], [0, 1]), "neither ascend nor descend"),
        (lambda: LatLonGrid([0, 95], [0, 1]), "latitude 95 is out of"),
        (lambda: LatLonGrid([0, 10], [0, 10, 10, 20]), "longitude 10 degrees occurs twice"),
        (lambda: LatLonGrid([0, np.nan], [0, 10]), "1 latitudes are not finite"),
        (lambda: LatLonGrid([0], [0, 10]), "at least two"),
        (lambda: PointSphere(np.zeros((5, 3))), r"point 0 is \[0.0, 0.0, 0.0\]"),
        (lambda: PointSphere(np.eye(3)), "at least four"),
        (lambda: PointSphere(np.eye(3)[[0, 1, 2, 0, 1]]), "points 0 and 3 are in the same place"),
        (lambda: PointSphere.from_lat_lon([0, 1], [0]), "one of each per point"),
        (lambda: PointSphere.from_lat_lon([100.0] * 4, [0, 1, 2, 3]), "latitude 100 is out"),
        (lambda: icosahedral_sphere(12), "level 12"),
        (lambda: Regridder(HealpixSphere(2), HealpixSphere(1), "cubic"), "method 'cubic' is not known"),
        (lambda: Regridder(HealpixSphere(2), HealpixSphere(1))(np.zeros(5)), r"shape \(5,\), the source grid 48"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()
