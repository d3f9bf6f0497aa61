"""Where a run's numbers come from: versions, state of the repository, hashes of configuration and data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.cli import SaveConfigCallback

import meshconv
from meshconv.io.cache.atomic import atomic_write
from meshconv.ranks import check_same

# Their numbers are those of a training.
_LIBRARIES = ("torch", "numpy", "scipy", "lightning", "torchmetrics", "xarray", "trimesh", "robust_laplacian")


class RunConfig(SaveConfigCallback):
    """``config.yaml`` of a run, and ``provenance.json``: what its numbers come from.

    Processes that train together have to have the same configuration and the same data (:func:`check_same`).
    """

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        of_data = getattr(getattr(trainer, "datamodule", None), "hashes", dict)
        of_task = getattr(pl_module, "hashes", dict)
        self.hashes = {
            "configuration": digest(self.parser.dump(self.config, skip_none=False)),
            **of_data(),
            **of_task(),
        }
        check_same(self.hashes)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / self.config_filename) as part:
            self.parser.save(self.config, part, skip_none=False, overwrite=True, multifile=False)
        with atomic_write(folder / "provenance.json") as part:
            part.write_text(json.dumps(provenance(self.hashes), indent=1) + "\n", encoding="utf-8")


def provenance(hashes: Mapping[str, str]) -> dict[str, Any]:
    """Command, machine, versions, state of the repository, and some hashes, in plain values."""
    versions = {"python": platform.python_version(), "meshconv": meshconv.__version__}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": sys.argv,
        "versions": versions,
        "git": git_state(Path(meshconv.__file__).parent),
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads(), "gpu": device},
        "hashes": dict(hashes),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that holds a folder, and files that differ from it; None where there is none."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        changed = git("status", "--porcelain", "--untracked-files=no").splitlines()
        return {"commit": commit, "changed": [line[3:] for line in changed]}
    except (OSError, subprocess.SubprocessError):
        return None


def digest(*texts: str) -> str:
    """Hash of texts, 32 hexadecimal digits."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()
