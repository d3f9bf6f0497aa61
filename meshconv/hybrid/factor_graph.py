"""Factor graphs of discrete variables, and their exact or approximate marginals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from meshconv.errors import InputError
from meshconv.hybrid.arrays import check_memory, finite, like


class FactorGroup(NamedTuple):
    """Factors with tables of one shape: ``tables`` [G, k_1, .., k_a], ``variables`` [G, a], ``slots`` [G, a].

    Slots number the pairs of a factor and one of its variables, over the whole graph.
    """

    tables: Tensor
    variables: Tensor
    slots: Tensor


class FactorGraph:
    r"""Factor graph: :math:`p(x) \propto \prod_f \exp \theta_f(x_f)` over discrete variables.

    Parameters
    ----------
    states : int or sequence of int
        Number of states of each variable, at least 1; its length is the number of variables.
    factors : iterable of (variables, table)
        Different variables of each factor, and :math:`\theta_f`, the logarithm of its potential: an array with one axis
        for each of them, in this order. ``-inf`` excludes a configuration.

    Raises
    ------
    InputError
        A table's shape is not that of its variables' states, a variable does not exist or is repeated, a value is NaN
        or ``+inf``, or the messages need more memory than there is.

    Examples
    --------
    >>> import numpy as np
    >>> graph = FactorGraph([2, 2], [([0], np.log([0.9, 0.1])), ([0, 1], np.log([[0.8, 0.2], [0.3, 0.7]]))])
    >>> belief_propagation(graph).round(3)
    array([[0.9 , 0.1 ],
           [0.75, 0.25]])
    """

    def __init__(self, states: Sequence[int], factors: Iterable[tuple[Sequence[int], Any]]):
        self.states = torch.as_tensor(states, dtype=torch.int64)
        if self.states.dim() != 1 or not len(self.states) or self.states.min() < 1:
            raise InputError(f"states is {states}; give a positive number for each variable, at least one")
        self.num_states = int(self.states.max())
        grouped: dict[tuple[int, ...], tuple[list, list]] = defaultdict(lambda: ([], []))
        self.example: Any = None
        for f, (variables, table) in enumerate(factors):
            self.example = table if self.example is None else self.example
            scope = tuple(int(v) for v in variables)
            checked = self._check(f, scope, table)
            grouped[tuple(checked.shape)][0].append(checked)
            grouped[tuple(checked.shape)][1].append(scope)
        groups = [(torch.stack(tables), torch.tensor(scopes)) for tables, scopes in grouped.values()]
        self._set(groups)

    def _set(self, groups: Sequence[tuple[Tensor, Tensor]]) -> None:
        start, self.groups = 0, []
        for tables, variables in groups:
            slots = torch.arange(start, start + variables.numel()).reshape(variables.shape)
            start += variables.numel()
            self.groups.append(FactorGroup(tables, variables, slots))
        self.num_slots = start
        self.num_factors = sum(len(g.tables) for g in self.groups)
        largest = max((g.tables.numel() * (2 + g.variables.shape[1]) for g in self.groups), default=0)
        check_memory(8 * (6 * start * self.num_states + largest), f"{self.num_factors} factors")
        self.slot_variable = torch.cat([g.variables.flatten() for g in self.groups] or [torch.zeros(0).long()])

    @classmethod
    def pairwise(cls, unary: Any, edges: Any, tables: Any) -> FactorGraph:
        """Variables with ``unary`` [V, S], the logarithms of their own potentials, and factors between pairs.

        Parameters
        ----------
        unary : array [V, S]
        edges : int array [E, 2]
        tables : array [E, S, S], or [S, S] for all pairs
        """
        theta, pairs = finite(unary, "unary"), torch.as_tensor(edges, dtype=torch.int64)
        if theta.dim() != 2 or not theta.numel():
            raise InputError(f"unary is {list(theta.shape)}, expected [variables, states]")
        v, s = theta.shape
        check_memory(8 * len(pairs) * (2 * 6 * s + 4 * s * s), f"{len(pairs)} factors")
        joint = finite(tables, "tables")
        if joint.shape not in ((s, s), (len(pairs), s, s)) or pairs.shape != (len(pairs), 2):
            raise InputError(f"tables are {list(joint.shape)} and edges {list(pairs.shape)}, expected [E, {s}, {s}] "
                             f"and [E, 2]: unary is {[v, s]}")  # fmt: skip
        if len(pairs) and not (pairs.min() >= 0 and pairs.max() < v and (pairs[:, 0] != pairs[:, 1]).all()):
            raise InputError(f"edges join variables {int(pairs.min())}..{int(pairs.max())}, each two different ones of "
                             f"0..{v - 1} are expected")  # fmt: skip
        graph = cls.__new__(cls)
        graph.states, graph.num_states, graph.example = torch.full((v,), s), s, unary
        graph._set([(theta, torch.arange(v)[:, None]), (joint.expand(len(pairs), s, s).clone(), pairs)])
        return graph

    def _check(self, f: int, scope: tuple[int, ...], table: Any) -> Tensor:
        v = len(self.states)
        if not scope or len(set(scope)) < len(scope) or min(scope) < 0 or max(scope) >= v:
            raise InputError(f"factor {f} is of variables {scope}; expected different ones of 0..{v - 1}")
        shape = [int(self.states[i]) for i in scope]
        check_memory(32 * math.prod(shape), f"factor {f} of {len(scope)} variables: its messages")
        theta = torch.as_tensor(table).detach().to("cpu", torch.float64)
        wrong = theta.isnan() | (theta == torch.inf)
        if wrong.any():
            raise InputError(f"factor {f} has {int(wrong.sum())} values that are NaN or +inf; -inf excludes")
        if list(theta.shape) != shape:
            raise InputError(f"factor {f} is {list(theta.shape)}, its variables {scope} have {shape} states")
        return theta

    @property
    def num_variables(self) -> int:
        return len(self.states)

    @property
    def is_forest(self) -> bool:
        """Whether the graph of variables and factors has no circle: belief propagation is exact then."""
        factor = torch.zeros(self.num_slots, dtype=torch.int64)
        start = self.num_variables
        for g in self.groups:
            factor[g.slots] = torch.arange(start, start + len(g.tables))[:, None]
            start += len(g.tables)
        ends = (self.slot_variable.numpy(), factor.numpy())
        links = coo_array((torch.ones(self.num_slots).numpy(), ends), shape=(start, start))
        return self.num_slots == start - connected_components(links, directed=False)[0]

    def silent(self) -> Tensor:
        """Messages [slots, S] of equal probabilities; -inf past a variable's states."""
        beyond = torch.arange(self.num_states) >= self.states[self.slot_variable][:, None]
        return torch.zeros(beyond.shape, dtype=torch.float64).masked_fill(beyond, -torch.inf)

    def to_variables(self, messages: Tensor) -> Tensor:
        """Factors' messages [slots, S] to variables, from the variables' ``messages`` [slots, S] to them."""
        out = self.silent().to(messages)
        for tables, variables, slots in self.groups:
            arity = variables.shape[1]
            sent = []
            for k in range(arity):
                shape = [len(tables)] + [1] * arity
                shape[k + 1] = tables.shape[k + 1]
                sent.append(messages[slots[:, k], : tables.shape[k + 1]].reshape(shape))
            for k in range(arity):
                joint = tables.to(messages)
                for other in range(arity):
                    joint = joint if other == k else joint + sent[other]
                rest = [d + 1 for d in range(arity) if d != k]
                reduced = joint.logsumexp(rest) if rest else joint
                wide = padded(reduced, self.num_states)
                out = out.index_copy(0, slots[:, k], wide)
        return normalised(out)

    def to_factors(self, messages: Tensor) -> Tensor:
        """Variables' messages [slots, S] to factors: of all ``messages`` to the variable but the factor's own."""
        never = torch.isneginf(messages)
        # Excluded states are counted, since infinity cannot be subtracted.
        known = messages.masked_fill(never, 0.0)
        excluded = self._gathered(never.to(messages))[self.slot_variable] - never.to(messages)
        total = self._gathered(known)[self.slot_variable] - known
        return normalised(total.masked_fill(excluded > 0.5, -torch.inf))

    def log_marginals(self, messages: Tensor) -> Tensor:
        """Beliefs [V, S], normalised, from the factors' ``messages`` [slots, S]."""
        beyond = torch.arange(self.num_states) >= self.states[:, None]
        total = self._gathered(messages).masked_fill(beyond, -torch.inf)
        if torch.isneginf(total).all(-1).any():
            raise InputError("no configuration of the variables has a positive probability; see to factors of -inf")
        return total.log_softmax(-1)

    def _gathered(self, messages: Tensor) -> Tensor:
        zero = messages.new_zeros(self.num_variables, self.num_states)
        return zero.index_add(0, self.slot_variable, messages)

    def as_given(self, marginals: Tensor) -> Any:
        """``marginals`` as a tensor if the first factor was one, else as a numpy array."""
        return like(marginals, self.example)


