"""Tangent fields in space and back."""

from __future__ import annotations

import pytest
import torch

from meshconv import FieldType, HealpixSphere
from meshconv.nn import from_ambient, to_ambient

SHAPES = {"2x1": (3,), "2x0 + 2x1": (3,), "2x2": (3, 3)}


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back_and_the_same_in_any_gauge(sphere, text, dtype):
    t = FieldType(text)
    x = torch.randn(2, 48, t.dim, dtype=dtype)
    there = to_ambient(x, sphere, text)
    assert there.shape == (2, 48, 2, *SHAPES[text]) and there.dtype == dtype
    torch.testing.assert_close(from_ambient(there, sphere, text), x)
    alpha = sphere.random_gauge()
    turned = t.change_gauge(x.double(), alpha).to(dtype)
    torch.testing.assert_close(to_ambient(turned, sphere.change_gauge(alpha), text), there)


def test_vectors_by_hand(sphere):
    x = torch.zeros(48, 3).double()
    x[:, 1] = 2.0
    torch.testing.assert_close(to_ambient(x, sphere, "1x0 + 1x1")[:, 0], 2 * sphere.frames[:, 0])
    x = torch.tensor([[3.0, 0, 0]]).double().expand(48, 3)
    torch.testing.assert_close(to_ambient(x, sphere, "1x0 + 1x1")[:, 0], 3 * sphere.positions)
    any_vector = torch.randn(48, 1, 3).double()
    tangent = any_vector - (any_vector * sphere.positions[:, None]).sum(-1, keepdim=True) * sphere.positions[:, None]
    torch.testing.assert_close(to_ambient(from_ambient(any_vector, sphere, "1x1"), sphere, "1x1"), tangent)


def test_tensors_are_symmetric_traceless_and_tangent(sphere):
    tensor = to_ambient(torch.randn(48, 4).double(), sphere, "2x2")
    torch.testing.assert_close(tensor, tensor.mT)
    for zero in (tensor.diagonal(dim1=-2, dim2=-1).sum(-1), torch.einsum("vnij,vj->vni", tensor, sphere.positions)):
        assert zero.abs().max() < 1e-14
    # trace, antisymmetric part and what lies along the normal have no place
    n = sphere.positions[:, None]
    rest = torch.eye(3).double() - n[..., None] * n[..., None, :]
    rest = rest + torch.cross(n[..., None].expand(48, 1, 3, 3), torch.eye(3).double().expand(48, 1, 3, 3), dim=-2)
    rest = rest + n[..., None] * torch.randn(48, 1, 1, 3).double()
    x = from_ambient(tensor + rest, sphere, "2x2")
    torch.testing.assert_close(to_ambient(x, sphere, "2x2"), tensor)


def test_reflected_frames_hold_the_same_vectors(sphere):
    t = FieldType("O(2): 2x0- + 2x1")
    x, alpha, flip = torch.randn(48, 6).double(), sphere.random_gauge(), torch.rand(48) < 0.5
    turned = to_ambient(t.change_gauge(x, alpha, flip), sphere.change_gauge(alpha, flip), t)
    torch.testing.assert_close(turned, to_ambient(x, sphere, t))


def test_triangles_have_frames_too():
    surface = HealpixSphere(2).surface_complex()
    x = torch.randn(surface.num_faces, 2).double()
    there = to_ambient(x, surface, "1x1")
    assert (there[:, 0] * surface.frames[:, 2]).sum(-1).abs().max() < 1e-14
    torch.testing.assert_close(from_ambient(there, surface, "1x1"), x)


def test_wrong_types_and_shapes(sphere):
    for wrong in ("2x0", "1x0 + 2x1", "1x1 + 1x2", "1x3", "O(2): 1x0 + 1x1"):
        with pytest.raises(ValueError, match="fields in space are of type"):
            to_ambient(torch.zeros(48, 2), sphere, wrong)
    with pytest.raises(ValueError, match=r"type 2x1 need shape \[..., 48, 2, 3\], got \(48, 1, 3\)"):
        from_ambient(torch.zeros(48, 1, 3), sphere, "2x1")
    with pytest.raises(ValueError, match="last axis of 4"):
        to_ambient(torch.zeros(48, 3), sphere, "2x1")
