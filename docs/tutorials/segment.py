# %% [markdown]
# # Segment a body
#
# Segmentation gives each vertex, face or edge of a mesh a label. Training data are meshes with one label file each.
# Here a body is a ball with long horns and round hollows; the labels are `0` for the body, `1` for a horn, `2` for a
# hollow.

# %%
from pathlib import Path

import numpy as np
import trimesh

import meshconv
from meshconv.io import save_mesh

ball = trimesh.creation.icosphere(subdivisions=3)


def body(rng: np.random.Generator) -> tuple[meshconv.TriangleMesh, np.ndarray]:
    """A mesh of 642 vertices and the label of each of them."""
    centres = rng.normal(size=(60, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    chosen = [centres[0]]
    for centre in centres[1:]:  # six marks that do not touch
        if len(chosen) < 6 and max(centre @ c for c in chosen) < 0.6:
            chosen.append(centre)
    cosine = ball.vertices @ np.array(chosen).T
    near = np.exp((cosine - 1) / 0.03)
    horn = np.arange(len(chosen)) % 2 == 0
    vertices = ball.vertices * (1 + (near * np.where(horn, 0.5, -0.35)).sum(1))[:, None]
    labels = np.where(near.max(1) > 0.3, np.where(horn[near.argmax(1)], 1, 2), 0)
    return meshconv.TriangleMesh(vertices, ball.faces), labels


rng = np.random.default_rng(0)
for k in range(12):
    mesh, labels = body(rng)
    folder = Path("bodies", "train" if k < 10 else "test")
    folder.mkdir(parents=True, exist_ok=True)
    save_mesh(mesh, folder / f"{k}.ply")
    np.savetxt(folder / f"{k}.txt", labels, fmt="%d")

# %% [markdown]
# ## Train
#
# The file `3.txt` has the labels of `3.ply`, one a line; folders named `train` and `test` are the split. The
# configuration `segment` works on points at one spacing, whatever the triangles (`resolution`). Here that is 0.045 of
# the square root of the surface area, about 500 points; the default has 4,444.

# %%
predict = meshconv.fit(
    "segment", root="bodies", name="bodies", resolution=0.045, num_levels=2, variants=0, augment=None, val_fraction=0.0,
    batch_vertices=2048, classes={0: "body", 1: "horn", 2: "hollow"},
    **{"model.init_args.options": {"channels": [8, 16], "max_order": 1, "context": 4}, "trainer.max_epochs": 10,
       "model.init_args.learning_rate": 0.01, "trainer.enable_progress_bar": False},
)  # fmt: skip

# %% [markdown]
# ## Predict
#
# Labels are for the vertices of the given mesh, not for the points of the network.

# %%
mesh, numbers = body(rng)
truth = np.array(["body", "horn", "hollow"])[numbers]
found = predict(mesh)
print(f"accuracy on a new body: {np.mean(found.labels == truth):.2f}")
print(f"with everything called body: {np.mean(truth == 'body'):.2f}")

# %% [markdown]
# ## Look at it
#
# In a notebook the last line of a cell is a view that turns. `save` writes a page, or a picture.

# %%
view = mesh.show(found.labels, truth=truth)
view.save("bodies.html")
view.save("bodies.png")

# %% [markdown]
# ![A body in blue with red hollows and green horns: truth and prediction](../images/tutorial_bodies.png)
