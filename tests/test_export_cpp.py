"""A C++ program that runs an exported network."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from export_case import small_classifier
from segments import body

from meshconv import Predictor, Preprocess
from meshconv.cli import main


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_a_program_in_cpp_runs_the_compiled_network(tmp_path):
    """As examples/run_exported.cpp says."""
    classes_checkpoint = small_classifier(tmp_path)
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler is here")
    assert main(["export", str(classes_checkpoint), "--to", "aoti", "--output", str(tmp_path / "out")]) == 0
    mesh = body(3)
    prepared = Preprocess(tmp_path / "out", cache=False)(mesh)
    torch.save(list(prepared.steps[0].values()), tmp_path / "inputs.pt")
    torch_folder = Path(torch.__path__[0])
    include = torch_folder / "include"
    source = Path(__file__).resolve().parents[1] / "examples" / "run_exported.cpp"
    flags = [f"-I{include}", f"-I{include / 'torch/csrc/api/include'}", f"-L{torch_folder / 'lib'}",
             f"-Wl,-rpath,{torch_folder / 'lib'}", "-Wl,--no-as-needed",
             "-ltorch", "-ltorch_cpu", "-lc10", "-ldl"]  # fmt: skip
    subprocess.run([compiler, "-std=c++20", str(source), "-o", str(tmp_path / "run"), *flags], check=True)
    library = find_spec("meshconv._C").origin
    words = [tmp_path / "run", tmp_path / "out/aoti.pt2", tmp_path / "inputs.pt", tmp_path / "output.pt", library]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = Predictor(classes_checkpoint, cache=False, workers=0)(mesh)
    found = torch.load(tmp_path / "output.pt", weights_only=True).softmax(-1)[0]
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-5)
    again = Predictor(tmp_path / "out/aoti.pt2", trust=("aoti",), cache=False, workers=0)(mesh)
    np.testing.assert_allclose(again.probabilities, expected.probabilities, atol=1e-5)
