"""HybridSmoother: message passing on a chain, corrected by a graph network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meshconv.errors import InputError
from meshconv.hybrid.gauss_markov import GaussMarkovModel


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with a leaky ReLU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(), nn.Linear(hidden, outputs))


class HybridSmoother(nn.Module):
    r"""A smoother whose message passing a graph network corrects.

    .. math:: x^{(k+1)} = x^{(k)} + \gamma\,\big(\epsilon^{(k+1)} + m_1 + m_2 + m_3\big)

    with the messages m of :meth:`GaussMarkovModel.messages`, through which no gradient flows, and
    :math:`\epsilon = f(h^{(k+1)})`, where a GRU updates the network's state h of each time by the sum of three kinds of
    edge messages: from the past state, from the future state and from the observation, each a network of both ends'
    states and of the model's message along that edge. Observations enter as :math:`y_t - y_{t-1}` and
    :math:`y_{t+1} - y_t`, so that the correction does not depend on the origin. The last layer starts at zero: an
    untrained smoother is the model's message passing.

    Parameters
    ----------
    model
    hidden
        Width of the network's states.
    iterations
    gamma
        As in :meth:`GaussMarkovModel.message_passing`; checked here for a short chain, and again for each given one.
    seed
        Of the noise that h starts with. Its generator is made anew at each call, so that evaluation repeats.
    use_model
        False leaves the messages m out of the sum and of the network: the learned half alone, as a baseline.

    References
    ----------
    Garcia Satorras, Akata, Welling: Combining generative and discriminative models for hybrid inference, 2019.

    Examples
    --------
    >>> model = GaussMarkovModel(F=[[1.0]], Q=[[1.0]], H=[[1.0]], R=[[1.0]])
    >>> smoother = HybridSmoother(model, iterations=50)
    >>> smoother(torch.tensor([[0.0], [3.0], [0.0]]))
    tensor([[0.7500],
            [1.5000],
            [0.7500]], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        model: GaussMarkovModel,
        hidden: int = 48,
        iterations: int = 100,
        gamma: float | None = None,
        seed: int = 0,
        use_model: bool = True,
    ):
        super().__init__()
        if iterations < 1 or hidden < 1:
            raise InputError(f"iterations {iterations} and hidden {hidden} have to be >= 1")
        if gamma is not None and isinstance(model.F, Tensor):
            # Longer chains have larger eigenvalues: what diverges for three times does for all.
            model.step_size(torch.zeros(3, model.num_observed), gamma)
        self.model, self.hidden, self.iterations = model, hidden, iterations
        self.gamma, self.seed, self.use_model = gamma, seed, use_model
        n, m = model.num_states, model.num_observed
        self.embed = mlp(2 * m, hidden, hidden)
        self.edges = nn.ModuleList(mlp(2 * hidden + n, hidden, hidden) for _ in range(3))
        self.gru = nn.GRUCell(hidden, hidden)
        self.decode = mlp(hidden, hidden, n)
        for parameter in self.decode[2].parameters():
            nn.init.zeros_(parameter)

    def iterates(self, y: Any) -> Tensor:
        """The states after each iteration, [iterations, ..., time, state], for y [..., time, observed]."""
        exact = self.model.check(y)
        gamma = self.model.step_size(exact, self.gamma)
        like = self.gru.weight_ih
        y, x = exact.to(like), self.model.start(exact).to(like)
        shape = x.shape[:-1]
        change = y[..., 1:, :] - y[..., :-1, :]
        none = torch.zeros_like(y[..., :1, :])
        observed = self.embed(torch.cat([torch.cat([none, change], -2), torch.cat([change, none], -2)], -1))
        generator = torch.Generator().manual_seed(self.seed)
        h = torch.randn(*shape, self.hidden, generator=generator).to(like)
        edge = torch.zeros_like(h[..., :1, :])
        found = []
        for _ in range(self.iterations):
            known = self.model.messages(x.detach(), y) * self.use_model
            future = torch.cat([h[..., 1:, :], edge], -2)
            past = torch.cat([edge, h[..., :-1, :]], -2)
            sent = [f(torch.cat([other, h, known[..., k, :]], -1))
                    for k, (f, other) in enumerate(zip(self.edges, (past, observed, future), strict=True))]  # fmt: skip
            sent[0] = torch.cat([edge, sent[0][..., 1:, :]], -2)
            sent[2] = torch.cat([sent[2][..., :-1, :], edge], -2)
            h = self.gru(sum(sent).flatten(0, -2), h.flatten(0, -2)).reshape(h.shape)  # type: ignore[union-attr]
            x = x + gamma * (self.decode(h) + known.sum(-2))
            found.append(x)
        return torch.stack(found)

    def forward(self, y: Any) -> Tensor:
        """States [..., time, state] for observations [..., time, observed], in the parameters' dtype."""
        return self.iterates(y)[-1]

    def loss(self, y: Any, truth: Any) -> Tensor:
        r"""Weighted error of all iterations, :math:`\frac2K \sum_k \frac kK\, \mathrm{MSE}(H x^{(k)}, truth)`.

        Parameters
        ----------
        y, truth : array [..., time, observed]
            The truth of what is observed, without noise.
        """
        target = self.model.check(truth).to(self.gru.weight_ih)
        states = self.iterates(y)
        if target.shape != states.shape[1:-1] + target.shape[-1:]:
            raise InputError(f"truth is {list(target.shape)}, y has times {list(states.shape[1:-1])}")
        errors = ((states @ self.model.H.to(states).T - target) ** 2).flatten(1).mean(1)
        k = torch.arange(1, len(errors) + 1, dtype=errors.dtype, device=errors.device)
        return 2 / len(errors) * (k / len(errors) * errors).sum()

    def extra_repr(self) -> str:
        return f"hidden={self.hidden}, iterations={self.iterations}, gamma={self.gamma}"