def padded(values: Tensor, width: int) -> Tensor:
    """Values [G, s], with -inf up to ``width`` columns."""
    return torch.nn.functional.pad(values, (0, width - values.shape[-1]), value=-torch.inf)


def normalised(messages: Tensor) -> Tensor:
    """Logarithms of probabilities, or all of -inf where nothing is possible."""
    total = messages.logsumexp(-1, keepdim=True)
    return messages - total.masked_fill(torch.isneginf(total), 0.0)


def check_damping(damping: float) -> None:
    """Raise ``InputError`` unless 0 <= damping < 1."""
    if not 0 <= damping < 1:
        raise InputError(f"damping {damping} has to be in [0, 1): the part of the old message that stays")


def belief_propagation(
    graph: FactorGraph, iterations: int | None = None, damping: float = 0.0, tolerance: float = 1e-13
) -> Any:
    r"""Marginals by the sum-product algorithm in the log domain; exact on trees and forests.

    All messages at once, :math:`\mu_{v \to f} = \sum_{g \ne f} \mu_{g \to v}` and
    :math:`\mu_{f \to v}(x_v) = \log \sum_{x_f \setminus x_v} \exp(\theta_f + \sum_{u \ne v} \mu_{u \to f})`; of
    the latter, the part ``damping`` of the former iteration stays.

    Parameters
    ----------
    graph
    iterations
        At most so many; None: as many as the longest path can have for forests without damping, else 200 (1000 with
        damping).
    damping
        In [0, 1). On graphs with circles 0.5 often makes messages converge that do not else.
    tolerance
        Iterations end when no message changes by more.

    Returns
    -------
    array [V, S]
        Rows sum to 1; 0 past a variable's states. A tensor if the first factor was one.
    """
    check_damping(damping)
    if iterations is None:
        forest = graph.num_variables + 1 if graph.is_forest and not damping else 200
        iterations = 1000 if damping else max(200, forest)
    messages = graph.silent()
    for _ in range(iterations):
        found = graph.to_variables(graph.to_factors(messages))
        new = damped(found, messages, damping)
        change = torch.nan_to_num(new - messages, nan=0.0, posinf=torch.inf, neginf=-torch.inf).abs()
        messages = new
        if not change.numel() or change.max() <= tolerance:
            break
    return graph.as_given(graph.log_marginals(messages).exp())


