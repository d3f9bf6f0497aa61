"""Reconstruction: the model's messages and posterior, the network's symmetries, and the task from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from map_case import LAT, LON, save
from meshes import icosphere
from torch import Tensor, nn

from meshconv import FieldType, GaugeGraph, HealpixSphere, Hierarchy, InputError, Predictor
from meshconv.cli import main
from meshconv.datasets import MapFields
from meshconv.hybrid import FieldModel, HybridField, Kriging
from meshconv.hybrid.matern import SurfaceOperators
from meshconv.io.meshes.save import save_mesh
from meshconv.testing import gauge_equivariance_error, isometry_error
from meshconv.train import ReconstructionTask, load_task


def model_on(graph: GaugeGraph, order: int = 0, density: float = 0.2) -> FieldModel:
    return FieldModel(graph, range=1.0, deviation=1.0, noise=0.2, density=density, order=order)


def test_stiffness_of_graphs_has_the_eigenvalues_of_the_sphere():
    sphere = HealpixSphere(8)
    operators = SurfaceOperators(sphere.gauge_graph())
    for axis in range(3):
        z = sphere.xyz[:, axis]
        assert z @ operators.stiffness @ z / (operators.mass @ z**2) == pytest.approx(2, rel=0.05)
    assert np.abs(operators.stiffness @ np.ones(768)).max() < 1e-12


def test_kriging_on_graphs_is_the_dense_formula():
    graph = icosphere(1).gauge_graph()
    kriging = Kriging(graph, range=1.0, deviation=1.0, noise=0.3)
    cover = np.linalg.inv(kriging.prior.precision.toarray())
    expected = cover[:, [3, 7]] @ np.linalg.solve(cover[np.ix_([3, 7], [3, 7])] + 0.09 * np.eye(2), [1.0, -2.0])
    np.testing.assert_allclose(kriging.estimate([3, 7], [1.0, -2.0]), expected, atol=1e-8)


@pytest.mark.parametrize("order", [0, 1])
def test_preconditioned_messages_reach_the_posterior(order):
    graph = icosphere(1).gauge_graph()
    model = model_on(graph, order)
    rng = torch.Generator().manual_seed(0)
    y = torch.randn(42, 1 + order, generator=rng, dtype=torch.float64)
    mask = torch.arange(42) % 5 == 0
    posterior = model.posterior(y, mask)
    kriging = Kriging(graph, range=1.0, deviation=1.0, noise=0.2, order=order)
    points = mask.nonzero()[:, 0]
    mean, deviation = kriging.predict(points, y[mask] if order else y[mask][:, 0])
    assert torch.allclose(posterior.squeeze(-1), mean, atol=1e-9)
    assert torch.allclose(model.deviations(mask), deviation, atol=1e-9)
    assert model.message(posterior, y, mask).abs().max() < 1e-8
    x = torch.zeros_like(y)
    errors = []
    for _ in range(2000):
        x = x + 1.9 * model.density * model.message(x, y, mask)
        errors.append((x - posterior).abs().max())
    assert errors[-1] < 1e-4 and errors[-1] < 0.3 * errors[999] < 0.1 * errors[9]


class OnGraph(nn.Module):
    """The network as a module of one feature vector: an input, and observations at a fifth of the points."""

    def __init__(self, kind: str):
        super().__init__()
        torch.manual_seed(0)
        self.out_type = FieldType(kind)
        self.in_type = FieldType("1x0") + kind
        self.network = HybridField("1x0", kind, channels=[4], max_order=1, width=8)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))

    def forward(self, x: Tensor, surface: GaugeGraph) -> Tensor:
        mask = torch.arange(surface.num_vertices) % 5 == 0
        model = model_on(surface, self.out_type.max_order)
        return self.network(x[..., :1], Hierarchy([surface], []), x[..., 1:], mask, model)


@pytest.mark.parametrize("kind", ["1x0", "1x1"])
def test_network_does_not_depend_on_gauge_or_rotation(kind):
    graph = icosphere(1).gauge_graph()
    assert gauge_equivariance_error(OnGraph(kind), graph, samples=1) < 1e-5
    assert isometry_error(OnGraph(kind), graph, samples=1) < 1e-5


def test_untrained_network_is_kriging_and_learns():
    hierarchy = HealpixSphere(4).hierarchy(2).to(torch.float32)
    model = model_on(hierarchy.finest)
    network = HybridField("1x0", "1x0", channels=[4, 4], max_order=1, width=8)
    mask = torch.arange(192) % 5 == 0
    truth = torch.sign(hierarchy.finest.positions[:, :1])
    posterior = model.posterior(truth, mask)
    assert torch.allclose(network(torch.ones(192, 1), hierarchy, truth, mask, model), posterior, atol=1e-5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(10):
        loss = ((network(torch.ones(192, 1), hierarchy, truth, mask, model) - truth) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.8 * ((posterior - truth) ** 2).mean()
    assert network.gate.grad is not None and network.gate.grad != 0


def test_wrong_input():
    graph = icosphere(1).gauge_graph()
    with pytest.raises(InputError, match="no observations"):
        model_on(graph).posterior(torch.zeros(42, 1), torch.zeros(42, dtype=torch.bool))
    with pytest.raises(InputError, match="density 2 has to be at most 1"):
        model_on(graph, density=2)
    with pytest.raises(InputError, match="out_type 2x0"):
        HybridField("1x0", "2x0")
    nan = torch.full((42, 1), torch.nan)
    with pytest.raises(InputError, match="values have NaN"):
        HybridField("1x0", "1x0", channels=[4])(torch.ones(42, 1), Hierarchy([graph], []), nan, nan[:, 0] > 0, None)


def series(path: Path, share: float = 1.0) -> Path:
    """Smooth maps, with all values or some."""
    rng = np.random.default_rng(0)
    lat, lon = np.meshgrid(np.radians(LAT), np.radians(LON), indexing="ij")
    waves = [np.cos(lat) * np.cos(lon + t) + 0.5 * np.sin(2 * lat) for t in range(6)]
    t = 280 + 5 * np.stack(waves)
    t = np.where(rng.random(t.shape) < share, t, np.nan)
    coords = {"lat": ("lat", LAT, {"units": "degrees_north"}), "lon": ("lon", LON, {"units": "degrees_east"})}
    times = np.arange("2020-01", "2020-07", dtype="datetime64[M]").astype("datetime64[ns]")
    variables = {"t": (("time", "lat", "lon"), t.astype(np.float32), {"units": "K"})}
    return save(xr.Dataset(variables, {"time": times, **coords}), path)


@pytest.mark.slow
def test_maps_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = "reconstruct"
    fit = ["fit", "--config", config, "--data.init_args.inputs", str(series(tmp_path / "all.nc")),
           "--data.init_args.field", "t", "--data.init_args.nside", "4", "--trainer.max_epochs", "1",
           "--data.init_args.cache", "false", "--model.init_args.observed", "0.2", "--trainer.accelerator", "cpu",
           "--model.init_args.options", "{channels: [4, 4], max_order: 1}"]  # fmt: skip
    assert main(fit) == 0
    few = series(tmp_path / "few.nc", share=0.1)
    assert main(["predict", "runs/reconstruct/last.ckpt", str(few), "--output", "found.nc"]) == 0
    truth = xr.open_dataset(tmp_path / "all.nc")["t"].values
    with xr.open_dataset("found.nc") as found:
        t, deviation = found["t"].values, found["t_deviation"].values
        assert found["t"].attrs["units"] == "K"
    assert np.isfinite(t).all() and (deviation > 0).all()
    assert ((t - truth) ** 2).mean() < 0.5 * truth.var()


@pytest.mark.slow
def test_meshes_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mesh = icosphere(2)
    z = np.asarray(mesh.vertices)[:, 2]
    (tmp_path / "meshes").mkdir()
    for k in range(6):
        save_mesh(mesh, tmp_path / f"meshes/{k}.ply")
        np.save(tmp_path / f"meshes/{k}_p.npy", z * (1 + k / 5))
    config = "reconstruct"
    fit = ["fit", "--config", config, "--data", "meshconv.datasets.MeshFields", "--data.init_args.root", "meshes",
           "--data.init_args.fields", "[p]", "--data.init_args.num_levels", "2", "--trainer.max_epochs", "1",
           "--data.init_args.cache", "false", "--model.init_args.observed", "0.3", "--trainer.accelerator", "cpu",
           "--model.init_args.options", "{channels: [4, 4], max_order: 1}"]  # fmt: skip
    assert main(fit) == 0
    task = load_task("runs/reconstruct/last.ckpt")
    assert isinstance(task, ReconstructionTask) and task.prior[0] > 0.3
    save_mesh(mesh, tmp_path / "new.ply")
    np.save(tmp_path / "new_p.npy", np.where(np.arange(len(z)) % 5 == 0, z, np.nan))
    result = Predictor("runs/reconstruct/last.ckpt")(tmp_path / "new.ply")
    assert np.abs(result.fields["p"] - z).mean() < 0.3
    assert (result.fields["p_deviation"] > 0).all()


def test_data_of_maps(tmp_path):
    data = MapFields(str(series(tmp_path / "all.nc")), "t", nside=4, cache=False)
    batch = next(iter(data.train_dataloader()))
    assert batch.target.shape[1:] == (192, 1) and (batch.x == 1).all()
    mean, size = data.target_statistics
    assert mean == pytest.approx(280, abs=0.5) and 1 < size < 5
    with pytest.raises(InputError, match="a single map cannot be split"):
        MapFields(xr.open_dataset(tmp_path / "all.nc").isel(time=0, drop=True), "t", nside=4, cache=False)
