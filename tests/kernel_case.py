"""Calls of every operator of layers that launch every instance of every CUDA kernel, on small graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from meshconv import FieldType

BOUND = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Dtypes of the kernels, and the relative error they may have."""

Call = tuple[str, tuple]
"""An operator's name and arguments, reals in float64."""


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def edges_between(sources: int, targets: int, count: int) -> tuple[Tensor, ...]:
    """Any edges, sorted by target: dst_ptr, src, dst, src_ptr, src_edge."""
    src, dst = torch.randint(max(sources, 1), (count,)), torch.randint(max(targets, 1), (count,)).sort().values
    src_edge = src.argsort(stable=True)
    ends = [torch.searchsorted(e, torch.arange(n + 1)) for e, n in ((dst, targets), (src[src_edge], sources))]
    return ends[0], src, dst, ends[1], src_edge


def convolutions(
    kind: str, in_type: FieldType, out_type: FieldType, sizes: tuple[int, int, int], radial: int = 2, batch: int = 2
) -> Iterator[tuple[str, Call]]:
    """The three operators in both directions; sizes are sources, targets and edges."""
    edges, a, b = edges_between(*sizes), in_type.multiplicities, out_type.multiplicities
    shape = (in_type.dim, out_type.dim) if kind == "gauge_conv" else (2 * len(a) - 1, 2 * len(b) - 1, a[0])
    count, weight = sizes[2], normal(radial, *shape)
    values, angles = normal(count, radial), (normal(count) * 3, normal(count) * 3)
    for transpose in (False, True):
        x, grad = normal(batch, sizes[transpose], in_type.dim), normal(batch, sizes[not transpose], out_type.dim)
        tail = (*angles, *edges, a, b, transpose)
        for suffix, pair in (("", (weight, values)), ("_weight", (grad, values)), ("_edge", (grad, weight))):
            yield "backwards" if transpose else "forwards", (kind + suffix, (x, *pair, *tail))


def members(
    t: FieldType, sizes: tuple[int, int, int], heads: int = 1, batch: int = 2, shared: bool = False
) -> Iterator[tuple[str, Call]]:
    """Transport and reduction: all operators on one graph."""
    edges, m = edges_between(*sizes), t.multiplicities
    turn, weight = normal(sizes[2]) * 3, normal(1 if shared else batch, sizes[2], heads)
    x, y = normal(batch, sizes[0], t.dim), normal(batch, sizes[1], t.dim)
    for signed in (False, True):
        yield f"signed {signed}", ("transport_argmax", (x, *edges, m, signed))
    chosen = torch.ops.meshconv.transport_argmax(x, *edges, m, False)
    yield "", ("transport_dot", (x, y, turn, *edges, m, heads))
    for transpose, at in ((False, x), (True, y)):
        yield f"transpose {transpose}", ("transport_sum", (at, weight, turn, *edges, m, transpose))
        yield f"transpose {transpose}", ("transport_select", (at, chosen, turn, *edges, m, transpose))
    yield "", ("segment_softmax", (weight * 5, edges[0]))
    yield "", ("segment_total", (weight, edges[0]))


def nonlinearities(rows: int, parts: int, channels: int, samples: int) -> Iterator[tuple[str, Call]]:
    x, g, h = (normal(rows, parts, channels) for _ in range(3))
    for activation in ("relu", "silu"):
        yield activation, ("fourier_act", (x, samples, activation))
        yield activation, ("fourier_act_grad", (x, g, samples, activation))
        yield activation, ("fourier_act_curvature", (x, g, h, samples, activation))


def uniform(channels: int, order: int) -> FieldType:
    return FieldType.uniform(channels, order)


def single(channels: int, order: int) -> FieldType:
    return FieldType(f"{channels}x{order}")


