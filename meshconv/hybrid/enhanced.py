"""Neural enhanced belief propagation: learned refinement of the factors' messages."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.hybrid.factor_graph import FactorGraph, check_damping, damped, normalised
from meshconv.hybrid.smoother import mlp

_LOWEST = -30.0  # logarithms of messages below are this number to the network


class EnhancedBeliefPropagation(nn.Module):
    r"""Belief propagation with a graph network beside it, which refines the messages from factors to variables.

    .. math:: \mu_{f \to v} \leftarrow (1 + s)\, \mu_{f \to v} + u, \quad (s, u) = g(h_f, h_v, \mu_{f \to v})

    with a learned function g and states h of factors and variables, updated by a GRU from the sums of messages along
    the factor graph's edges. Factors of one and two variables enter by their tables, others by their messages alone.
    The gates s and u start at zero: an untrained network is belief propagation, exact on trees.

    Parameters
    ----------
    states
        Of every variable.
    hidden
    iterations
    damping
        As in :func:`belief_propagation`.

    References
    ----------
    Garcia Satorras, Welling: Neural enhanced belief propagation on factor graphs, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> graph = FactorGraph([2, 2], [([0], np.log([0.9, 0.1])), ([0, 1], np.log([[0.8, 0.2], [0.3, 0.7]]))])
    >>> EnhancedBeliefPropagation(states=2).double()(graph).exp()
    tensor([[0.9000, 0.1000],
            [0.7500, 0.2500]], dtype=torch.float64, grad_fn=<ExpBackward0>)
    """

    def __init__(self, states: int, hidden: int = 32, iterations: int = 10, damping: float = 0.0):
        super().__init__()
        check_damping(damping)
        if iterations < 1 or states < 1:
            raise InputError(f"iterations {iterations} and states {states} have to be >= 1")
        self.states, self.hidden, self.iterations, self.damping = states, hidden, iterations, damping
        self.to_factor = mlp(2 * hidden + 2 * states, hidden, hidden)
        self.to_variable = mlp(2 * hidden + 2 * states, hidden, hidden)
        self.factor_gru = nn.GRUCell(hidden, hidden)
        self.variable_gru = nn.GRUCell(hidden, hidden)
        self.embed = nn.Linear(states * states + 1, hidden)
        self.gates = mlp(2 * hidden + states, hidden, 2 * states)
        for parameter in self.gates[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, graph: FactorGraph) -> Tensor:
        """Logarithms of the marginals, [V, states], in the parameters' dtype."""
        if graph.num_states != self.states or (graph.states != self.states).any():
            raise InputError(f"the graph's variables have {int(graph.states.min())} to {graph.num_states} states, the "
                             f"network's {self.states}; train one for them")  # fmt: skip
        like = self.embed.weight
        factor, tables = self._tables(graph, like)
        variable = graph.slot_variable
        h_factor = self.embed(tables)
        h_variable = like.new_zeros(graph.num_variables, self.hidden)
        messages = graph.silent().to(like)
        for _ in range(self.iterations):
            back = graph.to_factors(messages)
            new = graph.to_variables(back)
            seen = torch.cat([self._shown(back), self._shown(new)], -1)
            ends = torch.cat([h_factor[factor], h_variable[variable]], -1)
            sent = self.to_factor(torch.cat([ends, seen], -1))
            h_factor = self.factor_gru(torch.zeros_like(h_factor).index_add(0, factor, sent), h_factor)
            ends = torch.cat([h_factor[factor], h_variable[variable]], -1)
            sent = self.to_variable(torch.cat([ends, seen], -1))
            h_variable = self.variable_gru(torch.zeros_like(h_variable).index_add(0, variable, sent), h_variable)
            ends = torch.cat([h_factor[factor], h_variable[variable], self._shown(new)], -1)
            scale, shift = self.gates(ends).chunk(2, -1)
            never = torch.isneginf(new)
            refined = new.masked_fill(never, 0.0) * (1 + scale) + shift
            messages = damped(normalised(refined.masked_fill(never, -torch.inf)), messages, self.damping)
        return graph.log_marginals(messages)

    def _shown(self, messages: Tensor) -> Tensor:
        return messages.clamp_min(_LOWEST)

    def _tables(self, graph: FactorGraph, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factor of each slot, and features of factors: the table of one or two variables, and the number of them."""
        factor = torch.zeros(graph.num_slots, dtype=torch.int64)
        features, start = [], 0
        for tables, variables, slots in graph.groups:
            count, arity = variables.shape
            factor[slots] = torch.arange(start, start + count)[:, None]
            start += count
            flat = tables.new_zeros(count, self.states, self.states)
            if arity <= 2:
                flat = flat + tables.clamp_min(_LOWEST).reshape(count, self.states, -1)
            features.append(torch.cat([flat.flatten(1), tables.new_full((count, 1), arity)], -1).to(like))
        return factor, torch.cat(features or [like.new_zeros(0, self.states**2 + 1)])
