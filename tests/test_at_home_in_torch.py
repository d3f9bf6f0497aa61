"""Every layer does what torch's own layers do: saved, copied, compiled, exported, trained, distributed.

The layers are those of ``test_equivariance.MODULES`` and the few below; one that is in neither fails a test here. After
a change of parameters that is meant, write the stored names and shapes anew: ``python tests/test_at_home_in_torch.py``.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_equivariance import MIRRORED, MIXED, MODULES, call, randomised
from torch import Tensor, nn
from torch.autograd import gradgradcheck

from meshconv import HealpixSphere, nn as layers

STORED = Path(__file__).parent / "data" / "state_dicts.json"
FROM_VERTICES = (layers.FaceGradient, layers.CotangentLaplacian, layers.ToFaces)
FROM_FACES = (layers.FaceDivergence, layers.FaceCurl, layers.ToVertices, layers.HodgeParts)
POOLS = (layers.ClusterPool, layers.ClusterMaxPool, layers.ClusterUnpool)
CASES: dict[str, Callable[[], nn.Module]] = {
    **MODULES,
    "dropout": lambda: layers.FieldDropout(MIXED),
    "fourier": lambda: layers.FourierNonlinearity("2x0 + 2x1", activation="silu"),
    "cluster mean": lambda: layers.ClusterPool(MIXED),
    "cluster max": lambda: layers.ClusterMaxPool(MIRRORED),
    "cluster unpool": lambda: layers.ClusterUnpool(MIXED),
    "cluster interpolation": lambda: layers.ClusterInterpolation(MIXED),
    "gradient on faces": lambda: layers.FaceGradient("3x0"),
    "divergence on faces": lambda: layers.FaceDivergence("3x1"),
    "curl on faces": lambda: layers.FaceCurl("3x1"),
    "cotangent laplacian": lambda: layers.CotangentLaplacian(MIXED),
    "to faces": lambda: layers.ToFaces(MIXED),
    "to vertices": lambda: layers.ToVertices(MIXED),
    "hodge parts": lambda: layers.HodgeParts("2x1"),
}
PERSISTENT = ("running_mean", "running_var")


class OnSurface(nn.Module):
    """A layer with all it needs besides features, so that it takes one argument."""

    def __init__(self, module: nn.Module, dtype: torch.dtype = torch.float32, nside: int = 2):
        super().__init__()
        self.module = module.to(dtype)
        hierarchy = HealpixSphere(nside).hierarchy(2)
        pooled = isinstance(module, (*POOLS, layers.ClusterInterpolation))
        self.surface: Any = (hierarchy.pools[0] if pooled else hierarchy.levels[0]).to(dtype)
        coarse = isinstance(module, (layers.ClusterUnpool, layers.ClusterInterpolation))
        self.coarse = hierarchy.levels[1].to(dtype)
        self.points = hierarchy.levels[1 if coarse else 0].num_vertices
        if isinstance(module, FROM_VERTICES + FROM_FACES):
            self.surface = HealpixSphere(nside).surface_complex().to(dtype)
            self.points = self.surface.num_faces if isinstance(module, FROM_FACES) else self.surface.num_vertices

    def features(self) -> Tensor:
        real = next((p.dtype for p in self.parameters()), torch.float32)
        return torch.randn(self.points, self.module.in_type.dim, dtype=real)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.module, layers.ClusterInterpolation):
            return self.module(x, self.surface, self.coarse)
        on_surface = isinstance(self.module, POOLS + FROM_VERTICES + FROM_FACES)
        return self.module(x, self.surface) if on_surface else call(self.module, x, self.surface)


def shapes(module: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in module.state_dict().items()}


def test_every_layer_is_tried():
    tried = {type(part) for build in CASES.values() for part in build().modules()}
    public = {getattr(layers, name) for name in layers.__all__} - {layers.SurfaceModule}  # their base
    assert {p for p in public if isinstance(p, type) and issubclass(p, nn.Module)} <= tried


@pytest.mark.parametrize("name", CASES)
def test_names_and_shapes_of_the_state_are_those_of_earlier_versions(name):
    stored = json.loads(STORED.read_text())
    assert shapes(CASES[name]()) == stored.get(name), f"see {Path(__file__).name} if this change is meant"


@pytest.mark.parametrize("name", CASES)
def test_the_state_holds_nothing_derived(name):
    module = CASES[name]()
    learnt = dict(module.named_parameters())
    assert all(key in learnt or key.rpartition(".")[2] in PERSISTENT for key in module.state_dict())


@pytest.mark.parametrize("name", CASES)
def test_copies_and_files_give_the_same_bits(name):
    module = OnSurface(randomised(CASES[name]())).eval()
    x = module.features()
    y = module(x)
    layer = module.module
    stream = io.BytesIO()
    torch.save(layer.state_dict(), stream)
    stream.seek(0)
    loaded = CASES[name]()
    loaded.load_state_dict(torch.load(stream, weights_only=True), strict=True)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded.eval()):
        assert (other.in_type, other.out_type) == (layer.in_type, layer.out_type)
        module.module = other
        assert torch.equal(module(x), y)


@pytest.mark.parametrize("name", CASES)
def test_repr_tells_the_types(name):
    module = CASES[name]()
    assert repr(module).startswith(type(module).__name__)
    assert str(module.in_type) in repr(module)


@pytest.mark.parametrize("name", CASES)
def test_autocast(name):
    """Products may round to 8 bits, geometry does not: the result is within a few roundings of single precision."""
    module = OnSurface(randomised(CASES[name]())).eval()
    x = module.features().requires_grad_()
    expected = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert (y.float() - expected).norm() < 0.02 * expected.norm()
    y.float().square().sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad != 0).any()
    assert all(p.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("name", CASES)
def test_half_precision_inputs_keep_their_dtype(name):
    module = OnSurface(CASES[name]()).eval().to(torch.bfloat16)
    module.surface = module.surface.to(torch.float32)
    y = module(module.features().bfloat16())
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_compiles_into_one_graph(name):
    torch._dynamo.reset()
    module = OnSurface(randomised(CASES[name]()))
    x = module.features()
    expected, fast = module.eval()(x), torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(x), expected)
    leaves = [x.requires_grad_(), *module.parameters()]
    for one, other in zip(*(torch.autograd.grad(f(x).square().sum(), leaves) for f in (fast, module)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exports(name):
    module = OnSurface(randomised(CASES[name]())).eval()
    program = torch.export.export(module, (module.features(),))
    x = module.features()
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize("name", CASES)
def test_double_backward(name):
    """Second derivatives in the features by finite differences, and a penalty on slopes reaches every weight."""
    module = OnSurface(randomised(CASES[name]()), torch.float64).eval()
    x = module.features().double().requires_grad_()
    assert gradgradcheck(module, x, fast_mode=True)
    (slope,) = torch.autograd.grad(module(x).sin().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


class Together(nn.Module):
    """All layers side by side; the loss is the sum of theirs."""

    def __init__(self, nside: int = 2):
        super().__init__()
        self.parts = nn.ModuleDict({name: OnSurface(build(), nside=nside) for name, build in CASES.items()})

    def loss(self, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.stack([part(part.features()).square().mean() for part in self.parts.values()]).sum()

    forward = loss


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_trains_in_a_lightning_module(precision, tmp_path):
    import lightning

    class Task(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = Together()

        def training_step(self, batch: Tensor) -> Tensor:
            return self.network(int(batch[0]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    task = Task()
    before = copy.deepcopy(dict(task.named_parameters()))
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(task, torch.utils.data.DataLoader(torch.arange(3)))
    assert all(torch.isfinite(p).all() for p in task.parameters())
    moved = [name for name, p in task.named_parameters() if (p != before[name]).any()]
    assert len(moved) > 0.95 * len(before)
    restored = Task()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    restored.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(a, b) for a, b in zip(restored.parameters(), task.parameters(), strict=True))


if __name__ == "__main__":
    lines = [f" {json.dumps(name)}: {json.dumps(shapes(build()))}" for name, build in CASES.items()]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
