"""Fields of prepared meshes, brought to the vertices or faces of their files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from meshconv.datasets.meshes.sample import MeshSample
from meshconv.datasets.meshes.transfer.element_frames import frames_of
from meshconv.datasets.meshes.transfer.elements import elements_of_file
from meshconv.fields import FieldType
from meshconv.nn.ambient import HasFrames, to_ambient


def fields_in_space(
    output: Tensor, out_type: FieldType, names: Sequence[str], tangent: bool, on_faces: bool, sample: MeshSample
) -> dict[str, NDArray[np.float32]]:
    """Fields of orders 0 and 1 by name: numbers ``[n]`` and vectors in space ``[n, 3]``, in the order of the file.

    Parameters
    ----------
    output : Tensor [V or F, out_type.dim]
        In the frames of the sample's vertices or faces.
    names
        Of the fields of ``out_type``, numbers first.
    tangent
        False: each vector has its normal part among the numbers, the last of them.
    on_faces
        Whether the rows are faces, the sample's elements.
    sample
        Of a mesh or its file.

    Returns
    -------
    dict of float32 arrays
        NaN where the repair left out a vertex.
    """
    assert sample.origin is not None  # prepared from files or meshes
    whole = whole_names(out_type, names, tangent)
    elements = sample.elements if on_faces else None
    columns = _columns(output, out_type, tangent, frames_of(sample.surface.finest, elements, sample.places))
    if not on_faces:
        values = [sample.origin.to_original_vertices(column.numpy()) for column in columns]
        return dict(zip(whole, values, strict=True))
    place = elements_of_file("faces", sample, sample.raw())
    padded = [np.append(c.numpy(), np.full((1, *c.shape[1:]), np.nan, np.float32), axis=0) for c in columns]
    return dict(zip(whole, [values[place] for values in padded], strict=True))


def whole_names(out_type: FieldType, names: Sequence[str], tangent: bool) -> list[str]:
    """Names of numbers and of vectors, whose normal and tangential parts are one."""
    if tangent:
        return list(names)
    vectors = out_type.multiplicities[1]
    numbers = names[: out_type.multiplicities[0] - vectors]
    return [*numbers, *(name.removesuffix("_tangent") for name in names[len(names) - vectors :])]


def _columns(output: Tensor, out_type: FieldType, tangent: bool, frames: HasFrames) -> list[Tensor]:
    """Numbers ``[n]`` and vectors in space ``[n, 3]``."""
    vectors = out_type.multiplicities[1] if 1 in out_type.orders else 0
    numbers = out_type.multiplicities[0] - (0 if tangent else vectors)
    columns = list(output[:, :numbers].unbind(1))
    if vectors:
        whole = f"{vectors}x1" if tangent else f"{vectors}x0 + {vectors}x1"
        columns += to_ambient(output[:, numbers:], frames, whole).unbind(1)
    return columns
