# %% [markdown]
# # Classify meshes
#
# A network learns the class of a mesh from examples. You need one folder for each class, with mesh files in it. Here
# the files are generated. Each shape is a closed surface with four ridges and four dents; a class is how they stand
# to each other. Single points look alike in all classes, so a network has to see neighbours and directions.

# %%
from pathlib import Path

import numpy as np

import meshconv
from meshconv.datasets import generate_shape
from meshconv.io import save_mesh

CLASSES = ("dent_left", "ridges_left", "ridges_right")
rng = np.random.default_rng(0)
for name in CLASSES:
    Path("meshes", name).mkdir(parents=True, exist_ok=True)
    for k in range(10):
        save_mesh(generate_shape(name, rng), Path("meshes", name, f"{k}.ply"))

# %% [markdown]
# ## Train
#
# `meshconv.fit` does what `meshconv fit --config classify --data.init_args.root meshes` does. A fifth of the files is
# the test set. The options below make the training short; without them it has augmented variants of each mesh and 50
# epochs. Plain names are options of the data, dotted names are those of the command line.

# %%
predict = meshconv.fit(
    "classify", root="meshes", name="first", variants=0, augment=None, val_fraction=0.0, batch_size=8,
    **{"model.init_args.pretrained": "shapes", "model.init_args.options": {"channels": 8, "max_order": 2, "blocks": 3},
       "trainer.max_epochs": 10, "trainer.enable_progress_bar": False},
)  # fmt: skip

# %% [markdown]
# `pretrained: shapes` begins with the weights of a network that comes with the package (`meshconv models`). The head
# is new, since the classes are others. Leave the option out to train from scratch.
#
# ## Predict
#
# The predictor takes meshes, files, folders, or lists of them. It prepares inputs as in training.

# %%
mesh = generate_shape("dent_left", rng)
found = predict(mesh)
print(found.label, dict(zip(CLASSES, found.probabilities.round(3).tolist(), strict=True)))

# %% [markdown]
# Inputs are invariant under rotation, translation and scaling of a mesh, and so is the prediction.

# %%
turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
moved = predict(meshconv.TriangleMesh(3 * mesh.vertices @ turn.T + 1, mesh.faces))
change = np.abs(moved.probabilities - found.probabilities).max()
print(f"largest change of a probability: {change:.1e}")

# %% [markdown]
# ## Evaluate
#
# New meshes, five of each class. `meshconv test --config runs/first/config.yaml --ckpt_path last` does it for the
# test set, and writes accuracy, F1 and the confusion matrix to `runs/first`.

# %%
new = [(generate_shape(name, rng), name) for name in CLASSES for _ in range(5)]
right = [result.label == name for result, (_, name) in zip(predict([mesh for mesh, _ in new]), new, strict=True)]
print(f"accuracy on {len(new)} new meshes: {np.mean(right):.2f}")
