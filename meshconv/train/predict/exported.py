"""Exported files in place of checkpoints: the task that they were exported from, with their program as its network."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError
from meshconv.export.files import SUFFIXES, Program, digest_of, open_program
from meshconv.export.layout import Layout
from meshconv.export.preprocess import NAME, point_digest, read_description
from meshconv.train.checkpoints.load import make_inference
from meshconv.train.inference.base import Inference


def is_exported(path: Any) -> bool:
    """Whether a path is that of an exported file."""
    return Path(path).suffix in SUFFIXES


def load_exported(path: Path, trust: Sequence[str] = ()) -> Inference:
    """The task of an exported file, with ``preprocess.json`` beside it, ready to predict on the CPU.

    Raises
    ------
    InputError
        One of them is missing or damaged, or names a class that is not trusted.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; meshconv export writes it")
    content = read_description(path.with_name(NAME))
    hparams = {**content["hyper_parameters"], "network": "torch.nn.Identity", "options": {}}
    task = make_inference(path, content["task"], hparams, trust)
    given = content["maps"]
    runner = _Runner(open_program(path, "aoti" in trust), Layout.from_spec(content), given, path)
    task.network, task.forward = runner, runner.run  # type: ignore[method-assign]
    return task.eval()


class _Runner(nn.Module):
    """A program that stands for a task's network, and runs in place of the whole task."""

    content: Tensor

    def __init__(self, program: Program, layout: Layout, maps: dict[str, Any] | None, path: Path):
        super().__init__()
        self._program, self._layout, self._maps, self._path = program, layout, maps, path
        self.num_levels = None if maps is None else maps["levels"]
        # In the state, as weights are: stopped forecasts go on with the same network alone.
        self.register_buffer("content", torch.frombuffer(bytearray(digest_of(path)), dtype=torch.uint8))
        self._checked: weakref.WeakSet[Any] = weakref.WeakSet()

    def run(self, batch: SurfaceBatch) -> Tensor:
        """The output of the task."""
        if self._maps is None:
            return self._program(self._layout.pack(batch))
        graph = batch.surface.finest
        if graph not in self._checked:
            found = point_digest(graph.positions.numpy())
            if found != {key: self._maps[key] for key in found}:
                raise InputError(
                    f"{', '.join(batch.names)}: the network would work on {found['points']} points of it, {self._path} "
                    f"has {self._maps['points']} others; export again with --like and this file"
                )
            self._checked.add(graph)
        x = batch.x
        output = torch.cat([self._program({"x": one}) for one in x.reshape(-1, 1, *x.shape[-2:]).contiguous()])
        return output.reshape(*x.shape[:-2], *output.shape[1:])
