"""Group convolutions of images: exactness on the pixel grid, dimensions of the bases, the expanded filter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meshconv import InputError
from meshconv.homogeneous import GroupConv2d, MatrixGroup, PlanarType, planar_basis, rotation
from meshconv.homogeneous.planar import representation

CASES = [
    ("C4", "1x0 + 2x1 + 1x2", "1xregular + 1xC2 + 1x1"),
    ("C4", "2xregular", "2xregular"),
    ("C8", "1xregular + 1x1 + 1x3 + 1x4", "1xC2 + 1x2 + 1x0"),
    ("D4", "1x0 + 1x0- + 1x1 + 1x2 + 1x2-", "1xregular + 1xC2 + 1xD1 + 1x1"),
    ("D2", "1xregular", "2x0- + 1x1-"),
    ("SO(2)", "2x0 + 1x1 + 1x2", "1x0 + 2x1 + 1x3"),
    ("O(2)", "1x0 + 1x0- + 1x1", "1x0- + 1x1 + 1x2"),
]


def shaken(conv: GroupConv2d) -> GroupConv2d:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return conv.double()


@pytest.mark.parametrize(("group", "into", "out"), CASES)
def test_turns_and_mirrors_of_the_pixel_grid_are_exact(group, into, out):
    a, b = PlanarType(group, into), PlanarType(group, out)
    conv = shaken(GroupConv2d(a, b, size=5, frequency=4))
    x = torch.randn(2, a.dim, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    quarters = [2] if group == "D2" else [1, 2]
    for turns in quarters:
        for mirrored in (False, True) if group[0] in "DO" else (False,):
            moved = b.transform(conv(x), turns, mirrored)
            assert torch.allclose(conv(a.transform(x, turns, mirrored)), moved, atol=1e-11)
    assert conv(x).abs().max() > 0.1


@pytest.mark.parametrize(("group", "into", "out"), CASES[:5])
@pytest.mark.parametrize("frequency", [0, 2, 5])
def test_dimensions_are_those_of_characters(group, into, out, frequency):
    """The mean over the group of the product of the traces, which no null space enters."""
    a, b = PlanarType(group, into), PlanarType(group, out)
    for left in b.kinds.values():
        for right in a.kinds.values():
            traces = []
            for h in left.group.components:
                turn = 1 + sum(
                    2 * math.cos(k * math.atan2(h[1, 0], h[0, 0])) if np.linalg.det(h) > 0 else 0
                    for k in range(1, frequency + 1)
                )
                traces.append(np.trace(left(h)) * np.trace(right(h)) * turn)
            assert len(planar_basis(right, left, frequency)) == round(np.mean(traces))


def test_dimensions_of_continuous_groups():
    """A ring that resolves all frequencies: 1, 2 or 4 for SO(2), as published for steerable convolutions; O(2) half."""
    so2 = [
        [len(planar_basis(representation("SO(2)", a), representation("SO(2)", b), 6)) for a in "0123"] for b in "0123"
    ]
    assert so2 == [[1, 2, 2, 2], [2, 4, 4, 4], [2, 4, 4, 4], [2, 4, 4, 4]]
    kinds = ["0", "0-", "1", "2"]
    o2 = [[len(planar_basis(representation("O(2)", a), representation("O(2)", b), 4)) for a in kinds] for b in kinds]
    assert o2 == [[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 2, 2], [1, 1, 2, 2]]


def test_kernels_are_equivariant_off_the_pixels():
    for group in ("C8", "D3", "SO(2)"):
        one, two = representation(group, "1"), representation(group, "regular" if group != "SO(2)" else "2")
        basis = planar_basis(one, two, 3)

        def kernel(angle, basis=basis):
            waves = [1.0, *(f(k * angle) for k in (1, 2, 3) for f in (math.cos, math.sin))]
            return np.einsum("noai,a->noi", basis, waves)

        elements = MatrixGroup.named(group).components if group != "SO(2)" else [rotation(0.4)]
        for h in elements:
            x = h[:2, :2] @ [math.cos(0.9), math.sin(0.9)]
            assert np.allclose(kernel(math.atan2(x[1], x[0])), two(h) @ kernel(0.9) @ one(h).T)


def test_the_expanded_filter_is_an_ordinary_convolution():
    a, b = PlanarType("D4", "1x0 + 1x1"), PlanarType("D4", "2xregular + 1x0-")
    conv = shaken(GroupConv2d(a, b))
    x = torch.randn(1, a.dim, 7, 7, dtype=torch.float64)
    plain = conv.expanded()
    assert torch.allclose(plain(x), conv(x)) and type(plain) is torch.nn.Conv2d
    assert len(conv.bias) == 2  # one for each regular field, none for the odd one


def test_pointwise_functions_of_permuted_fields_and_invariants():
    image, hidden = PlanarType("C4", "1x0"), PlanarType("C4", "3xregular + 1x1 + 2x0")
    conv = shaken(GroupConv2d(image, hidden))
    x = torch.randn(1, 1, 9, 9, dtype=torch.float64)
    y, z = (hidden.invariants(conv(v)) for v in (x, image.transform(x, 1)))
    assert y.shape == (1, 6, 9, 9) and torch.allclose(torch.rot90(y, 1, (-2, -1)), z, atol=1e-11)
    regular = PlanarType("C4", "3xregular")
    act = shaken(GroupConv2d(image, regular))
    assert torch.allclose(act(image.transform(x, 1)).relu(), regular.transform(act(x).relu(), 1), atol=1e-11)


def test_turns_by_an_eighth_of_smooth_images():
    """C8 under 45 degrees, about the centre: not exact, and far better than for a filter without symmetry."""
    image, hidden = PlanarType("C8", "1x0"), PlanarType("C8", "2x0 + 1x1")
    conv = shaken(GroupConv2d(image, hidden, size=7))
    offset = torch.arange(33, dtype=torch.float64) - 16
    turn = math.pi / 4
    rows, columns = -offset[:, None], offset[None]

    def picture(angle):
        x, y = math.cos(angle) * columns + math.sin(angle) * rows, -math.sin(angle) * columns + math.cos(angle) * rows
        return (torch.exp(-((x - 2) ** 2 + y**2) / 18) - torch.exp(-((y - 3) ** 2 + x**2) / 14))[None, None]

    def at_centre(module, angle):
        return module(picture(angle))[0, :, 16, 16].detach().numpy()

    expected = hidden.matrix(rotation(turn)) @ at_centre(conv, 0)
    error = np.linalg.norm(at_centre(conv, turn) - expected) / np.linalg.norm(expected)
    free = conv.expanded()
    with torch.no_grad():
        free.weight.normal_(generator=torch.Generator().manual_seed(3))
    other = hidden.matrix(rotation(turn)) @ at_centre(free, 0)
    assert error < 0.03 < np.linalg.norm(at_centre(free, turn) - other) / np.linalg.norm(other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PlanarType("C4", "2 regular"), "cannot read"),
        (lambda: PlanarType("C4", "1x3"), "C4 has no irreducible representation '3'"),
        (lambda: PlanarType("C4", "1x0-"), "no irreducible"),
        (lambda: PlanarType("SO(2)", "1xregular"), "finite groups"),
        (lambda: PlanarType("C4", "1xC3"), "not in the group"),
        (lambda: GroupConv2d(PlanarType("C4", "1x0"), PlanarType("C8", "1x0")), "different groups"),
        (lambda: GroupConv2d(PlanarType("C4", "1x0"), PlanarType("C4", "1x0"), size=4), "size 4"),
        (lambda: GroupConv2d(*[PlanarType("C4", "1x0")] * 2)(torch.zeros(1, 2, 5, 5)), "give .N, 1, H, W"),
        (lambda: PlanarType("C2", "1x1").transform(torch.zeros(1, 1, 3, 3), 1), "no element"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
