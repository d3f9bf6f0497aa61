"""Weights of few bits: exact symmetry, equalisation, corrected means, and the command that does all of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from meshconv import HealpixSphere, compress
from meshconv.cli import main
from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.generated import write_shapes
from meshconv.errors import InputError
from meshconv.models import ShapeClassifier
from meshconv.nn import GaugeConv
from meshconv.nn.compact.half import half_features
from meshconv.nn.compact.integers import integer_state, kernels, take_integers
from meshconv.shipped import find_config
from meshconv.testing import assert_gauge_equivariant, gauge_equivariance_error
from meshconv.train import ClassificationTask, Predictor, load_task

MIXED = "3x0 + 2x1"
SPHERE = HealpixSphere(4).gauge_graph()


def task(in_type=MIXED, **options):
    """A classifier whose parameters and statistics are not those of the start."""
    spec = {"data": "meshconv.datasets.MeshFolder", "features": ["default"]}
    options = {"channels": 4, "max_order": 2, "blocks": 2, "width": 8} | options
    new = ClassificationTask("ShapeClassifier", in_type, ["a", "b"], spec, options).eval()
    with torch.no_grad():
        for value in new.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand_like(value)
    return new


def batches(of, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    graph = SPHERE.to(torch.float32)
    for _ in range(count):
        x = 0.5 + of.network.in_type.randn(graph.num_vertices, generator=generator)
        yield SurfaceBatch(x, graph, torch.zeros(1, dtype=torch.int64), None, ["sphere"])


def deviation(one, other, count=8):
    """Root mean square of the difference of logits, relative to that of the logits."""
    found, expected = [], []
    with torch.no_grad():
        for batch in batches(one, count, seed=5):
            found.append(other(batch))
            expected.append(one(batch))
    difference = torch.cat(found) - torch.cat(expected)
    return float(difference.norm() / torch.cat(expected).norm())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("in_type", [MIXED, "O(2): 2x0 + 1x0- + 2x1"])
def test_rounded_networks_are_as_equivariant(in_type, bits):
    full = task(in_type)
    small = compress.quantise(full, bits)
    assert_gauge_equivariant(small.network, SPHERE)
    for kernel in kernels(small.network):
        columns = kernel.weight if kernel.last else kernel.weight.mT
        for field in kernel.group.unique():
            levels = columns[..., kernel.group == field].unique()
            assert len(levels) <= 2**bits - 1
    assert deviation(full, small) < (0.6 if bits == 4 else 0.05)


def test_activations_rounded_one_by_one_are_caught():
    """The negative control: a step for each component, as libraries for images have it."""
    full = task()

    def rounded(layer, given, made):
        step = made.abs().amax(tuple(range(made.dim() - 1))) / 127
        return (made / step).round() * step

    assert gauge_equivariance_error(full.network, SPHERE) < 1e-5
    for layer in full.network.modules():
        if isinstance(layer, GaugeConv):
            layer.register_forward_hook(rounded)
    with pytest.raises(AssertionError, match="gauge error"):
        assert_gauge_equivariant(full.network, SPHERE)
    assert gauge_equivariance_error(full.network, SPHERE) > 1e-4


def test_equalisation_changes_nothing_but_ranges():
    full = task().double()
    network = copy.deepcopy(full.network)
    conv = network.blocks[0].conv2
    with torch.no_grad():
        conv.weight[:, conv.in_type.components([5])] *= 30
    before = copy.deepcopy(network)
    x = network.in_type.randn(SPHERE.num_vertices).double()
    compress.equalise(network)
    with torch.no_grad():
        expected, found = before(x, SPHERE), network(x, SPHERE)
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()

    def spread(layer):
        """Of the largest coefficients of input fields of order 1 and more."""
        fields = range(4, 12)
        ranges = [layer.weight.detach()[:, layer.in_type.components([k])].abs().max() for k in fields]
        own = [layer.self_interaction.weights[str(k // 4)].detach()[:, k % 4].abs().max() for k in fields]
        largest = torch.maximum(torch.stack(ranges), torch.stack(own))
        return float(largest.max() / largest.min())

    assert spread(before.blocks[0].conv2) > 10
    assert spread(conv) < 1 + 1e-9


def test_means_are_corrected_without_data():
    """A layer after a normalisation: with data of its statistics the mean of each scalar is that of before."""
    full = task(blocks=1)
    block = full.network.blocks[0]
    with torch.no_grad():
        block.norm1.shift.fill_(2.0)
    small = compress.quantise(full, 4)
    bare = copy.deepcopy(full)
    compress.equalise(bare.network)
    generator = torch.Generator().manual_seed(0)
    graph = HealpixSphere(8).gauge_graph().to(torch.float32)
    y = block.act1.in_type.randn(graph.num_vertices, generator=generator)

    def means(network):
        """Of scalars of the second convolution, in the normalisation after it, for normalised inputs of the first."""
        one = network.blocks[0]
        normalised = one.act1.in_type.scale_fields(y, one.norm1.scale)
        normalised[:, : one.norm1.in_type.scalars] += one.norm1.shift
        with torch.no_grad():
            z = one.conv2(one.act1(normalised), graph)
        return z[:, : one.norm2.in_type.scalars].mean(0) - one.norm2.running_mean

    scale = full.network.blocks[0].norm2.running_var[:12].sqrt()
    uncorrected = copy.deepcopy(small.network)
    uncorrected.blocks[0].norm2.running_mean.copy_(bare.network.blocks[0].norm2.running_mean)
    left = ((means(small.network) - means(bare.network)) / scale).abs().mean()
    without = ((means(uncorrected) - means(bare.network)) / scale).abs().mean()
    assert left < without / 4


@pytest.mark.slow
def test_rounding_with_samples_changes_outputs_less():
    full = task(blocks=1)
    data = list(batches(full, 6))
    free, adapted = compress.quantise(full, 4), compress.quantise(full, 4, data)
    assert_gauge_equivariant(adapted.network, SPHERE)
    assert deviation(full, adapted) < 0.8 * deviation(full, free)


@pytest.mark.parametrize("bits", [4, 8])
def test_checkpoints_hold_integers(bits, tmp_path):
    full = task()
    small = compress.quantise(compress.prune(full, compress.magnitude_masks(full.network, 0.5)), bits)
    compress.save(small, tmp_path / "small.ckpt")
    loaded = load_task(tmp_path / "small.ckpt")
    (batch,) = batches(full, 1)
    with torch.no_grad():
        assert torch.equal(loaded(batch), small(batch))
    state = torch.load(tmp_path / "small.ckpt", weights_only=True)["state_dict"]
    kinds = {v.dtype for k, v in state.items() if k.endswith("_integers")}
    assert kinds == ({torch.int8} if bits == 8 else {torch.uint8})
    held = sum(v.numel() * v.element_size() for k, v in state.items() if k.endswith("_integers"))
    count = sum(k.weight.numel() for k in kernels(small.network))
    assert count * bits / 8 <= held <= count * bits / 8 + len(state)


def test_features_in_bfloat16(tmp_path):
    full = task()
    compress.save(full, tmp_path / "full.ckpt")
    compress.compress_checkpoint(tmp_path / "full.ckpt", tmp_path / "small.ckpt", bits=8, bf16=True)
    small = load_task(tmp_path / "small.ckpt")
    assert next(small.parameters()).dtype == torch.bfloat16
    assert 0 < deviation(full, small) < 0.2
    layer = GaugeConv(MIXED, "4x0 + 4x1")
    half_features(layer)
    assert 1e-4 < gauge_equivariance_error(layer, SPHERE, dtype=torch.float32) < 0.05


def test_bad_input_is_one_line(tmp_path, capsys):
    full = task()
    with pytest.raises(InputError, match="bits 3 are not supported; weights have 4 or 8"):
        compress.quantise(full, 3)
    with pytest.raises(InputError, match="needs 4 of them, there are 2"):
        compress.quantise(full, 8, list(batches(full, 2)))
    with pytest.raises(ValueError, match="not been rounded"):
        integer_state(full.network, 8)
    bare = copy.deepcopy(full)
    bare.network = nn.Identity()
    with pytest.raises(InputError, match="Identity has no convolution or linear layer"):
        compress.quantise(bare, 8)
    compress.save(full, tmp_path / "full.ckpt")
    place = str(tmp_path / "full.ckpt")
    for arguments, said in [
        ([], "nothing to do"),
        (["--bits", "7"], "bits 7 are not supported"),
        (["--prune", "l0"], "need --data CONFIG"),
        (["--bits", "8", "--samples", "4"], "need --data CONFIG"),
        (["--bits", "8", "--data", "nowhere.yaml"], "nowhere.yaml: no such configuration"),
        (["--bits", "8", "--output", place], "would overwrite"),
        (["--prune", "magnitude", "--epochs", "0", "--keep", "1.5"], "keep 1.5 is not a share"),
    ]:
        assert main(["compress", place, *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert main(["compress", str(tmp_path / "none.ckpt"), "--bits", "8"]) == 2
    gated = copy.deepcopy(full)
    compress.add_gates(gated.network)
    with pytest.raises(InputError, match="prune it"):
        compress.save(gated, tmp_path / "gated.ckpt")


@pytest.mark.parametrize(
    "plan",
    [
        [1],
        {"layers": {}},
        {"layers": [], "bits": None, "bf16": False},
        {"layers": {}, "bits": 5, "bf16": False},
        {"layers": {"stem": {"reads": [0]}}, "bits": None, "bf16": False},
        {"layers": {"stem": {"reads": ["a"], "gives": [0], "arrives": None, "wide": True}}, "bits": 8, "bf16": False},
        {"layers": {"": {"reads": [0], "gives": [0], "arrives": None, "wide": True}}, "bits": 8, "bf16": False},
        {"layers": {"pool": {"reads": [0], "gives": [0], "arrives": None, "wide": True}}, "bits": 8, "bf16": False},
    ],
)
def test_plans_of_anything_are_refused(tmp_path, plan):
    place = tmp_path / "small.ckpt"
    compress.save(task(), place)
    content = torch.load(place, weights_only=True)
    content["hyper_parameters"]["compact"] = plan
    torch.save(content, place)
    with pytest.raises(InputError) as found:
        load_task(place)
    assert "\n" not in str(found.value)


def test_integers_that_do_not_fit_are_refused(tmp_path):
    network = ShapeClassifier(MIXED, 2, 3, 1, blocks=1)
    take_integers(network, 8)
    state = dict(network.state_dict())
    state["stem.weight_integers"] = torch.zeros(3, dtype=torch.int8)
    del state["stem.weight"]
    with pytest.raises(RuntimeError, match="3 integers do not fit"):
        network.load_state_dict(state)


@pytest.mark.slow
def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shapes("shapes", train=1, test=1)
    network = "{channels: 4, max_order: 1, blocks: 1}"
    options = ["--data.init_args.root", "shapes", "--trainer.max_epochs", "1", "--data.init_args.variants", "1"]
    options += ["--data.init_args.val_fraction", "0", "--model.init_args.options", network]
    assert main(["fit", "--config", str(find_config("classify")), *options]) == 0
    config = ["--data", "runs/classify/config.yaml"]
    checkpoint = "runs/classify/last.ckpt"
    capsys.readouterr()
    for arguments in (["--prune", "l0", "--bits", "8"], ["--prune", "magnitude", "--bits", "4", "--samples", "4"]):
        assert main(["compress", checkpoint, *arguments, *config, "--epochs", "2", "--output", "small.ckpt"]) == 0
        printed = capsys.readouterr().out
        for row in ("weights, kB", "multiply-adds", "milliseconds", "accuracy", "calibration", "gauge error"):
            assert row in printed
        mesh = next((tmp_path / "shapes").rglob("*.ply"))
        assert main(["predict", "small.ckpt", str(mesh), "--output", "out"]) == 0
        assert Predictor("small.ckpt")(mesh).label
        assert main(["test", "--config", "runs/classify/config.yaml", "--ckpt_path", "small.ckpt"]) == 0
    assert main(["compress", checkpoint, "--bits", "8", "--samples", "100", *config]) == 2
    assert "100 are asked for, the data have 8" in capsys.readouterr().err


def test_the_command_on_maps_of_one_sphere(tmp_path, capsys, caplog, monkeypatch):
    """The surface that data and layers keep is first seen in a test, then trained on; an epoch is a line."""
    monkeypatch.chdir(tmp_path)
    wave = np.random.default_rng(0).normal(size=(6, 3)) @ HealpixSphere(4).xyz.T
    fields = {"t": (("time", "cell"), wave), "label": (("time", "cell"), (wave > 0).astype(np.int16))}
    time = np.datetime64("2000-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D")
    xr.Dataset(fields, {"time": time}, {"healpix_order": "nest"}).to_netcdf("map.nc")
    options = ["--data.init_args.inputs", "map.nc", "--data.init_args.label", "label", "--trainer.max_epochs", "1"]
    options += ["--data.init_args.scalars", "[t]", "--data.init_args.num_levels", "2"]
    options += ["--model.init_args.options", "{channels: [4, 4], max_order: 1, aggregation: quadrature}"]
    assert main(["fit", "--config", str(find_config("sphere_maps")), *options]) == 0
    given = ["--data", "runs/sphere_maps/config.yaml", "--epochs", "2", "--bits", "8"]
    caplog.set_level("INFO")
    for method in ("l0", "magnitude"):
        capsys.readouterr(), caplog.clear()
        assert main(["compress", "runs/sphere_maps/last.ckpt", "--prune", method, *given]) == 0
        assert "mean IoU" in capsys.readouterr().out
        assert sum(record.message.startswith("epoch ") for record in caplog.records) == 2
