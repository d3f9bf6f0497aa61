"""EGNN: E(n)-equivariant graph network on points in space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from meshconv.errors import InputError


class EquivariantLayer(nn.Module):
    r"""One layer of :class:`EGNN`.

    .. math::
        m_{ij} &= \phi_e(h_i, h_j, |x_i - x_j|^2, a_{ij}), \qquad
        x_i' = x_i + \phi_v(h_i)\, v_i + \frac1{|N(i)|} \sum_j (x_i - x_j)\, \phi_x(m_{ij}), \\
        h_i' &= h_i + \phi_h\big(h_i, \textstyle\sum_j m_{ij}\big)

    Parameters
    ----------
    hidden
    edge_features
        Length of a, invariants of edges.
    with_velocity
        Whether positions also move along given velocities v.
    """

    def __init__(self, hidden: int, edge_features: int, with_velocity: bool):
        super().__init__()
        self.edge = _silu_mlp(2 * hidden + 1 + edge_features, hidden, hidden, last=True)
        self.node = _silu_mlp(2 * hidden, hidden, hidden)
        self.move = _silu_mlp(hidden, hidden, 1)
        # Small first steps: positions of several layers would grow else.
        nn.init.xavier_uniform_(self.move[2].weight, gain=1e-3)  # type: ignore[arg-type]
        self.along = _silu_mlp(hidden, hidden, 1) if with_velocity else None

    def forward(
        self, h: Tensor, x: Tensor, src: Tensor, dst: Tensor, edges: Tensor | None, velocity: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        away = x.index_select(-2, dst) - x.index_select(-2, src)
        square = (away**2).sum(-1, keepdim=True)
        parts = [h.index_select(-2, dst), h.index_select(-2, src), square]
        message = self.edge(torch.cat(parts if edges is None else [*parts, edges], -1))
        count = torch.bincount(dst, minlength=x.shape[-2]).clamp_min(1).to(x)[:, None]
        moved = torch.zeros_like(x).index_add(-2, dst, away * self.move(message)) / count
        if self.along is not None and velocity is not None:
            moved = moved + self.along(h) * velocity
        gathered = torch.zeros_like(h).index_add(-2, dst, message)
        return h + self.node(torch.cat([h, gathered], -1)), x + moved


class EGNN(nn.Module):
    r"""E(n)-equivariant graph network: invariant features and positions of points, updated together.

    Features do not change when all points are turned, reflected or moved; positions turn, reflect and move with them,
    and both are permuted with the points. Layers are :class:`EquivariantLayer`. Points are atoms, charges, or the
    vertices of a mesh with the edges of its gauge graph; the displacements of positions become tangent fields by
    :func:`meshconv.nn.from_ambient`.

    Parameters
    ----------
    in_features, out_features
        Numbers of invariant features of each point.
    hidden, layers
    edge_features
        Number of invariant features of each edge.
    with_velocity
        Whether velocities are given, which positions also follow.

    References
    ----------
    Garcia Satorras, Hoogeboom, Welling: E(n) equivariant graph neural networks, 2021.

    Examples
    --------
    >>> network = EGNN(in_features=1, out_features=2, hidden=8, layers=2)
    >>> src, dst = fully_connected(5)
    >>> h, x = network(torch.ones(5, 1), torch.randn(5, 3), src, dst)
    >>> h.shape, x.shape
    (torch.Size([5, 2]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: int = 64,
        layers: int = 4,
        edge_features: int = 0,
        with_velocity: bool = False,
    ):
        super().__init__()
        if min(in_features, out_features, hidden, layers) < 1 or edge_features < 0:
            raise InputError(f"in_features {in_features}, out_features {out_features}, hidden {hidden} and layers "
                             f"{layers} have to be >= 1, edge_features {edge_features} >= 0")  # fmt: skip
        self.in_features, self.out_features, self.edge_features = in_features, out_features, edge_features
        self.with_velocity = with_velocity
        self.embed = nn.Linear(in_features + with_velocity, hidden)
        self.layers = nn.ModuleList(EquivariantLayer(hidden, edge_features, with_velocity) for _ in range(layers))
        self.out = nn.Linear(hidden, out_features)

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        src: Any,
        dst: Any,
        edges: Tensor | None = None,
        velocity: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """New features [..., V, out_features] and positions [..., V, n].

        Parameters
        ----------
        h : Tensor [..., V, in_features]
        x : Tensor [..., V, n]
            Positions, of any dimension n.
        src, dst : int64 [E]
            Messages go from ``src`` to ``dst``.
        edges : Tensor [..., E, edge_features], optional
        velocity : Tensor [..., V, n], optional
        """
        src, dst = (torch.as_tensor(i, dtype=torch.int64, device=x.device) for i in (src, dst))
        self._check(h, x, src, dst, edges, velocity)
        if velocity is not None:
            # The square, whose slope at rest is finite.
            h = torch.cat([h, (velocity**2).sum(-1, keepdim=True)], -1)
        h = self.embed(h)
        for layer in self.layers:
            h, x = layer(h, x, src, dst, edges, velocity)
        return self.out(h), x

    def _check(
        self, h: Tensor, x: Tensor, src: Tensor, dst: Tensor, edges: Tensor | None, velocity: Tensor | None
    ) -> None:
        v = x.shape[-2]
        if h.shape[-2:] != (v, self.in_features):
            raise InputError(f"h is {list(h.shape)}, expected [.., {v}, {self.in_features}]: x is {list(x.shape)}")
        if src.shape != dst.shape or src.dim() != 1:
            raise InputError(f"src is {list(src.shape)} and dst {list(dst.shape)}, expected [E] both")
        if src.numel() and not (min(src.min(), dst.min()) >= 0 and max(src.max(), dst.max()) < v):
            raise InputError(f"edges name points {int(min(src.min(), dst.min()))}.."
                             f"{int(max(src.max(), dst.max()))}, x has {v}")  # fmt: skip
        if (edges is None) != (not self.edge_features):
            given = "missing" if edges is None else "given"
            raise InputError(f"edges are {given}, edge_features is {self.edge_features}")
        if edges is not None and edges.shape[-2:] != (len(src), self.edge_features):
            raise InputError(f"edges are {list(edges.shape)}, expected [.., {len(src)}, {self.edge_features}]")
        if (velocity is not None) != self.with_velocity or (velocity is not None and velocity.shape != x.shape):
            shape = None if velocity is None else list(velocity.shape)
            raise InputError(f"velocity is {shape}, expected {list(x.shape) if self.with_velocity else None}: "
                             f"with_velocity is {self.with_velocity}")  # fmt: skip


def fully_connected(points: int) -> tuple[Tensor, Tensor]:
    """``src`` and ``dst`` of all pairs of different points.

    Examples
    --------
    >>> fully_connected(2)
    (tensor([1, 0]), tensor([0, 1]))
    """
    pairs = torch.ones(points, points, dtype=torch.bool).fill_diagonal_(False).nonzero()
    return pairs[:, 1], pairs[:, 0]


def charged_bodies(
    samples: int, bodies: int = 5, time: float = 1.0, seed: int = 0, steps: int = 1000, burn_in: float = 3.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Charged bodies that attract and repel each other: where they are, and where they are after a time.

    :math:`\ddot x_i = \sum_j c_i c_j (x_i - x_j) / (|x_i - x_j|^2 + 0.01)^{3/2}` in three dimensions with charges of -1
    and 1; positions of variance 1 and velocities of norm 1/2 at the beginning, by Verlet's method. The softening bounds
    close encounters and keeps momentum; the papers cut forces there.

    Parameters
    ----------
    samples, bodies
    time
        From the positions to the targets.
    seed
    steps
        Of integration in ``time``.
    burn_in
        Time before the positions.

    Returns
    -------
    charges, positions, velocities, targets : float32 [samples, bodies, 1] and thrice [samples, bodies, 3]

    References
    ----------
    Kipf, Fetaya, Wang, Welling, Zemel: Neural relational inference for interacting systems, 2018.
    Garcia Satorras, Hoogeboom, Welling: E(n) equivariant graph neural networks, 2021, in three dimensions.

    Examples
    --------
    >>> charges, x, v, y = charged_bodies(2, steps=50)
    >>> y.shape
    torch.Size([2, 5, 3])
    """
    if min(samples, bodies, steps) < 1 or time <= 0 or burn_in < 0:
        raise InputError(f"samples {samples}, bodies {bodies} and steps {steps} have to be >= 1, time {time} > 0 and "
                         f"burn_in {burn_in} >= 0")  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    charges = torch.randint(0, 2, (samples, bodies, 1), generator=generator).double() * 2 - 1
    x, v = (torch.randn(samples, bodies, 3, **options) for _ in range(2))
    v = v / (2 * v.norm(dim=-1, keepdim=True))
    pairs = charges * charges.transpose(1, 2)

    def acceleration(x: Tensor) -> Tensor:
        away = x[:, :, None] - x[:, None]
        return ((pairs / ((away**2).sum(-1) + 0.01) ** 1.5)[..., None] * away).sum(2)

    dt = time / steps
    before, a = round(burn_in / dt), acceleration(x)
    for step in range(before + steps):
        if step == before:
            start, velocity = x, v
        x = x + dt * v + dt**2 / 2 * a
        new = acceleration(x)
        v, a = v + dt / 2 * (a + new), new
    return charges.float(), start.float(), velocity.float(), x.float()


def _silu_mlp(inputs: int, hidden: int, outputs: int, last: bool = False) -> nn.Sequential:
    layers = [nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs)]
    return nn.Sequential(*layers, nn.SiLU()) if last else nn.Sequential(*layers)
