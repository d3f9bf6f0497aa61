# %% [markdown]
# # A convolution of your own, from scratch
#
# What does a gauge-equivariant convolution need? A kernel, and a way to bring the features of neighbours to a point.
# We write one in plain torch, test it, and train a small network of it.
#
# ## The data structure
#
# A `GaugeGraph` has a directed pair `src -> dst` for each neighbour. `log_radius` and `log_angle` are the polar
# coordinates of `src` in the frame at `dst`; `transporter` is the angle that turns components at `src` into
# components at `dst`.

# %%
import torch
from torch import Tensor, nn

import meshconv
from meshconv.testing import gauge_equivariance_error

graph = meshconv.HealpixSphere(8).gauge_graph()
print(graph)

# %% [markdown]
# ## From scalars to tangent vectors
#
# Let $f$ be a scalar and $g$ a tangent vector, as a complex number in the frame of its point. Turn the frame at a
# point by $\alpha$: the angle $\theta$ of a neighbour becomes $\theta - \alpha$, and components become $e^{-i\alpha}
# g$. So the kernel has to be $K(r, \theta) = w(r)\, e^{i\theta}$, with a complex weight $w$, and no other.
#
# From vectors to vectors, the neighbour's components are first carried to the point, $e^{i\tau} g$ with the
# transporter $\tau$. Then two kernels are allowed: $w(r)$ on $g$, and $w(r)\, e^{2 i\theta}$ on the conjugate of $g$.


# %%
class TangentConv(nn.Module):
    """Fields of ``scalars`` scalars and ``vectors`` vectors to the same, from the neighbours and the point."""

    def __init__(self, scalars: int, vectors: int, transport: bool = True):
        super().__init__()
        self.in_type = self.out_type = meshconv.FieldType(f"{scalars}x0 + {vectors}x1")
        self.scalars, self.vectors, self.transport = scalars, vectors, transport

        def weight(out: int, given: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(out, given, dtype=torch.complex128) / (2 * given**0.5))

        self.stay, self.lift, self.lower = weight(scalars, scalars), weight(vectors, scalars), weight(scalars, vectors)
        self.plain, self.twisted, self.own = (weight(vectors, vectors) for _ in range(3))

    def forward(self, x: Tensor, graph: meshconv.GaugeGraph) -> Tensor:
        parts = self.in_type.split(x)
        f = parts[0].to(torch.complex128)
        g = torch.complex(*parts[1].unflatten(-1, (2, self.vectors)).unbind(-2)).to(torch.complex128)
        turn, carry = torch.exp(1j * graph.log_angle)[:, None], torch.exp(1j * graph.transporter)[:, None]
        far = graph.log_radius[:, None] / graph.scale[graph.dst, None]  # of order 1 whatever the resolution
        f_near, g_near = f[graph.src] * torch.exp(-far), g[graph.src] * torch.exp(-far)
        if self.transport:
            g_near = g_near * carry

        def mean(values: Tensor) -> Tensor:
            total = values.new_zeros(graph.num_vertices, values.shape[1]).index_add(0, graph.dst, values)
            return total / graph.dst_ptr.diff()[:, None]

        scalar = mean(f_near) @ self.stay.T + mean(g_near * turn.conj()) @ self.lower.T
        vector = mean(f_near * turn) @ self.lift.T + mean(g_near) @ self.plain.T
        vector = vector + mean(g_near.conj() * turn**2) @ self.twisted.T + g @ self.own.T
        return torch.cat([scalar.real, vector.real, vector.imag], dim=-1).to(x.dtype)


# %% [markdown]
# ## Is it equivariant?

# %%
torch.manual_seed(0)
conv = TangentConv(2, 2)
print(f"gauge error of the convolution: {gauge_equivariance_error(conv, graph):.1e}")
print(f"without transport: {gauge_equivariance_error(TangentConv(2, 2, transport=False), graph):.1e}")

# %% [markdown]
# ## A network
#
# Between convolutions, a nonlinearity acts on scalars and scales vectors by their lengths: `NormNonlinearity`. The
# task: from a scalar field, its tangent gradient. `meshconv.nn.Sequential` hands the graph to the layers that take
# it.

# %%
waves = 2 * torch.randn(24, 3, dtype=torch.float64)  # f(p) = cos(k . p) has the gradient -sin(k . p) k
phase = waves @ graph.positions.T
slope = meshconv.nn.from_ambient((-torch.sin(phase)[..., None] * waves[:, None])[:, :, None], graph, "1x1")
field = torch.cat([torch.cos(phase)[..., None], torch.zeros(*phase.shape, 2)], dim=-1)  # a scalar and no vector


class Network(nn.Module):
    def __init__(self, channels: int = 4):
        super().__init__()
        kind = f"{channels}x0 + {channels}x1"
        self.first, self.last = meshconv.nn.Linear("1x0 + 1x1", kind), meshconv.nn.Linear(kind, "1x1")
        self.convs = nn.ModuleList(TangentConv(channels, channels) for _ in range(2))
        self.act = meshconv.nn.NormNonlinearity(kind)
        self.double()

    def forward(self, x: Tensor, graph: meshconv.GaugeGraph) -> Tensor:
        x = self.first(x)
        for conv in self.convs:
            x = x + self.act(conv(x, graph))
        return self.last(x)


network = Network()
optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
for step in range(60):
    k = step % 20
    loss = (network(field[k], graph) - slope[k]).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
with torch.no_grad():
    found = torch.stack([network(field[k], graph) for k in range(20, 24)])
print(f"relative error on four new fields: {float((found - slope[20:]).norm() / slope[20:].norm()):.2f}")

# %% [markdown]
# ## The same from the package
#
# `meshconv.nn.GaugeConv` has all kernels that equivariance allows, for fields of any order, with learnt radial
# functions and compiled operators.

# %%
print(meshconv.nn.GaugeConv("4x0 + 4x1", "4x0 + 4x1"))