def damped(new: Tensor, old: Tensor, damping: float) -> Tensor:
    """Mixture of messages in the log domain; what ``new`` excludes is excluded."""
    if not damping:
        return new
    never = torch.isneginf(new) | torch.isneginf(old)
    mixed = (1 - damping) * new.masked_fill(never, 0.0) + damping * old.masked_fill(never, 0.0)
    return torch.where(never, new, mixed)


def mean_field(graph: FactorGraph, iterations: int = 1000, damping: float = 0.5, tolerance: float = 1e-12) -> Any:
    r"""Marginals of the best product distribution that fixed-point steps find from equal probabilities.

    .. math:: \log q_v(x_v) = \sum_{f \ni v} E_{q(x_f \setminus x_v)}\, \theta_f(x_f) + \text{const},

    for all variables at once, damped in the log domain. A baseline: it is exact only without factors of several
    variables, and overconfident with strong ones.

    Returns
    -------
    array [V, S]
        As :func:`belief_propagation`.

    Examples
    --------
    >>> import numpy as np
    >>> mean_field(FactorGraph([2], [([0], np.log([0.9, 0.1]))])).round(3)
    array([[0.9, 0.1]])
    """
    check_damping(damping)
    for g in graph.groups:
        if torch.isneginf(g.tables).any():
            raise InputError("mean field has no expectation of factors with -inf; give a finite one, say -50")
    log_q = graph.log_marginals(graph.silent())
    for _ in range(iterations):
        q, out = log_q.exp(), graph.silent()
        for tables, variables, slots in graph.groups:
            arity = variables.shape[1]
            for k in range(arity):
                expected = tables.movedim(k + 1, 1)
                for other in reversed([i for i in range(arity) if i != k]):
                    weight = q[variables[:, other], : tables.shape[other + 1]]
                    expected = (expected * weight.reshape(len(weight), *[1] * (expected.dim() - 2), -1)).sum(-1)
                out[slots[:, k]] = padded(expected, graph.num_states)
        new = damped(graph.log_marginals(out), log_q, damping).log_softmax(-1)
        change = (new.exp() - log_q.exp()).abs().max()
        log_q = new
        if change <= tolerance:
            break
    return graph.as_given(log_q.exp())
