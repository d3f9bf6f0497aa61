# %% [markdown]
# # Gauge equivariance seen by eye
#
# A tangent vector has two components, and they depend on the frame at its point. A choice of frames is a gauge.
# Nothing on a curved surface says which gauge is right, so what a network finds must not depend on it. Here we look
# at that.

# %%
import math

import numpy as np
import torch
from matplotlib.figure import Figure

import meshconv

sphere = meshconv.HealpixSphere(8)
graph = sphere.gauge_graph()  # frames: south and east
generator = torch.Generator().manual_seed(0)
alpha = graph.random_gauge(generator)  # an angle for each point
turned = graph.change_gauge(alpha)  # the same points, other frames
print(f"{graph.num_vertices} points; frames turned by up to {math.degrees(float(alpha.abs().max())):.0f} degrees")

# %% [markdown]
# ## A layer
#
# `GaugeConv` here maps two scalars to one tangent vector. It has random weights. We apply it in both gauges, to the
# same scalars: the height along the axis, and a wave.

# %%
torch.manual_seed(0)
conv = meshconv.nn.GaugeConv("2x0", "1x1").double()
x, y, z = graph.positions.T
scalars = torch.stack([z, torch.sin(3 * x) * y], dim=1)
with torch.no_grad():
    first, second = conv(scalars, graph), conv(scalars, turned)
print("components at one point:", first[100].numpy().round(4), "and", second[100].numpy().round(4))

# %% [markdown]
# The components differ. The arrows do not: a vector in space is the sum of its components times the frame.

# %%
arrows = [torch.einsum("vk,vki->vi", value, g.frames[:, :2]) for value, g in ((first, graph), (second, turned))]
difference = float((arrows[0] - arrows[1]).norm() / arrows[0].norm())
print(f"relative difference of the arrows in space: {difference:.1e}")

# %% [markdown]
# ## A layer that is not equivariant
#
# Many networks treat the two components as two plain channels. Then the arrows depend on the frames.

# %%
plain = torch.nn.Linear(2, 2).double()
with torch.no_grad():
    mixed = [torch.tanh(plain(value)) for value in (first, second)]
wrong = [torch.einsum("vk,vki->vi", value, g.frames[:, :2]) for value, g in zip(mixed, (graph, turned), strict=True)]
error = float((wrong[0] - wrong[1]).norm() / wrong[0].norm())
print(f"relative difference with a dense layer on the components: {error:.2f}")

# %% [markdown]
# ## The picture
#
# The upper row is the convolution in two gauges, the lower one the dense layer. Only the upper arrows agree.

# %%
seen = graph.frames[:, 2].numpy() @ np.array([1.0, 0.0, 0.0]) > 0.2
place = graph.positions.numpy()[seen][:, 1:]
figure = Figure(figsize=(6, 6), layout="constrained")
titles = ("convolution, gauge 1", "convolution, gauge 2", "dense layer, gauge 1", "dense layer, gauge 2")
for axes, vectors, title in zip(figure.subplots(2, 2).flat, (*arrows, *wrong), titles, strict=True):
    axes.quiver(*place.T, *vectors.numpy()[seen][:, 1:].T, color="#0077bb" if "convolution" in title else "#cc3311")
    axes.set(title=title, aspect="equal")
    axes.axis("off")
figure.savefig("gauge.png", dpi=70)

# %% [markdown]
# ![Arrows of a convolution and of a dense layer in two gauges](../images/tutorial_gauge.png)
#
# ## Your own module
#
# `meshconv.testing` measures this for any module, with random gauges and fields.

# %%
from meshconv.testing import gauge_equivariance_error

print(f"error of the convolution: {gauge_equivariance_error(conv, graph):.1e}")
