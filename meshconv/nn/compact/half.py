"""Features in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def half_features(network: nn.Module) -> None:
    """Have a network compute with features and weights in bfloat16, in place; geometry stays float32.

    Inputs are cast to bfloat16 and outputs to float32. Components are rounded one by one, to 8 bits: the gauge error
    is that of the precision, about 0.4 % for each rounding, not that of float32.
    """
    network.to(torch.bfloat16)
    network.register_forward_pre_hook(_to_half)
    network.register_forward_hook(_from_half)


def _to_half(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (given[0].to(torch.bfloat16), *given[1:])


def _from_half(_: nn.Module, given: tuple[Any, ...], y: Tensor) -> Tensor:
    return y.float()
