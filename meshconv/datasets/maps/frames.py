"""Frames of a series: the maps that a network sees at several times, and the state in them that it advances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from meshconv.datasets.maps.inputs import MapInputs
from meshconv.fields import concatenate_fields


class Frames:
    """Layout of a network's inputs: ``history`` frames of the input variables side by side, the latest last.

    Parameters
    ----------
    inputs : MapInputs
        Of one frame, with the statistics of the training.
    history
        Number of frames.
    state : list of int, optional
        The component of a frame that each component of the targets is; None: the targets are not among the inputs.

    Attributes
    ----------
    in_type : FieldType
        Of the network.

    Examples
    --------
    >>> frames = Frames(MapInputs(["h"], [["u", "v"]], 8), 2)
    >>> frames.in_type, frames.join(torch.arange(6.0).reshape(2, 1, 3))
    (FieldType('2x0 + 2x1'), tensor([[0., 3., 1., 4., 2., 5.]]))
    """

    def __init__(self, inputs: MapInputs, history: int = 1, state: Sequence[int] | None = None):
        self.frame_type, self.history = inputs.in_type, history
        self.in_type = history * self.frame_type
        self.state_index = None if state is None else torch.tensor(list(state), dtype=torch.int64)
        number = [torch.arange(self.frame_type.dim) + k * self.frame_type.dim for k in range(history)]
        self._order = concatenate_fields([self.frame_type] * history, number)
        count = self.frame_type.num_fields
        given = inputs.statistics or [{"mean": 0.0, "std": 1.0}] * count
        values = torch.tensor([[entry["mean"], entry["std"]] for entry in given], dtype=torch.float64)
        self._mean, self._std = (self.frame_type.per_component(column) for column in values.unbind(1))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Frames:
        """Of a :attr:`~meshconv.datasets.SphereMaps.spec` with targets."""
        targets = spec["targets"]
        return cls(MapInputs(**spec["inputs"]), targets["history"], targets["state"])

    def join(self, frames: Tensor) -> Tensor:
        """Network inputs ``[..., V, in_type.dim]`` of normalised frames ``[..., history, V, dim]``."""
        flat = frames.movedim(-3, -2).flatten(-2)
        return flat if self.history == 1 else flat[..., self._order.to(flat.device)]

    def split(self, x: Tensor) -> Tensor:
        """Frames ``[..., history, V, dim]`` of network inputs."""
        if self.history > 1:
            x = x[..., self._order.argsort().to(x.device)]
        return x.unflatten(-1, (self.history, self.frame_type.dim)).movedim(-2, -3)

    def state(self, frame: Tensor) -> Tensor:
        """State ``[..., V, targets]`` of a normalised frame ``[..., V, dim]``, in units of the data."""
        index, mean, std = self._on(frame)
        return frame[..., index] * std + mean

    def with_state(self, frame: Tensor, state: Tensor) -> Tensor:
        """A frame with another state; its forcings stay."""
        index, mean, std = self._on(frame)
        return frame.index_copy(-1, index, (state - mean) / std)

    def _on(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert self.state_index is not None  # tasks ask for it
        index = self.state_index
        mean, std = (values[index].to(like) for values in (self._mean, self._std))
        return index.to(like.device), mean, std
