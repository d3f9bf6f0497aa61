"""Factor graphs: belief propagation against sums over all configurations and against transfer matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from meshes import icosphere

from meshconv import InputError
from meshconv.hybrid import (
    EnhancedBeliefPropagation,
    FactorGraph,
    PottsLayer,
    belief_propagation,
    ising_grid,
    ising_marginals,
    mean_field,
)


def enumerated(states: list[int], factors: list) -> np.ndarray:
    """Marginals [V, max states] by a sum over all configurations."""
    found = np.zeros((len(states), max(states)))
    for x in itertools.product(*map(range, states)):
        weight = np.exp(sum(table[tuple(x[v] for v in scope)] for scope, table in factors))
        for v, value in enumerate(x):
            found[v, value] += weight
    return found / found.sum(1, keepdims=True)


def random_tree(seed: int) -> tuple[list[int], list]:
    """Variables of 2 to 4 states, joined by factors of two and three of them, each with one of its own."""
    rng = np.random.default_rng(seed)
    states = rng.integers(2, 5, 7).tolist()
    scopes = [(v,) for v in range(7)] + [(1, 0), (0, 2, 3), (4, 1), (3, 5), (6, 3)]
    return states, [(s, 2 * rng.normal(size=[states[v] for v in s])) for s in scopes]


def random_grid(rows: int, columns: int, beta: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = [(rows, columns), (rows, columns - 1), (rows - 1, columns)]
    return tuple(beta * rng.normal(size=s) for s in shapes)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_belief_propagation_is_exact_on_trees(seed, damping):
    states, factors = random_tree(seed)
    graph = FactorGraph(states, factors)
    assert graph.is_forest
    np.testing.assert_allclose(belief_propagation(graph, damping=damping), enumerated(states, factors), atol=1e-10)


def test_long_chains_are_exact():
    n = 400
    rng = np.random.default_rng(0)
    field, right = rng.normal(size=(n, 1)), rng.normal(size=(n - 1, 1))
    found = belief_propagation(ising_grid(field.T, right.T, np.zeros((0, n))))
    np.testing.assert_allclose(found, ising_marginals(field, np.zeros((n, 0)), right), atol=1e-10)


def test_excluded_configurations():
    never = -np.inf
    factors = [((0,), np.array([0.0, never, 1.0])), ((0, 1), np.array([[0, never], [0, 0], [never, 0.0]])),
               ((1, 2), np.array([[0.0, 1.0], [0.5, never]]))]  # fmt: skip
    found = belief_propagation(FactorGraph([3, 2, 2], factors))
    np.testing.assert_allclose(found, enumerated([3, 2, 2], factors), atol=1e-12)
    with pytest.raises(InputError, match="no configuration"):
        belief_propagation(FactorGraph([2], [((0,), [0.0, never]), ((0,), [never, 0.0])]))


def test_transfer_matrices_are_the_sum_over_all_configurations():
    field, right, down = random_grid(3, 4, 1.0)
    graph = ising_grid(field, right, down)
    factors = [(v, t) for g in graph.groups for v, t in zip(g.variables.tolist(), g.tables.numpy(), strict=True)]
    exact = ising_marginals(field, right, down)
    np.testing.assert_allclose(exact, enumerated([2] * 12, factors), atol=1e-12)
    turned = ising_marginals(field.T, down.T, right.T)
    np.testing.assert_allclose(turned.reshape(4, 3, 2).swapaxes(0, 1).reshape(12, 2), exact, atol=1e-12)


def test_loops_on_ten_by_ten_grids():
    """Weak couplings: BP is nearly exact, mean field further off; without couplings both are exact."""
    grid = random_grid(10, 10, 0.2)
    exact = ising_marginals(*grid)
    graph = ising_grid(*grid)
    assert not graph.is_forest
    belief, naive = (np.abs(f(graph) - exact).mean() for f in (belief_propagation, mean_field))
    assert belief < 1e-3 < naive < 0.05
    free = grid[0], 0 * grid[1], 0 * grid[2]
    for method in (belief_propagation, mean_field):
        np.testing.assert_allclose(method(ising_grid(*free)), ising_marginals(*free), atol=1e-10)


def test_mean_field_satisfies_its_equation():
    field, right, down = random_grid(4, 4, 0.5)
    q = mean_field(ising_grid(field, right, down))
    m = (q[:, 1] - q[:, 0]).reshape(4, 4)
    total = field.copy()
    total[:, 1:] += right * m[:, :-1]
    total[:, :-1] += right * m[:, 1:]
    total[1:] += down * m[:-1]
    total[:-1] += down * m[1:]
    np.testing.assert_allclose(m, np.tanh(total), atol=1e-9)


def test_tensors_come_back_for_tensors():
    graph = FactorGraph([2], [((0,), torch.tensor([0.0, 1.0]))])
    assert isinstance(belief_propagation(graph), torch.Tensor)
    assert isinstance(mean_field(FactorGraph([2], [((0,), [0.0, 1.0])])), np.ndarray)


def test_enhanced_with_closed_gates_is_exact_on_trees():
    rng = np.random.default_rng(0)
    scopes = [(v,) for v in range(6)] + [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5)]
    factors = [(s, rng.normal(size=[3] * len(s))) for s in scopes]
    found = EnhancedBeliefPropagation(3, iterations=8).double()(FactorGraph([3] * 6, factors)).exp()
    np.testing.assert_allclose(found.detach().numpy(), enumerated([3] * 6, factors), atol=1e-10)


def test_enhanced_learns_and_does_not_depend_on_the_order():
    grid = random_grid(3, 3, 1.5)
    graph, exact = ising_grid(*grid), torch.from_numpy(ising_marginals(*grid)).float()
    torch.manual_seed(0)
    network = EnhancedBeliefPropagation(2, hidden=16, iterations=4)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    errors = []
    for _ in range(12):
        loss = (exact * (exact.log() - network(graph))).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.8 * errors[0]
    turned = ising_grid(grid[0].T, grid[2].T, grid[1].T)
    again = network(turned).reshape(3, 3, 2).transpose(0, 1).reshape(9, 2)
    assert torch.allclose(network(graph), again, atol=1e-4)


def test_potts_layer_is_belief_propagation():
    graph = icosphere(0).gauge_graph().to(dtype=torch.float64)
    layer = PottsLayer(3, "1x0 + 1x1", iterations=7).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    logits, x = torch.randn(12, 3).double(), layer.in_type.randn(12).double()
    one_way = graph.src < graph.dst
    tables = layer.weights(graph, x)[one_way, None, None] * torch.eye(3)
    factors = FactorGraph.pairwise(logits, torch.stack([graph.src, graph.dst], 1)[one_way], tables.detach())
    # Its first iteration brings the logits alone.
    expected = belief_propagation(factors, iterations=8, tolerance=0)
    assert torch.allclose(layer(logits, graph, x).exp(), expected, atol=1e-12)
    several = layer(torch.stack([logits, 0 * logits]), graph, torch.stack([x, x]))
    assert torch.allclose(several[0], layer(logits, graph, x), atol=1e-12)


def test_potts_weights_are_invariant_and_symmetric():
    graph = icosphere(0).gauge_graph().to(dtype=torch.float64)
    layer = PottsLayer(2, "1x0 + 2x1").double()
    torch.nn.init.normal_(layer.edge[2].weight)
    x = layer.in_type.randn(12).double()
    weights = layer.weights(graph, x)
    back = {(int(a), int(b)): float(w) for a, b, w in zip(graph.src, graph.dst, weights.detach(), strict=True)}
    assert all(back[b, a] == pytest.approx(w) for (a, b), w in back.items())
    alpha = graph.random_gauge()
    turned = layer.weights(graph.change_gauge(alpha), layer.in_type.change_gauge(x, alpha))
    assert torch.allclose(turned, weights, atol=1e-12)


def test_potts_layer_smooths_noise():
    graph = icosphere(0).gauge_graph()
    logits = torch.tensor([[1.0, 0.0]] * 11 + [[0.0, 0.3]])
    found = PottsLayer(2, "1x0", weight=0.5)(logits, graph, torch.zeros(12, 1))
    assert (found.argmax(-1) == 0).all()
    with pytest.raises(InputError, match=r"logits are \[12, 3\], expected \[.., 12, 2\]"):
        PottsLayer(2, "1x0")(torch.zeros(12, 3), graph, torch.zeros(12, 1))


@pytest.mark.parametrize(
    ("states", "factors", "message"),
    [
        ([2, 3], [((0, 1), np.zeros((2, 2)))], r"factor 0 is \[2, 2\], its variables \(0, 1\) have \[2, 3\] states"),
        ([2], [((1,), np.zeros(2))], r"factor 0 is of variables \(1,\); expected different ones of 0..0"),
        ([2, 2], [((0, 0), np.zeros((2, 2)))], "different"),
        ([2], [((0,), [0.0, np.nan])], "NaN"),
        ([2], [((0,), [0.0, np.inf])], r"\+inf"),
        ([], [], "at least one"),
    ],
)
def test_wrong_graphs(states, factors, message):
    with pytest.raises(InputError, match=message):
        FactorGraph(states, factors)


def test_more_factors_than_memory():
    edges = torch.tensor([0, 1]).expand(2**40, 2)
    with pytest.raises(InputError, match=r"1099511627776 factors need .* GiB"):
        FactorGraph.pairwise(np.zeros((2, 2)), edges, np.zeros((2, 2)))
    table = np.broadcast_to(0.0, (2,) * 40)
    with pytest.raises(InputError, match=r"factor 0 of 40 variables: its messages need 32768.0 GiB"):
        FactorGraph([2] * 40, [(range(40), table)])


@pytest.mark.parametrize("damping", [-0.1, 1.0])
def test_wrong_damping(damping):
    for method in (belief_propagation, mean_field):
        with pytest.raises(InputError, match="damping"):
            method(FactorGraph([2], [((0,), [0.0, 1.0])]), damping=damping)
