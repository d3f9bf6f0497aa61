"""Spherical harmonics of degree 3 with their derivatives in closed form, on the unit sphere."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from meshconv import TriangleMesh

DEGREE = 3
EIGENVALUE = -DEGREE * (DEGREE + 1)


class Harmonic:
    """The harmonic polynomial x y z in turned axes, at points ``[V, 3]`` that are brought to the unit sphere."""

    def __init__(self, points: Tensor, frames: Tensor, seed: int = 1):
        turn = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
        unit = points / torch.linalg.vector_norm(points, dim=-1, keepdim=True)
        x, y, z = (unit @ turn.T).unbind(-1)
        zero = torch.zeros_like(x)
        self.value = (x * y * z)[:, None]
        slope = torch.stack([y * z, x * z, x * y], -1) @ turn
        second = torch.stack([zero, z, y, z, zero, x, y, x, zero], -1).unflatten(-1, (3, 3))
        self.vector = slope - (slope * unit).sum(-1, keepdim=True) * unit
        e1, e2, _ = frames.unbind(1)
        self.gradient = torch.stack([(self.vector * e).sum(-1) for e in (e1, e2)], -1)
        tangent = torch.eye(3, dtype=points.dtype) - unit[:, :, None] * unit[:, None, :]
        hessian = tangent @ turn.T @ second @ turn @ tangent
        h11, h12, h22 = (torch.einsum("vi,vij,vj->v", a, hessian, b) for a, b in ((e1, e1), (e1, e2), (e2, e2)))
        # On the sphere the second covariant derivative differs from the ambient one by a multiple of the metric.
        self.tensor = torch.stack([(h11 - h22) / 2, h12], -1)

    @property
    def turned(self) -> Tensor:
        """The gradient after a quarter turn."""
        return torch.stack([-self.gradient[:, 1], self.gradient[:, 0]], -1)


def errors(found: Tensor, exact: Tensor) -> tuple[float, float]:
    """Largest and root mean square error, over the same of the exact field."""
    off, size = torch.linalg.vector_norm(found - exact, dim=-1), torch.linalg.vector_norm(exact, dim=-1)
    return float(off.max() / size.max()), float((off.square().mean() / size.square().mean()).sqrt())


def orders(coarse_to_fine: list[tuple[float, float]]) -> tuple[float, float]:
    """Orders of convergence from the last two surfaces, the second with half the spacing of the first."""
    before, after = coarse_to_fine[-2:]
    return float(np.log2(before[0] / after[0])), float(np.log2(before[1] / after[1]))


def shaken(sphere: TriangleMesh, amount: float = 0.25, seed: int = 0) -> TriangleMesh:
    """A unit sphere whose vertices' coordinates were moved at random by up to ``amount`` of the spacing."""
    spacing = np.sqrt(4 * np.pi / sphere.num_vertices)
    moves = np.random.default_rng(seed).uniform(-amount, amount, size=sphere.vertices.shape)
    moved = sphere.vertices + spacing * moves
    return TriangleMesh(moved / np.linalg.norm(moved, axis=1, keepdims=True), sphere.faces)
