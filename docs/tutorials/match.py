# %% [markdown]
# # Match two shapes
#
# Correspondence finds for each vertex of a mesh the same point on another mesh. A network learns an embedding of
# points that is the same in all poses of a shape; the nearest embedding on the other mesh is the match. Training data
# are poses of one shape. Here vertices with equal indices correspond; files of common points do it for other meshes.

# %%
from pathlib import Path

import numpy as np
import trimesh

import meshconv
from meshconv.io import save_mesh

rng = np.random.default_rng(0)
ball = trimesh.creation.icosphere(subdivisions=3)
# A long shape with bumps of its own, so that no two ends are alike.
centres, heights = rng.normal(size=(7, 3)), rng.uniform(0.2, 0.6, 7)
centres /= np.linalg.norm(centres, axis=1, keepdims=True)
bumps = (np.exp((ball.vertices @ centres.T - 1) / 0.12) * heights).sum(1)
rest = ball.vertices * (1 + bumps)[:, None] * [2.0, 1.0, 0.8]


def pose(bend: float) -> meshconv.TriangleMesh:
    """The shape, bent by an angle along its length."""
    x, y, z = rest.T
    angle = bend * x / 4
    return meshconv.TriangleMesh(np.stack([x * np.cos(angle), y + x * np.sin(angle), z], axis=1), ball.faces)


for split, bends in (("train", np.linspace(-1, 1, 6)), ("test", (-0.5, 0.7))):
    Path("poses", split).mkdir(parents=True, exist_ok=True)
    for bend in bends:
        save_mesh(pose(bend), Path("poses", split, f"pose_{bend:+.2f}.ply"))

# %% [markdown]
# ## Train
#
# Inputs are local geometry and signatures of the Laplacian's spectrum (`hks`, `wks`). Convolutions see the
# orientation of the surface, so they tell left from right.

# %%
predict = meshconv.fit(
    "correspond", root="poses", name="poses", num_levels=2, features=["default", "hks", "wks"],
    **{"model.init_args.options": {"channels": [16, 24], "max_order": 1, "context": 0}, "trainer.max_epochs": 12,
       "model.init_args.embedding": 32, "model.init_args.points": 256, "trainer.enable_progress_bar": False},
)  # fmt: skip

# %% [markdown]
# ## Match
#
# The first mesh is the template, unless `template` names another one. `matches[v]` is the vertex of the template for
# vertex `v`. Matches are refined by the eigenfunctions of the Laplacian.

# %%
template, other = pose(0.7), pose(-0.5)
(found,) = predict([other], template=template)
truth = np.arange(len(rest))
error = np.linalg.norm(template.vertices[found.matches] - template.vertices[truth], axis=1)
size = np.sqrt(trimesh.Trimesh(template.vertices, template.faces).area)
print(f"mean error: {100 * error.mean() / size:.2f} hundredths of the square root of the surface area")
print(f"vertices within a tenth of it: {np.mean(error < 0.1 * size):.2f}")
