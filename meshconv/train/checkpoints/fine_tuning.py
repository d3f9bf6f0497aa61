"""Fine-tuning: a training that begins with the weights of another one."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from meshconv.errors import InputError
from meshconv.ranks import rank_and_world
from meshconv.shipped import find_model
from meshconv.train.checkpoints.file import check_format, checkpoint_path, read_checkpoint

log = logging.getLogger(__name__)

# What tasks call their network, and networks their last layers.
_NETWORK, _HEAD = "network.", "head"


class FineTuning(Callback):
    """Callback that gives a network the weights of a checkpoint before its training, and may freeze them.

    Weights are taken where names and shapes agree: of the trunk, all of the network but its ``head``. The head is taken
    too if it is for the same classes or fields. All others stay as they are drawn: those of another number of classes,
    or of other inputs. Of the file tensors and names alone are used; it names no class that would be imported.

    A training that goes on from a checkpoint of its own does not take them again, and does not need the file.

    Parameters
    ----------
    source
        Checkpoint, or name of one that ships.
    freeze
        True: the weights of the trunk that were taken are not trained, statistics of its norms included. A number: not
        in that many first epochs.

    Raises
    ------
    InputError
        A negative number; in ``setup``, a file that is no checkpoint, or one of which nothing can be taken.
    """

    def __init__(self, source: str | os.PathLike[str], freeze: bool | int = False):
        if freeze < 0:
            raise InputError(f"freeze {freeze}: give true, false or a number of epochs")
        self.source, self.freeze = source, freeze
        self.taken: list[str] = []
        self._unread: InputError | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """Hash of the file, for the run's provenance; none where it is not there any more."""
        path = find_model(self.source)
        if not path.is_file():
            return {}
        return {"pretrained": hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()}

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Take the weights. That a training goes on, which then replaces them, is not known yet."""
        if stage != "fit":
            return
        if self.freeze and self.freeze is not True and rank_and_world()[1] > 1:
            raise InputError(f"freeze {self.freeze}: of several processes it can be true or false alone")
        try:
            path = checkpoint_path(self.source)
            content = read_checkpoint(path)
            check_format(content.get("meshconv"), path)
            self.taken = _take(pl_module, content, path)
        except InputError as error:
            self._unread = error
            return
        self._hold(pl_module, bool(self.freeze))

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Of a training that goes on."""
        if not trainer.training:
            return
        state, own = checkpoint.get("callbacks", {}).get(self.state_key), _weights(pl_module)
        if state is None:
            raise InputError(f"pretrained {self.source}: the training that goes on began without it; leave it out")
        taken = state.get("taken")
        if not isinstance(taken, list) or not all(isinstance(name, str) and name in own for name in taken):
            raise InputError("callbacks: the weights that were taken for fine-tuning are none of this network")
        self.taken, self._unread = taken, None
        self._hold(pl_module, bool(self.freeze))

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._unread is not None:
            raise self._unread
        if trainer.ckpt_path is None:
            self._say(pl_module)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        frozen = self.freeze is True or trainer.current_epoch < self.freeze
        self._hold(pl_module, frozen)
        names, trunk = _weights(pl_module), self._trunk
        for name, part in pl_module.named_modules():
            inside = {n for n in names if n.startswith(f"{name}.")}
            if self.freeze and inside and inside <= trunk:  # norms that are frozen keep their statistics
                part.training = not frozen

    # Not called first where a training goes on amid an epoch.
    on_train_epoch_start = on_train_start

    @property
    def _trunk(self) -> set[str]:
        return {name for name in self.taken if not _in_head(name)}

    def _hold(self, module: lightning.LightningModule, frozen: bool) -> None:
        """Freeze what was taken of the trunk, or let it go."""
        if not self.freeze:
            return
        trunk = self._trunk
        for name, parameter in module.named_parameters():
            if name in trunk:
                parameter.requires_grad_(not frozen)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise InputError("freeze: all weights are frozen, none is left to train; leave it out")

    def _say(self, module: lightning.LightningModule) -> None:
        weights = {name: w for name, w in module.named_parameters() if name.startswith(_NETWORK)}
        fresh = [f"{name} {list(w.shape)}" for name, w in weights.items() if name not in self.taken]
        frozen = sum(not w.requires_grad for w in weights.values())
        log.info(
            "pretrained %s: %d of %d weights taken%s; fresh: %s",
            self.source, len(weights) - len(fresh), len(weights), f", {frozen} of them frozen" if frozen else "",
            ", ".join(fresh[:4]) + (f" and {len(fresh) - 4} more" if len(fresh) > 4 else "") or "none",
        )  # fmt: skip


def _take(module: lightning.LightningModule, content: Mapping[str, Any], path: Path) -> list[str]:
    """Copy what agrees, and return its names."""
    trained, hparams = content["hyper_parameters"], module.hparams
    same_outputs = all(str(trained.get(key)) == str(hparams.get(key)) for key in ("class_names", "field_names"))
    given, taken = content["state_dict"], []
    for name, own in _weights(module).items():
        found = given.get(name)
        fits = found is not None and found.shape == own.shape and found.dtype == own.dtype
        if fits and (same_outputs or not _in_head(name)):
            own.copy_(found)
            taken.append(name)
    if not any(name for name in taken if not _in_head(name)):
        theirs, ours = ({"network": t.get("network")} | _table(t.get("options")) for t in (trained, hparams))
        differs = ", ".join(f"{key} {value}" for key, value in theirs.items() if str(value) != str(ours.get(key)))
        raise InputError(
            f"{path}: no weight of its trunk has the name and shape of one of this network; it has "
            f"{differs[:200] or 'the same options'} and inputs {str(trained.get('in_type'))[:60]}: give the same"
        )
    return taken


def _weights(module: lightning.LightningModule) -> dict[str, Tensor]:
    """Weights and statistics of the network, as a checkpoint names them."""
    return {name: value for name, value in module.state_dict().items() if name.startswith(_NETWORK)}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _in_head(name: str) -> bool:
    return _HEAD in name.split(".")
