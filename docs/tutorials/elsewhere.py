# %% [markdown]
# # Layers in torch, Lightning, PyTorch Geometric and PyTorch3D
#
# Every layer is a `torch.nn.Module` with an `in_type` and an `out_type`. It is called with features `[..., vertices,
# dim]` and a graph. Nothing else of the package is needed.
#
# ## torch

# %%
import torch
import trimesh

import meshconv

ball = trimesh.creation.icosphere(subdivisions=3)
mesh = meshconv.TriangleMesh(ball.vertices * [1.0, 0.8, 0.6], ball.faces)
graph = mesh.gauge_graph().to(torch.float32)
network = meshconv.nn.Sequential(
    meshconv.nn.GaugeConv("3x0", "8x0 + 8x1"),
    meshconv.nn.NormNonlinearity("8x0 + 8x1"),
    meshconv.nn.GaugeConv("8x0 + 8x1", "1x1"),
)
y = network(torch.randn(graph.num_vertices, 3), graph)
print("torch:", tuple(y.shape), "a tangent vector for each vertex")

# %% [markdown]
# Meshes of different sizes are batched as one graph. A leading axis is for several features on one graph.

# %%
both = meshconv.GaugeGraph.batch([graph, meshconv.HealpixSphere(4).gauge_graph().to(torch.float32)])
print("two surfaces:", both.num_graphs, "graphs,", both.num_vertices, "points")
print("five features on one:", tuple(network(torch.randn(5, graph.num_vertices, 3), graph).shape))

# %% [markdown]
# ## Lightning
#
# A `LightningModule` holds layers as any others. `graph.to(device)` moves a graph.

# %%
import lightning


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = network

    def training_step(self, batch):
        (x,) = batch
        return self.network(x, graph.to(x.device)).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


data = torch.utils.data.TensorDataset(torch.randn(8, graph.num_vertices, 3))
loader = torch.utils.data.DataLoader(data, batch_size=4)
trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                            enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
trainer.fit(Model(), loader)
print("Lightning:", trainer.global_step, "steps")

# %% [markdown]
# ## PyTorch Geometric
#
# `to_pyg` makes a `Data` of a graph, which PyTorch Geometric's loaders batch; `from_pyg` is the way back. Between its
# layers a gauge convolution sees directions, and hands on what does not depend on frames: scalars and lengths.

# %%
try:
    from torch_geometric.data import Batch
    from torch_geometric.nn import SAGEConv, global_mean_pool
except ImportError:
    print("PyTorch Geometric: pip install 'meshconv[pyg]'")
else:
    from meshconv.io import from_pyg, to_pyg

    batch = Batch.from_data_list([to_pyg(graph, x=torch.randn(graph.num_vertices, 3)) for _ in range(2)])
    conv, sage = meshconv.nn.GaugeConv("3x0", "8x0 + 8x1"), SAGEConv(16, 4)
    invariants = conv.out_type.invariants(conv(batch.x, from_pyg(batch)))
    pooled = global_mean_pool(sage(invariants, batch.edge_index), batch.batch)
    print("PyTorch Geometric:", tuple(pooled.shape), "four numbers for each of two graphs")

# %% [markdown]
# ## PyTorch3D
#
# `from_pytorch3d` takes `Meshes`. Features that are functions of the vertices keep their gradients.

# %%
try:
    import pytorch3d  # noqa: F401
except ImportError:
    print("PyTorch3D: pip install 'meshconv[pytorch3d]'")
else:
    from meshconv.io import from_pytorch3d, to_pytorch3d

    meshes = to_pytorch3d([mesh])
    (again,) = from_pytorch3d(meshes)
    vertices = meshes.verts_packed().clone().requires_grad_()
    network(vertices, again.gauge_graph().to(torch.float32)).square().sum().backward()
    print("PyTorch3D: gradients for", len(vertices.grad), "vertices")

# %% [markdown]
# ## A network that was trained
#
# `load_pretrained` gives the task; `task.network` is a plain module for other code.

# %%
task = meshconv.load_pretrained("shapes")
print("trained:", type(task.network).__name__, "for", task.network.in_type, "and", len(task.class_names), "classes")

# %% [markdown]
# The folder `examples` has a whole model for each of the four libraries.
