"""To other libraries' meshes and graphs and back: nothing is lost, alone or in batches."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import trimesh
from meshes import blob, bumpy_sheet, cube, flat_sheet, icosphere, torus

from meshconv import GaugeGraph, HealpixSphere, InputError, Neighbourhood, TriangleMesh
from meshconv.io import from_pyg, from_pytorch3d, from_trimesh, to_pyg, to_pytorch3d, to_trimesh

# PyTorch Geometric compiles some of its classes when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@pytest.fixture(scope="module")
def pyg() -> object:
    return pytest.importorskip("torch_geometric", exc_type=ImportError)


@pytest.fixture(scope="module")
def pytorch3d() -> object:
    return pytest.importorskip("pytorch3d.structures", exc_type=ImportError)


def assert_same_graph(a: GaugeGraph, b: GaugeGraph) -> None:
    for field in fields(GaugeGraph):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert (left is None) == (right is None), field.name
        if left is not None:
            assert left.dtype == right.dtype, field.name
            assert torch.equal(left, right), field.name


def assert_same_mesh(a: TriangleMesh, b: TriangleMesh) -> None:
    assert np.array_equal(a.vertices, b.vertices)
    assert np.array_equal(a.faces, b.faces)
    for left, right in ((a.vertex_data, b.vertex_data), (a.face_data, b.face_data)):
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[key], right[key]) for key in left)


def with_data(mesh: TriangleMesh) -> TriangleMesh:
    """Names of data that PyTorch Geometric would take for numbers of vertices or of samples."""
    v, f = np.arange(mesh.num_vertices), np.arange(mesh.num_faces)
    return replace(
        mesh,
        vertex_data={"label": v % 7, "index": v.astype(np.int32), "color": np.stack([v % 256] * 4, 1).astype(np.uint8)},
        face_data={"batch_index": f, "normal": np.stack([f, f, f], 1) / 3},
    )


GRAPHS: dict[str, Callable[[], GaugeGraph]] = {
    "one ring": lambda: blob().gauge_graph(),
    "radius": lambda: bumpy_sheet().gauge_graph(Neighbourhood(radius=0.3)).to(torch.float32),
    "isolated": lambda: TriangleMesh(np.eye(4)[:, :3], np.array([[0, 1, 2]])).gauge_graph(),
    "sphere": lambda: HealpixSphere(2).gauge_graph(),
    "batch": lambda: GaugeGraph.batch([flat_sheet().gauge_graph(), cube().gauge_graph()]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_go_to_pyg_and_back(name: str, pyg: object) -> None:
    graph = GRAPHS[name]()
    data = to_pyg(graph, x=torch.ones(graph.num_vertices, 3), y=torch.tensor([4]))
    assert data.validate()
    assert data.num_nodes == graph.num_vertices
    assert data.num_edges == graph.num_edges
    assert data.x.shape == (graph.num_vertices, 3)
    assert_same_graph(from_pyg(data), graph)


def test_a_batch_of_a_loader_is_the_batch_of_the_graphs(pyg: object) -> None:
    from torch_geometric.loader import DataLoader

    graphs = [GRAPHS[name]().to(torch.float64) for name in GRAPHS]
    graphs.append(random_reflections(graphs[0]))
    data = [to_pyg(g, x=torch.full((g.num_vertices, 1), float(i)), y=torch.tensor([i])) for i, g in enumerate(graphs)]
    (batch,) = DataLoader(data, batch_size=len(data))
    expected = GaugeGraph.batch(graphs)
    assert_same_graph(from_pyg(batch), expected)
    assert torch.equal(batch.x[:, 0].long(), batch.batch)
    assert batch.y.tolist() == list(range(len(graphs)))
    for one, graph in zip(batch.to_data_list(), graphs, strict=True):
        assert_same_graph(from_pyg(one), graph)


def random_reflections(graph: GaugeGraph) -> GaugeGraph:
    return replace(graph, reflected=torch.rand(graph.num_edges) < 0.3)


def test_pyg_sums_over_the_same_neighbours(pyg: object) -> None:
    """Rows of edge_index are in PyTorch Geometric's order: from source to target."""
    from torch_geometric.nn import SimpleConv

    graph = icosphere(2).gauge_graph()
    one_way = graph.src < graph.dst
    directed = GaugeGraph.from_edges(
        graph.src[one_way], graph.dst[one_way], graph.log_radius[one_way], graph.log_angle[one_way],
        graph.transporter[one_way], frames=graph.frames, positions=graph.positions, areas=graph.areas,
        scale=graph.scale)  # fmt: skip
    x = torch.randn(graph.num_vertices, 2)
    expected = torch.zeros_like(x).index_add(0, directed.dst, x[directed.src])
    data = to_pyg(directed, x=x)
    torch.testing.assert_close(SimpleConv(aggr="sum")(data.x, data.edge_index), expected)


