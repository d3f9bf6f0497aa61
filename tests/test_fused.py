"""Operators that take several layers in one pass: against the layers one by one, derivatives, torch's rules, errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from meshconv import FieldType
from meshconv.models.invariants import InvariantLayers
from meshconv.nn import FieldBatchNorm, GatedNonlinearity, GaugeConv, Linear, ResidualBlock
from meshconv.ops import field_moments, gauge_conv, norm_gate, norm_gate_reference

TYPES = ["3x0 + 2x1 + 1x2", "5x0", "4x1", "37x0 + 19x1 + 16x2", "3x0 + 2x0- + 1x1", "2x0 + 3x2", "O(2): 4x0 + 2x1"]
ROWS = [1, 2, 63, 150, 9000]

each_type = pytest.mark.parametrize("kind", [FieldType(text) for text in TYPES], ids=str)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def arguments(kind: FieldType, rows: int, batch: bool) -> tuple[Tensor, ...]:
    """x, scale, shift, mean, var, residual."""
    given = GatedNonlinearity(kind).in_type
    x = 2 * normal(rows, given.dim) + 1
    mean, var = (normal(given.scalars), normal(given.num_fields).square() + 0.2)
    if batch:
        mean, var = field_moments(x, given)
    return x, normal(given.num_fields), normal(given.scalars), mean, var, normal(rows, kind.dim)


def by_layers(kind: FieldType, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, residual: Tensor,
              batch: bool) -> Tensor:  # fmt: skip
    """Batch norm and gate of the package, one after the other, which share no code with the operator."""
    act = GatedNonlinearity(kind)
    norm = FieldBatchNorm(act.in_type).to(x.dtype).train(batch)
    state = {"scale": scale, "shift": shift, "running_mean": mean, "running_var": var}
    if batch:  # which counts, in place
        state |= {"running_mean": mean.clone(), "running_var": var.clone()}
    return residual + act(torch.func.functional_call(norm, state, (x,)))


def gradients(y: Tensor, leaves: list[Tensor], grad: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(y, leaves, grad.to(y.dtype), allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]


@each_type
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("rows", ROWS)
def test_equals_the_layers_one_by_one(kind, batch, rows):
    x, *rest = arguments(kind, rows, batch)
    grad = normal(rows, kind.dim)
    results = []
    for function in (lambda *t: norm_gate(*t, kind, eps=1e-5, batch=batch), lambda *t: by_layers(kind, *t, batch)):
        leaves = [t.detach().clone().requires_grad_(k not in (3, 4) or not batch) for k, t in enumerate((x, *rest))]
        y = function(*leaves)
        results.append([y, *gradients(y, [t for t in leaves if t.requires_grad], grad)])
    for found, expected in zip(*results, strict=True):
        assert (found - expected).norm() <= 1e-10 * max(1, expected.norm())


@each_type
@pytest.mark.parametrize("batch", [True, False])
def test_float32_rounds_and_nothing_more(kind, batch):
    """Far from zero, where a mean of squares minus a squared mean has no digits left."""
    x, scale, shift, mean, var, residual = arguments(kind, 500, batch)
    x = x + 300
    if batch:
        mean, var = field_moments(x.float().double(), GatedNonlinearity(kind).in_type)
    grad, results = normal(500, kind.dim), []
    for dtype in (torch.float32, torch.float64):
        given = [t.float().to(dtype) for t in (x, scale, shift, mean, var, residual)]
        if batch:
            given[3:5] = field_moments(given[0], GatedNonlinearity(kind).in_type)
        leaf = given[0].requires_grad_()
        y = norm_gate(leaf, *given[1:], kind, eps=1e-5, batch=batch)
        results.append([y.double(), *(g.double() for g in gradients(y, [leaf], grad))])
    for found, expected in zip(*results, strict=True):
        assert (found - expected).norm() <= 2e-4 * expected.norm()


@each_type
def test_moments(kind):
    x = normal(777, kind.dim) + 3
    mean, var = field_moments(x, kind)
    torch.testing.assert_close(mean, x[:, : kind.scalars].mean(0))
    centred = torch.cat([x[:, : kind.scalars] - mean, x[:, kind.scalars :]], dim=1)
    squares = kind.norms(centred).square().mean(0)
    components = kind.per_component(torch.arange(kind.num_fields)).bincount(minlength=kind.num_fields)
    torch.testing.assert_close(var, squares / components)


@pytest.mark.parametrize("kind", [FieldType(text) for text in ("2x0 + 1x1 + 1x2", "1x0 + 1x0- + 1x1")], ids=str)
@pytest.mark.parametrize("batch", [True, False])
def test_first_and_second_derivatives(kind, batch):
    x, scale, shift, mean, var, residual = (t.requires_grad_() for t in arguments(kind, 3, batch))
    if batch:
        given = GatedNonlinearity(kind).in_type

        def function(x, scale, shift, residual):
            return norm_gate(x, scale, shift, *field_moments(x, given), residual, kind, eps=0.1, batch=True)

        tensors = (x, scale, shift, residual)
    else:

        def function(*tensors):
            return norm_gate(*tensors, kind, eps=0.1, batch=False)

        tensors = (x, scale, shift, mean, var, residual)
    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("batch", [True, False])
def test_third_derivatives_agree_with_the_reference(batch):
    kind, found = FieldType("2x0 + 1x1"), []
    start, scale, shift, mean, var, _ = arguments(kind, 4, batch)
    for function in (
        lambda x: norm_gate(x, scale, shift, mean, var, None, kind, eps=0.1, batch=batch),
        lambda x: norm_gate_reference(x, scale, shift, mean, var, x.new_empty(0), kind, 0.1, batch),
    ):
        x = start.clone().requires_grad_()
        value = function(x).sin().sum()
        for _ in range(3):
            (grad,) = torch.autograd.grad(value, x, create_graph=True)
            value = (grad * torch.linspace(-1, 2, grad.numel(), dtype=grad.dtype).reshape(grad.shape)).sum()
        found.append(value.detach())
    torch.testing.assert_close(*found, rtol=1e-9, atol=0)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("batch", [True, False])
def test_operators_obey_the_rules_of_torch(batch):
    kind = FieldType("2x0 + 1x1 + 1x2")
    x, scale, shift, mean, var, residual = arguments(kind, 5, batch)
    tensors = tuple(t.requires_grad_() for t in (x, scale, shift))
    tail = ([2, 1, 1], 0, 1e-5, batch)
    ops = torch.ops.meshconv
    torch.library.opcheck(ops.norm_gate.default, (*tensors, mean, var, residual, *tail))
    torch.library.opcheck(ops.field_moments.default, (x.detach(), [4, 1, 1], 0))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(ops.norm_gate_grad.default, (*tensors, mean, var, residual, *tail), test_utils=checks)


@pytest.mark.usefixtures("compiled")
def test_bits_do_not_depend_on_threads_or_strides():
    kind, before, results = FieldType("17x0 + 16x1 + 3x2"), torch.get_num_threads(), []
    x, scale, shift, _, _, residual = (t.float() for t in arguments(kind, 3000, True))
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for given in (x, x.T.contiguous().T):
                leaf = given.clone().requires_grad_()
                moments = field_moments(leaf, GatedNonlinearity(kind).in_type)
                y = norm_gate(leaf, scale, shift, *moments, residual, kind, eps=1e-5, batch=True)
                results.append((y.detach(), torch.autograd.grad(y.square().sum(), leaf)[0]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@each_type
def test_nothing_in_nothing_out(kind):
    block = ResidualBlock(kind, kind).act1
    x = torch.zeros(2, 0, block.in_type.dim, requires_grad=True)
    ones = torch.ones(block.in_type.num_fields)
    y = norm_gate(x, ones, *[torch.zeros(block.in_type.scalars)] * 2, ones, None, kind, eps=1e-5, batch=False)
    assert y.shape == (2, 0, kind.dim)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


@each_type
@pytest.mark.parametrize("training", [True, False])
def test_a_block_is_its_layers_one_by_one(kind, training, random_graph):
    """The same output, gradients and running estimates as with layers that are watched, which run alone."""
    graph = random_graph(40, 200)
    wide = FieldType("O(2): 2x0 + 1x1") if kind.group == "O(2)" else FieldType("2x0 + 1x1")
    block = ResidualBlock(wide, kind).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    state = {name: value.clone() for name, value in block.state_dict().items()}
    x, grad, results = normal(3, 40, wide.dim), normal(3, 40, kind.dim), []
    for watched in (False, True):
        block.load_state_dict(state)
        block.train(training)
        hooks = [m.register_forward_hook(lambda *_: None) for m in (block.norm1, block.norm2)] if watched else []
        leaf = x.clone().requires_grad_()
        y = block(leaf, graph)
        results.append([y, *gradients(y, [leaf, *block.parameters()], grad), *(b.clone() for b in block.buffers())])
        for hook in hooks:
            hook.remove()
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_dense_layers_are_their_layers_one_by_one(training):
    """The same as when norms are watched, and of a layer its linear map alone stays for the derivative."""
    dense, x, results = InvariantLayers("4x0 + 3x1", 6, layers=2).double().train(training), normal(2, 30, 10), []
    state, grad = dense.state_dict(), normal(2, 30, 6)
    state = {key: value.clone() for key, value in state.items()}
    kept = []
    for watched in (False, True):
        dense.load_state_dict(state)
        hooks = [m.register_forward_hook(lambda *_: None) for m in dense.norms] if watched else []
        leaf, sizes = x.clone().requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, n=sizes: n.append(t.numel()) or t, lambda t: t):
            y = dense(leaf)
        kept.append(sum(size >= grad.numel() for size in sizes))
        results.append([y, *gradients(y, [leaf, *dense.parameters()], grad), *(b.clone() for b in dense.buffers())])
        for hook in hooks:
            hook.remove()
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert kept[0] < kept[1]


@pytest.mark.parametrize(("source", "target"), [("3x0 + 2x1", "4x0 + 1x1 + 2x2"), ("2x1 + 1x2", "3x0 + 2x1"),
                                                ("40x0 + 24x1", "1x0 + 2x1"), ("2x0 + 1x0- + 2x1", "1x0 + 2x0- + 1x1"),
                                                ("O(2): 2x0", "O(2): 3x0")])  # fmt: skip
@pytest.mark.parametrize("bias", [True, False])
def test_terms_of_the_point_in_the_product(source, target, bias, random_graph):
    """The convolution is that without them, plus the linear map, plus the bias: values and gradients."""
    graph, conv = random_graph(30, 140), GaugeConv(source, target, bias=bias).double()
    bare = GaugeConv(source, target, bias=False, self_interaction=False).double()
    bare.weight = conv.weight
    if conv.bias is not None:
        nn.init.normal_(conv.bias)
    x, grad, results = normal(2, 30, conv.in_type.dim), normal(2, 30, conv.out_type.dim), []
    for fused in (True, False):
        leaf = x.clone().requires_grad_()
        y = conv(leaf, graph) if fused else bare(leaf, graph) + conv.self_interaction(leaf)
        if not fused and conv.bias is not None:
            y = y + nn.functional.pad(conv.bias, (0, conv.out_type.dim - len(conv.bias)))
        results.append([y, *gradients(y, [leaf, *conv.parameters()], grad)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_derivatives_of_terms_of_the_point(random_graph):
    graph, source, target = random_graph(5, 12), FieldType("2x0 + 1x1"), FieldType("1x0 + 1x1")
    angles, tensors = normal(2, 12), (normal(5, source.dim), normal(2, source.dim, target.dim), normal(12, 2))
    own = (normal(source.dim, target.dim), normal(1))
    leaves = tuple(t.requires_grad_() for t in (*tensors, *angles, *own))

    def function(x, weight, radial, angle, transporter, point, bias):
        return gauge_conv(x, weight, radial, angle, transporter, graph.edges, source, target, point, bias)

    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


def test_a_linear_map_is_its_matrix():
    for source, target in (("3x0 + 2x1", "4x0 + 1x1 + 2x2"), ("2x0 + 1x0- + 2x1", "1x0 + 2x0- + 1x1"), ("1x1", "2x0")):
        linear, x = Linear(source, target, bias=False), FieldType(source).randn(5)
        torch.testing.assert_close(x @ linear.matrix(), linear(x))


@pytest.mark.usefixtures("compiled")
def test_operators_refuse_what_does_not_fit():
    ops, kind = torch.ops.meshconv, FieldType("2x0 + 1x1")
    x, scale, shift, mean, var, residual = arguments(kind, 5, False)
    tail = ([2, 1], 0, 1e-5, False)
    with pytest.raises(RuntimeError, match="x has to be float32 or float64"):
        ops.norm_gate(x.half(), scale, shift, mean, var, residual, *tail)
    with pytest.raises(RuntimeError, match=r"x has shape \[5, 4\], expected \[-1, 5\]"):
        ops.norm_gate(x[:, :4], scale, shift, mean, var, residual, *tail)
    with pytest.raises(RuntimeError, match=r"scale has shape \[3\], expected \[4\]"):
        ops.norm_gate(x, scale[:3], shift, mean, var, residual, *tail)
    with pytest.raises(RuntimeError, match=r"residual has shape \[4, 4\], expected \[5, 4\]"):
        ops.norm_gate(x, scale, shift, mean, var, residual[:4], *tail)
    with pytest.raises(RuntimeError, match="3 odd scalars among 2"):
        ops.norm_gate(x, scale, shift, mean, var, residual, [2, 1], 3, 1e-5, False)
    with pytest.raises(RuntimeError, match="var has to have the dtype of x"):
        ops.norm_gate(x, scale, shift, mean, var.float(), residual, *tail)
    with pytest.raises(RuntimeError, match=r"grad has shape \[5, 3\], expected \[5, 4\]"):
        ops.norm_gate_grad(x, scale, shift, mean, var, residual[:, :3], *tail)
    with pytest.raises(RuntimeError, match=r"x has shape \[0, 5\], expected \[rows, dim\] with rows"):
        ops.field_moments(x[:0], [3, 1], 0)
