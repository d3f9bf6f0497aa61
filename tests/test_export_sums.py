"""Sums over edges in ONNX: of rows that onnxruntime does not add up in parallel without a lock."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from meshconv import InputError
from meshconv.export.files import open_program, write_onnx
from meshconv.export.program import plain_program

INDEX = torch.arange(3000) % 3


class Sums(nn.Module):
    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return inputs["x"].new_zeros(3, 2).index_add(0, INDEX, inputs["x"])


class Puts(nn.Module):
    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return inputs["x"].new_zeros(3, 2).index_put((INDEX,), inputs["x"], accumulate=True)


def program(module: nn.Module) -> torch.export.ExportedProgram:
    given = {"x": torch.zeros(3000, 2)}
    return plain_program(torch.export.export(module, (given,)), matrices=True)


@pytest.mark.slow
def test_sums_of_rows_are_of_elements(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    write_onnx(program(Sums()), tmp_path / "model.onnx", ["x"], "y")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "ScatterElements" in kinds and "ScatterND" not in kinds
    x = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    found = open_program(tmp_path / "model.onnx")({"x": x})
    np.testing.assert_allclose(found, x.reshape(1000, 3, 2).sum(0), rtol=1e-4)


@pytest.mark.slow
def test_sums_that_are_not_reliable_are_refused(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(InputError, match="index_put"):
        write_onnx(program(Puts()), tmp_path / "model.onnx", ["x"], "y")
    assert not list(tmp_path.iterdir())