def test_edges_may_be_put_in_another_order(pyg: object) -> None:
    graph = random_reflections(torus().gauge_graph())
    data = to_pyg(graph)
    order = torch.randperm(graph.num_edges)
    data.edge_index = data.edge_index[:, order]
    for name in ("log_radius", "log_angle", "transporter", "reflected"):
        data[name] = data[name][order]
    assert_same_graph(from_pyg(data), graph)


def test_a_graph_is_made_once_for_data_that_stay_as_they_are(pyg: object) -> None:
    """Another tensor, or a change in place, makes another one; a graph that is differentiated is made every time."""
    graph = random_reflections(torus().gauge_graph())
    data = to_pyg(graph)
    first = from_pyg(data)
    assert from_pyg(data) is first
    data.x = torch.ones(graph.num_vertices, 2)
    assert from_pyg(data) is first
    data.areas = 2 * graph.areas
    assert torch.equal(from_pyg(data).areas, 2 * graph.areas)
    data.areas.div_(2)
    assert_same_graph(from_pyg(data), graph)
    moved = data.clone()
    moved.pos.add_(1)
    assert torch.equal(from_pyg(moved).positions, graph.positions + 1)
    assert_same_graph(from_pyg(data), graph)
    data.log_angle = data.log_angle.clone().requires_grad_()
    for _ in range(2):
        from_pyg(data).log_angle.sum().backward()
    assert torch.equal(data.log_angle.grad, torch.full_like(graph.log_angle, 2))


def test_meshes_go_to_pyg_and_back(pyg: object) -> None:
    from torch_geometric.data import Batch, Data

    meshes = [with_data(cube()), with_data(flat_sheet())]
    data = [to_pyg(m) for m in meshes]
    for mesh, one in zip(meshes, data, strict=True):
        assert_same_mesh(from_pyg(one), mesh)
    batch = Batch.from_data_list(data)
    v = meshes[0].num_vertices
    joined = from_pyg(batch)
    assert np.array_equal(joined.vertices, np.concatenate([m.vertices for m in meshes]))
    assert np.array_equal(joined.faces, np.concatenate([meshes[0].faces, meshes[1].faces + v]))
    for key in meshes[0].vertex_data:
        assert np.array_equal(joined.vertex_data[key], np.concatenate([m.vertex_data[key] for m in meshes]))
    for mesh, one in zip(meshes, batch.to_data_list(), strict=True):
        assert_same_mesh(from_pyg(one), mesh)
    plain = Data(pos=torch.tensor(meshes[0].vertices), face=torch.tensor(meshes[0].faces.T))
    assert from_pyg(plain).area == meshes[0].area


def test_data_that_is_neither_names_what_is_missing(pyg: object) -> None:
    from torch_geometric.data import Data

    with pytest.raises(InputError, match=r"Data with edge_index, pos has no areas, frames, log_angle"):
        from_pyg(Data(pos=torch.zeros(2, 3), edge_index=torch.zeros(2, 1, dtype=torch.long)))
    data = to_pyg(blob().gauge_graph())
    data.log_radius = -data.log_radius
    with pytest.raises(ValueError, match="log_radius has negative values"):
        from_pyg(data)


def test_meshes_go_to_pytorch3d_and_back(pytorch3d: object) -> None:
    meshes = [blob(), flat_sheet(), cube()]
    batch = to_pytorch3d(meshes, dtype=torch.float64)
    assert len(batch) == 3
    assert batch.verts_padded().shape == (3, blob().num_vertices, 3)
    for found, mesh in zip(from_pytorch3d(batch), meshes, strict=True):
        assert_same_mesh(found, mesh)
    areas = torch.zeros(3, dtype=torch.float64).index_add(0, batch.faces_packed_to_mesh_idx(), face_areas(batch))
    np.testing.assert_allclose(areas, [m.area for m in meshes], rtol=1e-12)
    single = to_pytorch3d(cube())
    assert single.verts_packed().dtype == torch.float32
    np.testing.assert_allclose(from_pytorch3d(single)[0].vertices, cube().vertices, rtol=1e-6)


