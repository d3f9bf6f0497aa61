"""Files of checkpoints: where they are, and what is read of them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshconv import __version__
from meshconv.errors import InputError
from meshconv.shipped import find_model, shipped_models

FORMAT = 1
"""Version of what checkpoints hold besides Lightning's own; it grows when older versions would misread it."""


def checkpoint_path(path: str | os.PathLike) -> Path:
    """The path of a checkpoint on this machine, or of one that ships, by its name.

    Raises
    ------
    InputError
        It is an address, or there is no such file; the line lists those that ship.
    """
    if "://" in str(path) or "::" in str(path):
        raise InputError(f"{path}: a checkpoint is a file, not an address; download it and name the file")
    found = find_model(path)
    if not found.is_file():
        known = ", ".join(shipped_models())
        said = f"{path}: no such checkpoint; give runs/<name>/last.ckpt of meshconv fit"
        raise InputError(f"{said}, or the name of one that ships: {known}")
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a checkpoint: at least ``state_dict`` and ``hyper_parameters``, of finite weights.

    Raises
    ------
    InputError
        The file holds anything else.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch packs nothing: so much less can be a bomb alone
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > 2 * path.stat().st_size:
                raise InputError(f"{path}: would unpack to {unpacked / 1e6:.0f} MB; use a file that meshconv fit wrote")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch raises many kinds on a file that is not its own
        raise InputError(f"{path}: not a readable checkpoint; use one that meshconv fit wrote") from error
    check_content(content, path)
    return content


def check_content(content: Any, path: Path) -> None:
    """Raise an :class:`InputError` unless it has ``hyper_parameters`` and a ``state_dict`` of finite weights."""
    weights = content.get("state_dict") if isinstance(content, dict) else None
    hparams = content.get("hyper_parameters") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not isinstance(hparams, dict):
        raise InputError(f"{path}: a checkpoint of something else than a meshconv task; use one from meshconv fit")
    if not all(isinstance(k, str) and _is_plain(v) for k, v in weights.items()) or not all(map(_is_text, hparams)):
        raise InputError(f"{path}: its weights are no tensors; use a checkpoint that meshconv fit wrote")
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(
                f"{path}: weight {name} is not finite, the training diverged; use an earlier checkpoint or a smaller "
                "learning rate"
            )


def check_format(said: Any, source: Any) -> None:
    """Raise an :class:`InputError` for the checkpoint of a later version, by its entry ``"meshconv"``."""
    found = said.get("format") if isinstance(said, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise InputError(
            f"{source}: has format {found}, written by meshconv {said.get('version')}; this is {__version__}, which "
            f"reads formats up to {FORMAT}: install the later version"
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_plain(value: Any) -> bool:
    """A dense tensor whose numbers are in the file, not one that only claims to be large."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.device.type != "cpu":
        return False
    return not value.is_quantized and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