CASES: dict[str, Callable[[], Iterator[tuple[str, Call]]]] = {
    # More edges in a row than are staged at a time; targets that are no sources.
    "conv": lambda: convolutions("gauge_conv", uniform(3, 2), uniform(2, 1), (9, 7, 150), radial=3),
    "conv, missing orders": lambda: convolutions(
        "gauge_conv", FieldType("2x1 + 3x4"), FieldType("1x0 + 2x3"), (5, 6, 20)
    ),
    "conv, several slices of a source": lambda: convolutions(
        "gauge_conv", uniform(180, 1), FieldType("1x0 + 2x1"), (4, 3, 9)
    ),
    "conv, highest orders": lambda: convolutions(
        "gauge_conv", uniform(1, 32), uniform(1, 32), (3, 4, 8), radial=1, batch=1
    ),
    "conv, more functions than fit": lambda: convolutions(
        "gauge_conv", single(2, 0), single(1, 32), (3, 2, 5), radial=120, batch=1
    ),
    "conv, no edge": lambda: convolutions("gauge_conv", uniform(2, 1), uniform(1, 2), (3, 2, 0)),
    "conv, no vertex": lambda: convolutions("gauge_conv", uniform(2, 1), uniform(1, 2), (0, 0, 0)),
    "conv, no batch": lambda: convolutions("gauge_conv", uniform(2, 1), uniform(1, 2), (3, 2, 4), batch=0),
    # Two runs of rows, two blocks of channels; lanes without a channel.
    "depthwise": lambda: convolutions("depthwise_conv", uniform(35, 1), uniform(35, 2), (50, 45, 100)),
    "depthwise, scalars": lambda: convolutions("depthwise_conv", uniform(3, 0), uniform(3, 0), (5, 4, 30)),
    "depthwise, highest orders": lambda: convolutions(
        "depthwise_conv", uniform(2, 32), uniform(2, 32), (3, 2, 4), batch=1
    ),
    "depthwise, no edge": lambda: convolutions("depthwise_conv", uniform(3, 1), uniform(3, 1), (3, 2, 0)),
    "depthwise, no vertex": lambda: convolutions("depthwise_conv", uniform(3, 1), uniform(3, 1), (0, 0, 0)),
    "depthwise, no batch": lambda: convolutions("depthwise_conv", uniform(3, 1), uniform(3, 1), (3, 2, 4), batch=0),
    # More fields than stand side by side, heads, rows of a member or two, and rows that several threads share.
    "members": lambda: members(uniform(14, 2), (30, 25, 60), heads=2),
    "members, shared weights": lambda: members(FieldType("4x0 + 2x3"), (5, 6, 20), heads=2, shared=True),
    "members, long rows": lambda: members(FieldType("40x0 + 3x1"), (7, 3, 250)),
    "members, highest orders": lambda: members(uniform(1, 32), (5, 4, 12)),
    "members, no edge": lambda: members(uniform(2, 1), (3, 2, 0)),
    "members, no vertex": lambda: members(uniform(2, 1), (0, 0, 0)),
    "members, no batch": lambda: members(uniform(2, 1), (3, 2, 4), batch=0),
    **{
        f"Fourier, {parts} components": lambda parts=parts: nonlinearities(60, parts, 5, 2 * parts + 1)
        for parts in (1, 3, 5, 7, 9, 11)
    },
    # The table of waves is staged a part at a time.
    "Fourier, highest orders": lambda: nonlinearities(50, 65, 6, 257),
    "Fourier, many samples": lambda: nonlinearities(3, 3, 2, 5000),
    "Fourier, no row": lambda: nonlinearities(0, 3, 2, 7),
}


def calls(case: str, dtype: torch.dtype) -> list[tuple[str, str, tuple]]:
    """Detail, operator and arguments of a case."""

    def rounded(argument: object) -> object:
        real = isinstance(argument, Tensor) and argument.is_floating_point()
        return argument.to(dtype) if real else argument

    torch.manual_seed(0)
    return [(detail, name, tuple(map(rounded, arguments))) for detail, (name, arguments) in CASES[case]()]


def assert_equal_the_cpu(found: Tensor, name: str, arguments: tuple, detail: str = "") -> None:
    """Indices exactly; reals within BOUND of the CPU's result in float64 for the same numbers."""
    operator = getattr(torch.ops.meshconv, name)
    arguments = tuple(a.cpu() if isinstance(a, Tensor) else a for a in arguments)
    if not found.is_floating_point():
        assert torch.equal(found.cpu(), operator(*arguments)), f"{name} {detail}"
        return
    expected = operator(*(a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments))
    assert found.dtype == arguments[0].dtype
    assert found.shape == expected.shape
    error = (found.double().cpu() - expected).norm()
    assert error <= BOUND[found.dtype] * expected.norm(), f"{name} {detail}: {error / expected.norm():.1e}"