def face_areas(batch) -> torch.Tensor:
    a, b, c = batch.verts_packed()[batch.faces_packed()].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1) / 2


def test_padded_meshes_and_meshes_with_gradients(pytorch3d: object) -> None:
    from pytorch3d.structures import Meshes

    vertices, faces = torch.zeros(2, 4, 3), torch.full((2, 2, 3), -1)
    vertices[0, :3], faces[0, 0] = torch.eye(3), torch.arange(3)
    vertices[1, 1:] = torch.eye(3)
    faces[1] = torch.tensor([[0, 1, 2], [0, 2, 3]])
    small, large = from_pytorch3d(Meshes(vertices.requires_grad_(), faces))
    assert (small.num_faces, large.num_faces) == (1, 2)
    assert small.gauge_graph().num_edges == 6
    assert large.num_vertices == 4
    vertices = torch.full((1, 3, 3), torch.nan)
    with pytest.raises(InputError, match="mesh 0: 3 of 3 vertices have NaN"):
        from_pytorch3d(Meshes(vertices, torch.arange(3).reshape(1, 1, 3)))


def test_textures_of_vertices_are_colours(
    pytorch3d: object, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    meshes = [with_data(cube()), with_data(flat_sheet())]
    try:
        importlib.import_module("pytorch3d.renderer")
    except ImportError:
        # Its wheels need CUDA's libraries for compiled operators, which textures do without.
        assert to_pytorch3d(meshes).textures is None
        assert "colours are left out" in caplog.text
        compiled = types.ModuleType("pytorch3d._C")
        vars(compiled).update(dict.fromkeys(("MAX_UINT", "MAX_USHORT", "MAX_INT", "MAX_FLOAT", "EPS"), 1))
        monkeypatch.setitem(sys.modules, "pytorch3d._C", compiled)
        monkeypatch.setattr("pytorch3d._C", compiled, raising=False)
    for found, mesh in zip(from_pytorch3d(to_pytorch3d(meshes)), meshes, strict=True):
        np.testing.assert_allclose(found.vertex_data["color"] * 255, mesh.vertex_data["color"][:, :3], atol=1e-4)
    assert to_pytorch3d([meshes[0], flat_sheet()]).textures is None  # all have to have colours


def test_meshes_go_to_trimesh_and_back() -> None:
    mesh = with_data(bumpy_sheet())
    del mesh.face_data["batch_index"]
    other = to_trimesh(mesh)
    assert isinstance(other, trimesh.Trimesh)
    assert_same_mesh(from_trimesh(other), mesh)
    other.vertices[0] = 9.0
    assert mesh.vertices[0, 0] != 9.0  # nothing is shared
    colored = replace(bumpy_sheet(), face_data={"color": np.full((bumpy_sheet().num_faces, 4), 8, dtype=np.uint8)})
    assert_same_mesh(from_trimesh(to_trimesh(colored)), colored)


def test_scenes_of_trimesh_are_joined() -> None:
    box = trimesh.creation.box()
    scene = trimesh.Scene()
    scene.add_geometry(box, geom_name="left")
    scene.add_geometry(box, geom_name="right", transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    mesh = from_trimesh(scene)
    assert mesh.num_vertices == 16
    assert mesh.vertices[:, 0].max() == 5.5
    assert mesh.area == pytest.approx(12)
    assert len(np.unique(mesh.face_data["part"])) == 2
    assert np.array_equal(box.faces, trimesh.creation.box().faces)
    with pytest.raises(InputError, match="scene 3: no vertices"):
        from_trimesh(trimesh.Scene(), "scene 3")


@pytest.mark.parametrize(("call", "package", "extra"), [(to_pyg, "torch_geometric", "pyg"),
                                                        (to_pytorch3d, "pytorch3d", "pytorch3d")])  # fmt: skip
def test_an_absent_library_names_the_command(
    call: Callable[..., object], package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == package or m.endswith("surface_data")]:
        monkeypatch.delitem(sys.modules, module)
    for module in (package, f"{package}.data", f"{package}.structures"):
        monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=rf"pip install 'meshconv\[{extra}\]'"):
        call(cube())
