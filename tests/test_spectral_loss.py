"""The spectral loss against sums over harmonics, closed forms of single waves, and its derivative."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
import torch
from planet import TARGETS, series, write_planet

from meshconv import FieldType, HealpixSphere, InputError
from meshconv.train import ForecastTask, RegressionTask
from meshconv.train.metrics.spectral_loss import SpectralLoss, coefficients

SPEC = {"inputs": {"nside": 8, "domain": None}}


def wave(nside: int, degree: int, m: int, phase: float = 0.0, kind: int | None = None) -> torch.Tensor:
    """A single harmonic of mean square 1, nested: a scalar ``[V]``, or a gradient or curl ``[2, V]``."""
    largest = 2 * nside
    alm = np.zeros(healpy.Alm.getsize(largest), dtype=complex)
    alm[healpy.Alm.getidx(largest, degree, m)] = np.exp(1j * phase) * np.sqrt(4 * np.pi / (1 if m == 0 else 2))
    if kind is None:
        return torch.from_numpy(healpy.reorder(healpy.alm2map(alm, nside, largest), r2n=True))
    parts = healpy.alm2map_spin([alm * (kind == 0), alm * (kind == 1)], nside, 1, largest)
    return torch.from_numpy(healpy.reorder(np.stack(parts), r2n=True))


@pytest.mark.parametrize("kind", [None, 0, 1])
def test_squares_of_coefficients_are_the_mean_square(kind: int | None) -> None:
    sphere = HealpixSphere(16)
    x = wave(16, 5, 2, 0.3, kind) + 0.5 * wave(16, 7, 0, 0.0, kind)
    found = coefficients(x, 0 if kind is None else 1, sphere)
    powers = (found**2).sum((-1, -2, -4))
    assert powers[5].item() == pytest.approx(1, abs=2e-2) and powers[7].item() == pytest.approx(0.25, abs=1e-2)
    assert powers.sum().item() == pytest.approx((x**2).sum().item() / sphere.npix, abs=2e-2)
    part = found[kind or 0]
    assert (part**2).sum() / (found**2).sum() > 0.999
    # The phase is that of the coefficient.
    assert torch.atan2(part[5, 2, 1], part[5, 2, 0]).item() == pytest.approx(0.3, abs=1e-2)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("sphere", [HealpixSphere(2), HealpixSphere(3, "ring")], ids=["nest", "ring"])
def test_derivative_of_coefficients(order: int, sphere: HealpixSphere) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, sphere.npix, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: coefficients(x, order, sphere), x)


@pytest.mark.parametrize(("alpha", "delta"), [(1.0, 0.4), (0.6, 0.4), (1.5, 1.2), (0.7, 2.5), (1.0, 0.0)])
@pytest.mark.parametrize("kind", [None, 1])
def test_waves_that_are_too_weak_or_displaced(alpha: float, delta: float, kind: int | None) -> None:
    field_type = FieldType("1x0") if kind is None else FieldType("0x0 + 1x1")
    truth, said = wave(8, 6, 3, 0.0, kind), alpha * wave(8, 6, 3, delta, kind)
    y, x = (field.reshape(-1, 768).T for field in (truth, said))
    usual = ((x - y) ** 2).sum(-1).mean().item()
    beyond = SpectralLoss(field_type, SPEC)(x - y, y).item()
    expected = (alpha - 1) ** 2 + 2 * max(alpha**2, 1) * (1 - np.cos(delta))
    assert usual + beyond == pytest.approx(expected, abs=0.03)
    assert beyond >= -1e-12


def test_full_strength_is_best_where_the_phase_is_uncertain() -> None:
    # Half of the wave can be known: the mean square error wants half of its strength.
    loss = SpectralLoss(FieldType("1x0"), SPEC)
    y = wave(8, 5, 2)[:, None]
    shifted = torch.stack([wave(8, 5, 2, phase)[:, None] for phase in (np.pi / 3, -np.pi / 3)])
    strengths = torch.linspace(0.2, 1.2, 11)
    x = strengths[:, None, None, None] * shifted
    usual = ((x - y) ** 2).mean((1, 2, 3))
    whole = usual + loss(x - y, y.expand_as(x)).mean(1)
    assert strengths[usual.argmin()].item() == pytest.approx(0.5)
    assert strengths[whole.argmin()].item() == pytest.approx(1)


def test_fields_that_are_equal_have_no_loss_and_a_derivative() -> None:
    loss = SpectralLoss(FieldType("1x0 + 1x1"), SPEC)
    y = torch.cat([wave(8, 4, 1)[:, None], wave(8, 4, 1, 0, 0).T], dim=1).float()
    error = torch.zeros(2, *y.shape, requires_grad=True)
    found = loss(error, y.expand_as(error))
    assert found.shape == (2,) and found.abs().max() < 1e-12
    found.sum().backward()
    assert error.grad.isfinite().all() and error.grad.abs().max() < 1e-6
    nothing = loss(error, torch.zeros_like(y).expand_as(error)).sum()
    nothing.backward()
    assert error.grad.isfinite().all()


def test_turned_by_a_quarter_it_is_the_same() -> None:
    sphere, loss = HealpixSphere(8), SpectralLoss(FieldType("1x0 + 1x1"), SPEC)
    torch.manual_seed(1)
    error, y = torch.randn(2, 768, 3, dtype=torch.float64)
    turned = healpy.vec2pix(8, *(sphere.xyz @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])).T, nest=True)
    assert len(set(turned.tolist())) == 768
    assert loss(error[turned], y[turned]).item() == pytest.approx(loss(error, y).item(), rel=1e-9)


def test_a_task_that_is_trained_with_it(tmp_path) -> None:
    data = series(write_planet(tmp_path), targets=TARGETS | {"steps": 2})
    small = {"channels": [4, 6], "max_order": 1, "context": 0, "width": 8}
    tasks = [
        ForecastTask("FieldUNet", str(data.in_type), data.field_names, data.spec, small, loss=loss, data=data)
        for loss in (None, "spectral")
    ]
    tasks[1].load_state_dict(tasks[0].state_dict())
    batch = next(iter(data.train_dataloader()))
    for task in tasks:
        task.normalise(*(data.target_statistics[0], data.change_sizes))
    truth = batch.target[:, 0]
    weights = batch.x.new_ones(batch.x.shape[:-1])
    usual, whole = (task.error(task(batch), truth, weights) for task in tasks)
    assert whole > usual and torch.isfinite(whole)
    assert all(task.error(truth, truth, weights) < 1e-9 for task in tasks)
    whole.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in tasks[1].parameters())


def test_bad_input() -> None:
    with pytest.raises(InputError, match="give nside, and no domain"):
        SpectralLoss(FieldType("1x0"), {"data": "meshes"})
    with pytest.raises(InputError, match="give nside, and no domain"):
        SpectralLoss(FieldType("1x0"), {"inputs": {"nside": 8, "domain": {"lat": [0, 10]}}})
    with pytest.raises(InputError, match="scalars and vectors, not for 1x2"):
        SpectralLoss(FieldType("1x2"), SPEC)
    with pytest.raises(InputError, match="targets are missing"):
        SpectralLoss(FieldType("1x0"), SPEC)(torch.zeros(768, 1), torch.full((768, 1), torch.nan))
    given = ("FieldUNet", "1x0", ["h"], SPEC | {"out_type": "1x0", "targets": {"statistics": []}},
             {"channels": [4], "max_order": 0})  # fmt: skip
    with pytest.raises(InputError, match="leave loss out"):
        RegressionTask(*given, loss="spectral", relative=True)
    with pytest.raises(InputError, match="'spectra' is not known; use spectral"):
        RegressionTask(*given, loss="spectra")
