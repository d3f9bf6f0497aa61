"""Gauss-Markov chains: the exact smoother, and the message passing that converges to it."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import eigsh
from torch import Tensor

from meshconv.errors import InputError
from meshconv.hybrid.arrays import check_shape, covariance, finite, like

Transition = Callable[[Tensor], Tensor]
_DENSE = 300  # unknowns up to which the largest eigenvalue comes from the dense matrix
_TINY = 1e-150
_SINGULAR = 1e-12  # lowest eigenvalue of a precision of unit diagonal below which a state is not determined


class GaussMarkovModel:
    r"""A hidden chain :math:`x_{t+1} = F x_t + w_t`, observed as :math:`y_t = H x_t + v_t`.

    The noises are independent, :math:`w_t \sim N(0, Q)` and :math:`v_t \sim N(0, R)`. Nothing is known of
    :math:`x_0`: its prior is flat (a diffuse start in the limit). Minus the logarithm of the posterior is

    .. math:: \tfrac12 \sum_t |y_t - H x_t|^2_{R^{-1}} + \tfrac12 \sum_t |x_{t+1} - F x_t|^2_{Q^{-1}},

    which :meth:`smooth` minimises by a forward and a backward pass and :meth:`message_passing` by gradient steps.

    Parameters
    ----------
    F : array [state, state] or callable
        The transition. A callable takes one state, a float64 tensor [state], and returns the next state [state] or,
        for models :math:`x_{t+1} = F(x_t)\, x_t`, the matrix [state, state]; it has to be made of torch functions that
        ``torch.func.vmap`` takes. Where a model is linearised, a returned matrix stands for itself, and a returned
        state is differentiated.
    Q : array [state, state]
    H : array [observed, state]
    R : array [observed, observed]

    Raises
    ------
    InputError
        Q or R is not symmetric or singular, or sizes do not fit.

    References
    ----------
    Rauch, Tung, Striebel: Maximum likelihood estimates of linear dynamic systems, 1965.
    Garcia Satorras, Akata, Welling: Combining generative and discriminative models for hybrid inference, 2019.

    Examples
    --------
    >>> model = GaussMarkovModel(F=[[1.0]], Q=[[1.0]], H=[[1.0]], R=[[1.0]])
    >>> model.smooth([[0.0], [3.0], [0.0]])
    array([[0.75],
           [1.5 ],
           [0.75]])
    >>> model.message_passing(torch.tensor([[0.0], [3.0], [0.0]]), iterations=50)
    tensor([[0.7500],
            [1.5000],
            [0.7500]])
    """

    def __init__(self, F: Any, Q: Any, H: Any, R: Any):
        self.Q, self.R = covariance(Q, "Q"), covariance(R, "R")
        self.H = finite(H, "H")
        self.num_states, self.num_observed = len(self.Q), len(self.R)
        n, m = self.num_states, self.num_observed
        check_shape(self.H, "H", (m, n), f"R is {[m, m]} and Q is {[n, n]}")
        self.F: Tensor | Transition = F if callable(F) else finite(F, "F")
        if isinstance(self.F, Tensor):
            check_shape(self.F, "F", (n, n), f"Q is {[n, n]}")
        else:
            self.linearise(torch.zeros(n, dtype=torch.float64))
        self.inverse_q, self.inverse_r = torch.linalg.inv(self.Q), torch.linalg.inv(self.R)

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Next states [..., state] without noise, and transition matrices [..., state, state] at ``x`` [..., state]."""
        if isinstance(self.F, Tensor):
            F = self.F.to(x)
            return x @ F.T, F.expand(*x.shape, -1)
        n, rows = self.num_states, x.reshape(-1, self.num_states)
        # One copy of each state for each row of its Jacobian: a single backward pass gives all rows.
        with torch.enable_grad():
            copies = rows.detach().repeat_interleave(n, 0).requires_grad_()
            value = torch.func.vmap(self.F)(copies) if len(copies) else copies
        if value.shape == (len(copies), n, n):
            matrix = value.detach()[::n]
            step = (matrix @ rows[..., None])[..., 0]
        elif value.shape == (len(copies), n):
            step = value.detach()[::n]
            matrix = torch.autograd.grad(value, copies, torch.eye(n).to(rows).repeat(len(rows), 1))[0].reshape(-1, n, n)
        else:
            raise InputError(f"F returns {list(value.shape[1:])} for a state {[n]}; it has to be the next state {[n]}, "
                             f"or a matrix {[n, n]}")  # fmt: skip
        return step.reshape(x.shape), matrix.reshape(*x.shape, n)

    def start(self, y: Any) -> Tensor:
        """Least-squares states [..., time, state] of each observation by itself, where message passing starts."""
        return self.check(y) @ torch.linalg.pinv(self.H).T

    def smooth(self, y: Any) -> Any:
        """Posterior means, exact for linear models: the Rauch-Tung-Striebel smoother, diffuse start.

        In the form of information matrices, which takes a flat prior as it is. Nonlinear models are linearised once, at
        the means of the forward pass (the extended smoother).

        Parameters
        ----------
        y : array [..., time, observed]

        Returns
        -------
        array [..., time, state]
            A tensor for a tensor, else a numpy array.

        Raises
        ------
        InputError
            y has another size, no times, or NaN; or it does not determine all states.
        """
        return self.posterior(y)[0]

    def posterior(self, y: Any) -> tuple[Any, Any]:
        """Means [..., time, state] as :meth:`smooth`, and covariances [..., time, state, state] of each state.

        The covariances of linear models are the same for all observations: [time, state, state].
        """
        given, y = y, self.check(y).numpy()
        H, inverse_r, inverse_q = self.H.numpy(), self.inverse_r.numpy(), self.inverse_q.numpy()
        seen, look = H.T @ inverse_r @ H, y @ (inverse_r @ H)
        times = y.shape[-2]
        linear = isinstance(self.F, Tensor)
        matrix = np.zeros((self.num_states, self.num_states))
        vector = np.zeros_like(look[..., 0, :])
        kept = []
        for t in range(times):
            matrix, vector = matrix + seen, vector + look[..., t, :]
            if t == times - 1:
                break
            if linear:
                F, shift = self.F.numpy(), np.zeros(self.num_states)  # type: ignore[union-attr]
            else:
                mean = (np.linalg.pinv(matrix, hermitian=True) @ vector[..., None])[..., 0]
                step, slope = self.linearise(torch.from_numpy(mean))
                F = slope.numpy()
                shift = step.numpy() - (F @ mean[..., None])[..., 0]
            back = F.swapaxes(-1, -2) @ inverse_q
            joint = matrix + back @ F
            vector = vector - (back @ shift[..., None])[..., 0]
            gain = self._solve(joint, back).swapaxes(-1, -2)  # Q^-1 F joint^-1
            kept.append((joint, vector, back))
            vector = (gain @ vector[..., None])[..., 0] + shift @ inverse_q
            matrix = inverse_q - gain @ back
            matrix = (matrix + matrix.swapaxes(-1, -2)) / 2
        scale = np.sqrt(np.maximum(np.diagonal(matrix, axis1=-2, axis2=-1), 0)) + _TINY
        if np.linalg.eigvalsh(matrix / scale[..., :, None] / scale[..., None, :]).min() < _SINGULAR:
            raise self._undetermined()
        cover = self._solve(matrix, np.eye(self.num_states))
        mean = self._solve(matrix, vector[..., None])[..., 0]
        means, covers = [mean], [cover]
        for joint, vector, back in reversed(kept):
            mean = self._solve(joint, (vector + (back @ mean[..., None])[..., 0])[..., None])[..., 0]
            gain = self._solve(joint, back)
            cover = np.linalg.inv(joint) + gain @ cover @ gain.swapaxes(-1, -2)
            means.append(mean)
            covers.append(cover)
        found = np.stack(means[::-1], -2), np.stack(covers[::-1], -3)
        return like(torch.from_numpy(found[0]), given), like(torch.from_numpy(found[1]), given)

    def messages(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Messages to each state: from the past, from its observation, from the future, [..., time, 3, state].

        .. math:: -Q^{-1}(x_t - F x_{t-1}), \quad H^T R^{-1}(y_t - H x_t), \quad F^T Q^{-1}(x_{t+1} - F x_t).

        The first is zero at the first time, the third at the last. For linear models their sum is the gradient of the
        log posterior.
        """
        inverse_q, inverse_r, H = self.inverse_q.to(x), self.inverse_r.to(x), self.H.to(x)
        step, slope = self.linearise(x[..., :-1, :])
        off = (x[..., 1:, :] - step) @ inverse_q
        future = (off[..., None, :] @ slope)[..., 0, :]
        none = torch.zeros_like(x[..., :1, :])
        seen = (y - x @ H.T) @ inverse_r @ H
        return torch.stack([torch.cat([none, -off], -2), seen, torch.cat([future, none], -2)], -2)

    def largest_eigenvalue(self, y: Any) -> float:
        """Largest eigenvalue of the posterior's precision, of a nonlinear model linearised at :meth:`start`.

        Gradient steps gamma converge below 2 / this number, and fastest near 2 / (largest + smallest).
        """
        x = self.start(y)
        x = x.reshape(-1, *x.shape[-2:])
        if isinstance(self.F, Tensor):
            x = x[:1]
        return max(self._largest(slope.numpy()) for slope in self.linearise(x[:, :-1])[1])

    def _largest(self, slopes: np.ndarray) -> float:
        """Of a chain with these transitions [time - 1, state, state]."""
        times, n = len(slopes) + 1, self.num_states
        seen, inverse_q = (self.H.T @ self.inverse_r @ self.H).numpy(), self.inverse_q.numpy()
        back = slopes.swapaxes(-1, -2) @ inverse_q
        blocks = np.broadcast_to(seen, (times, n, n)).copy()
        blocks[:-1] += back @ slopes
        blocks[1:] += inverse_q
        at = np.arange(times * n).reshape(times, n)
        row, column = np.broadcast_arrays(at[:, :, None], at[:, None, :])
        up, right = np.broadcast_arrays(at[:-1, :, None], at[1:, None, :])
        rows = np.concatenate([row.ravel(), up.ravel(), right.ravel()])
        columns = np.concatenate([column.ravel(), right.ravel(), up.ravel()])
        values = np.concatenate([blocks.ravel(), -back.ravel(), -back.ravel()])
        matrix = coo_array((values, (rows, columns)), shape=(times * n,) * 2).tocsr()
        if times * n <= _DENSE:
            return float(np.linalg.eigvalsh(matrix.toarray())[-1])
        return float(eigsh(matrix, k=1, which="LA", return_eigenvectors=False, tol=1e-9, v0=np.ones(times * n))[0])

    def step_size(self, y: Any, gamma: float | None = None) -> float:
        """``gamma`` if gradient steps of it are stable for ``y``, 1 / the largest eigenvalue for None.

        Raises
        ------
        InputError
            It is not positive, or at least 2 / the largest eigenvalue.
        """
        largest = self.largest_eigenvalue(y)
        if gamma is None:
            return 1 / largest
        if not 0 < gamma < 2 / largest:
            raise InputError(f"gamma {gamma:.6g} is not between 0 and 2 / lambda_max = {2 / largest:.6g}, where "
                             f"message passing is stable; give less, or None for half of it")  # fmt: skip
        return float(gamma)

    def message_passing(self, y: Any, iterations: int, gamma: float | None = None) -> Any:
        """States after ``iterations`` steps ``x + gamma * (sum of messages)`` from :meth:`start`.

        Converges to :meth:`smooth` for linear models.

        Parameters
        ----------
        y : array [..., time, observed]
        iterations
        gamma
            Step, below 2 / the largest eigenvalue of the posterior's precision; None: 1 / that eigenvalue.

        Returns
        -------
        array [..., time, state]
            A tensor for a tensor, else a numpy array.
        """
        if iterations < 0:
            raise InputError(f"iterations {iterations} has to be >= 0")
        given, y = y, self.check(y)
        gamma = self.step_size(y, gamma)
        x = self.start(y)
        for _ in range(iterations):
            x = x + gamma * self.messages(x, y).sum(-2)
        return like(x, given)

    def check(self, y: Any) -> Tensor:
        """``y`` as a float64 tensor [..., time, observed], or ``InputError``."""
        y = finite(y, "y")
        m = self.num_observed
        if y.dim() < 2 or y.shape[-1] != m:
            raise InputError(f"y is {list(y.shape)}, expected [time, {m}]: R is {[m, m]}")
        if not y.numel():
            raise InputError(f"y is {list(y.shape)}: no observations; give at least one time")
        return y

    def _solve(self, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
        try:
            return np.linalg.solve(matrix, right)
        except np.linalg.LinAlgError:
            raise self._undetermined() from None

    def _undetermined(self) -> InputError:
        return InputError(f"H {list(self.H.shape)} and F do not determine the states from these observations; "
                          f"observe more of them, or at more times")  # fmt: skip


def taylor_transition(generator: Transition, dt: float, order: int) -> Transition:
    r"""Transition matrices :math:`F_K(x) = \sum_{k \le K} (A(x)\, dt)^k / k!` of :math:`\dot x = A(x)\, x`.

    Parameters
    ----------
    generator
        A: one state [state] to a matrix [state, state].
    dt
    order
        K, at least 1.

    Examples
    --------
    >>> turn = taylor_transition(lambda x: torch.tensor([[0.0, -1.0], [1.0, 0.0]]), dt=0.1, order=2)
    >>> turn(torch.zeros(2))
    tensor([[ 0.9950, -0.1000],
            [ 0.1000,  0.9950]])
    """
    if order < 1 or dt <= 0:
        raise InputError(f"order {order} has to be >= 1 and dt {dt} > 0")

    def transition(x: Tensor) -> Tensor:
        step = generator(x) * dt
        total = power = torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
        for k in range(1, order + 1):
            power = power @ step
            total = total + power / factorial(k)
        return total

    return transition


def lorenz_generator(rho: float = 28.0, sigma: float = 10.0, beta: float = 8 / 3) -> Transition:
    """The matrix A(x) of the Lorenz system in the form dx/dt = A(x) x.

    Examples
    --------
    >>> lorenz_generator()(torch.tensor([1.0, 2.0, 3.0]))
    tensor([[-10.0000,  10.0000,   0.0000],
            [ 25.0000,  -1.0000,   0.0000],
            [  2.0000,   0.0000,  -2.6667]])
    """

    def generator(x: Tensor) -> Tensor:
        one = torch.ones_like(x[0])
        rows = [[-sigma * one, sigma * one, 0 * one], [rho - x[2], -one, 0 * one], [x[1], 0 * one, -beta * one]]
        return torch.stack([torch.stack(row) for row in rows])

    return generator
