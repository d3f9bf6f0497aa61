"""The variational auto-encoder: covariance of its posterior, and its bounds against likelihoods that are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from meshes import icosphere
from scipy.special import eval_legendre
from scipy.stats import multivariate_normal
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from meshconv import FieldType, HealpixSphere, Hierarchy, InputError
from meshconv.generative import FieldPosterior, FieldVAE

KIND, LATENT = "1x0 + 1x1", "2x0 + 1x1"


def network(levels: int = 2, **options) -> FieldVAE:
    """With biases, variances that depend on the fields, and norms whose statistics are not those of the start."""
    torch.manual_seed(0)
    vae = FieldVAE(KIND, LATENT, [6] * levels, **options)
    for name, parameter in vae.named_parameters():
        if parameter.ndim == 1 or name.startswith("log_variance"):
            nn.init.normal_(parameter, std=0.2)
    return vae.eval()


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


SURFACES = {"sphere": lambda: HealpixSphere(8).hierarchy(3), "mesh": lambda: icosphere(2).hierarchy(3)}


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("linear", [False, True])
def test_the_posterior_turns_with_the_gauge_and_its_divergence_does_not(name, linear):
    surface, vae = SURFACES[name](), network(3, linear=linear)
    alphas = [2 * math.pi * torch.rand(g.num_vertices, dtype=torch.float64) for g in surface.levels]
    turned = surface.change_gauge(alphas)
    x = FieldType(KIND).randn(2, surface.finest.num_vertices, dtype=torch.float64)
    x[:, ::7] = torch.nan  # some are hidden
    other = vae.in_type.change_gauge(x, alphas[0])
    surface, turned, x, other = surface.to(torch.float32), turned.to(torch.float32), x.float(), other.float()
    with torch.no_grad():
        one, two = vae.encode(x, surface), vae.encode(other, turned)
        back = vae.latent.change_gauge(one.mean, alphas[-1].float())
        assert relative(two.mean, back) < 1e-5
        assert relative(two.log_variance, one.log_variance) < 1e-5
        total, again = one.divergence().sum(-1), two.divergence().sum(-1)
        assert ((total - again).abs() / total).max() < 1e-6 * 5  # float32 sums of hundreds of terms
        z = FieldType(LATENT).randn(2, surface.levels[-1].num_vertices)
        decoded = vae.decode(z, surface)
        assert relative(vae.decode(vae.latent.change_gauge(z, alphas[-1].float()), turned),
                        vae.in_type.change_gauge(decoded, alphas[0].float())) < 1e-5  # fmt: skip


def test_in_double_precision_the_divergence_is_invariant_to_rounding():
    surface, vae = HealpixSphere(4).hierarchy(2), network(2).double()
    alphas = [2 * math.pi * torch.rand(g.num_vertices, dtype=torch.float64) for g in surface.levels]
    x = FieldType(KIND).randn(surface.finest.num_vertices, dtype=torch.float64)
    with torch.no_grad():
        one = vae.encode(x, surface).divergence().sum()
        two = vae.encode(vae.in_type.change_gauge(x, alphas[0]), surface.change_gauge(alphas)).divergence().sum()
    assert abs(one - two) < 1e-9 * one


def test_a_quarter_turn_of_the_sphere_turns_the_posterior():
    surface, vae = HealpixSphere(8).hierarchy(3).to(torch.float32), network(3)
    x = FieldType(KIND).randn(surface.finest.num_vertices)
    orders = []
    for graph in surface.levels:
        xyz = graph.positions.double()
        before = torch.stack([xyz[:, 1], -xyz[:, 0], xyz[:, 2]], dim=1)  # where each point came from
        distance, order = torch.cdist(before, xyz).min(1)
        assert distance.max() < 1e-4
        orders.append(order)
    with torch.no_grad():
        one, two = vae.encode(x, surface), vae.encode(x[orders[0]], surface)
    # Frames point to the south and to the east, and turn along.
    assert relative(two.mean, one.mean[orders[-1]]) < 1e-5
    assert abs(two.divergence().sum() - one.divergence().sum()) < 1e-5 * one.divergence().sum()
    assert relative(two.mean, one.mean) > 0.1  # the control


def test_one_variance_for_each_component_is_no_field():
    posterior = FieldPosterior(FieldType("1x1"), torch.zeros(1, 2), torch.zeros(1, 1))
    wrong = torch.tensor([[1.0, 0.1]])  # of the cosine and the sine
    turned = FieldType("1x1").representation(torch.tensor(0.7))
    assert relative(turned @ torch.diag(wrong[0]) @ turned.T, torch.diag(wrong[0])) > 0.1
    same = torch.diag(posterior.field_type.per_component(posterior.log_variance.exp())[0])
    torch.testing.assert_close(turned @ same @ turned.T, same)


def test_divergence_and_density_are_those_of_torch():
    kind = FieldType("2x0 + 2x1")
    posterior = FieldPosterior(kind, kind.randn(5), torch.randn(5, 4))
    normal = Normal(posterior.mean, kind.per_component(posterior.log_variance / 2).exp())
    torch.testing.assert_close(posterior.divergence(), kl_divergence(normal, Normal(0.0, 1.0)).sum(-1))
    z = posterior.sample()
    torch.testing.assert_close(posterior.log_density(z), normal.log_prob(z).sum(-1))
    many = torch.stack([posterior.sample() for _ in range(4000)])
    torch.testing.assert_close(many.std(0), normal.stddev, rtol=0.1, atol=0)


def random_fields(nside: int, noise: float) -> np.ndarray:
    """Covariance of isotropic Gaussian fields of a given power spectrum and variance 9, with noise."""
    degrees = np.arange(17)
    power = np.exp(-degrees * (degrees + 1) / 20.0)
    power *= 9 * 4 * np.pi / ((2 * degrees + 1) @ power)
    xyz = HealpixSphere(nside).xyz
    cosine = np.clip(xyz @ xyz.T, -1, 1)
    factors = (2 * degrees + 1) / (4 * np.pi) * power
    return noise * np.eye(len(xyz)) + sum(f * eval_legendre(d, cosine) for d, f in zip(degrees, factors, strict=True))


def principal_components(covariance: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Loadings ``[V, count]`` and noise variance of probabilistic PCA, the best linear model (Tipping, Bishop 1999)."""
    values, vectors = np.linalg.eigh(covariance)
    noise = values[:-count].mean()
    return vectors[:, -count:] * np.sqrt(values[-count:] - noise), float(noise)


class Dense(FieldVAE):
    """The same bounds, with the encoder and the decoder of probabilistic PCA: the latent variables are 12 scalars a
    point of the coarsest level."""

    def __init__(self, loadings: np.ndarray, noise: float):
        super().__init__("1x0", "4x0", [2, 2])
        self.loadings = torch.from_numpy(loadings)
        inner = self.loadings.T @ self.loadings + noise * torch.eye(loadings.shape[1], dtype=torch.float64)
        self.gain, self.spread = torch.linalg.solve(inner, self.loadings.T), noise * torch.linalg.inv(inner)
        self.double().log_noise.data.fill_(math.log(noise))

    def encode(self, x: Tensor, surface: Hierarchy, known: Tensor | None = None) -> FieldPosterior:
        mean = (x[..., 0] @ self.gain.T).unflatten(-1, (-1, 4))
        logs = torch.diagonal(self.spread).log().view(-1, 4).expand(mean.shape)
        return FieldPosterior(self.latent, mean, logs)

    def decode(self, z: Tensor, surface: Hierarchy) -> Tensor:
        return (z.flatten(-2) @ self.loadings.T)[..., None]


def test_at_the_known_optimum_the_bounds_are_the_likelihood_of_principal_components():
    covariance = random_fields(4, 1.0)
    surface, count = HealpixSphere(4).hierarchy(3), 4 * 12
    loadings, noise = principal_components(covariance, count)
    vae = Dense(loadings, noise).requires_grad_(False)
    # By Cholesky's factors: eigenvectors of equal eigenvalues are others on another processor.
    x = np.random.default_rng(0).multivariate_normal(np.zeros(len(covariance)), covariance, 40, method="cholesky")
    exact = multivariate_normal(np.zeros(len(x[0])), loadings @ loadings.T + noise * np.eye(len(x[0]))).logpdf(x)
    fields = torch.from_numpy(x)[..., None]
    weighted = vae.bound(fields, surface, samples=2)[:, 0]  # the posterior is exact: one sample is as good as many
    torch.testing.assert_close(weighted, torch.from_numpy(exact), rtol=1e-6, atol=0)
    bound = torch.stack([vae.bound(fields, surface)[:, 0] for _ in range(200)])
    error = float(bound.std(0).norm() / len(bound[0]) / math.sqrt(200))
    assert abs(float(bound.mean() - exact.mean())) < 4 * error
    # Any other posterior has a lower bound, that more samples raise, up to the likelihood of the model.
    vae.gain = 0.97 * vae.gain
    few, many = (torch.stack([vae.bound(fields, surface, samples=k).mean() for _ in range(20)]) for k in (2, 64))
    assert few.mean() < many.mean() < exact.mean() + 4 * float(many.std()) / math.sqrt(20)


def expected(covariance: np.ndarray, model: np.ndarray) -> float:
    """Mean log-likelihood of a normal model for fields of a covariance."""
    _, logdet = np.linalg.slogdet(model)
    return -0.5 * (len(model) * math.log(2 * math.pi) + logdet + np.trace(np.linalg.solve(model, covariance)))


def bound_of_linear(vae: FieldVAE, surface: Hierarchy, covariance: np.ndarray) -> tuple[float, float]:
    """Mean of the bound of a linear model, in closed form; and the mean likelihood of that model."""
    vae = vae.double().eval()
    surface, points = surface.to(torch.float64), len(covariance)
    with torch.no_grad():
        few = surface.levels[-1].num_vertices * vae.latent.dim
        z = torch.eye(few, dtype=torch.float64).unflatten(1, (-1, vae.latent.dim))
        offset = vae.decode(torch.zeros_like(z[:1]), surface)[0, :, 0]
        w = (vae.decode(z, surface)[..., 0] - offset).T
        x = torch.eye(points, dtype=torch.float64)[..., None]
        start = vae.encode(torch.zeros_like(x[:1]), surface)
        a = (vae.encode(x, surface).mean.flatten(1) - start.mean.flatten(1)).T
        b = start.mean.flatten()
        logs = vae.latent.per_component(start.log_variance).flatten()
        noise = float(vae.log_noise.exp())
    c = torch.from_numpy(covariance)
    residual = torch.eye(points, dtype=torch.float64) - w @ a
    off = offset + w @ b
    square = torch.trace(residual @ c @ residual.T) + off @ off + (w.square().sum(0) * logs.exp()).sum()
    likelihood = -0.5 * (points * math.log(2 * math.pi * noise) + square / noise)
    divergence = 0.5 * (torch.trace(a @ c @ a.T) + b @ b + (logs.exp() - 1 - logs).sum())
    model = (w @ w.T).numpy() + noise * np.eye(points)
    shifted = covariance + np.outer(offset.numpy(), offset.numpy())
    return float(likelihood - divergence), expected(shifted, model)


@pytest.mark.slow
def test_a_trained_linear_model_comes_within_two_percent_of_principal_components_and_never_above():
    torch.manual_seed(0)
    covariance, surface = random_fields(8, 9.0), HealpixSphere(8).hierarchy(3).to(torch.float32)
    vae = FieldVAE("1x0", "1x0", [4, 8, 12], linear=True)
    nn.init.constant_(vae.log_noise, math.log(9.0))
    factor = torch.from_numpy(np.linalg.cholesky(covariance)).float()
    steps = 160
    optimiser = torch.optim.Adam(vae.parameters(), 2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-2, total_steps=steps)
    for _ in range(steps):
        x = (torch.randn(8, len(factor)) @ factor.T)[..., None]
        loss = -vae.bound(x, surface).mean() / len(factor)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    bound, model = bound_of_linear(vae.requires_grad_(False), surface, covariance)
    loadings, noise = principal_components(covariance, 48)
    best = expected(covariance, loadings @ loadings.T + noise * np.eye(len(covariance)))
    true = expected(covariance, covariance)
    print(f"\nbound {bound:.1f}, of the model {model:.1f}, principal components {best:.1f}, true {true:.1f} nats")
    assert bound <= model <= best + 1e-6 <= true
    assert bound > best - 0.02 * abs(best)
    # And so as it is estimated: with samples of the posterior, and with more of them.
    test = (torch.randn(400, len(factor)) @ factor.T)[..., None]
    vae, surface = vae.float(), surface.to(torch.float32)
    with torch.no_grad():
        one, many = (vae.bound(test, surface, samples=k)[:, 0] for k in (1, 8))
    spread = float(one.std()) / math.sqrt(len(one))
    assert abs(float(one.mean()) - bound) < 4 * spread
    assert float(one.mean()) - 0.1 < float(many.mean()) < model + 4 * spread


def test_what_is_unknown_does_not_count_and_is_not_seen():
    surface, vae = HealpixSphere(4).hierarchy(2).to(torch.float32), network(2)
    x = FieldType(KIND).randn(surface.finest.num_vertices)
    known = torch.rand(len(x)) > 0.3
    other = torch.where(known[:, None], x, 7.0)
    with torch.no_grad():
        torch.testing.assert_close(vae(x, surface, known), vae(other, surface, known))
        z = vae.encode(x, surface).mean
        part = torch.where(known[:, None], x, torch.nan)
        whole, some = vae.log_likelihood(x, z, surface), vae.log_likelihood(part, z, surface)
    torch.testing.assert_close(some, torch.where(known, whole, 0.0))
    assert vae.anomaly(part, surface)[known].isfinite().all() and vae.anomaly(part, surface)[~known].isnan().all()


def test_meshes_of_a_batch_have_bounds_of_their_own():
    vae, surfaces = network(2), [icosphere(n).hierarchy(2).to(torch.float32) for n in (1, 2)]
    xs = [FieldType(KIND).randn(s.finest.num_vertices) for s in surfaces]
    with torch.no_grad():
        together = vae.encode(torch.cat(xs), Hierarchy.batch(surfaces))
        alone = [vae.encode(x, s) for x, s in zip(xs, surfaces, strict=True)]
        torch.testing.assert_close(together.mean, torch.cat([a.mean for a in alone]))
        assert vae.bound(torch.cat(xs), Hierarchy.batch(surfaces)).shape == (2,)


def test_interpolation_goes_from_end_to_end():
    surface, vae = HealpixSphere(4).hierarchy(2).to(torch.float32), network(2)
    a, b = FieldType(KIND).randn(2, surface.finest.num_vertices)
    with torch.no_grad():
        found = vae.interpolate(a, b, surface, 5)
        torch.testing.assert_close(found[0], vae(a, surface), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[-1], vae(b, surface), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(vae.interpolate(a, a, surface, 3)[1], vae(a, surface), rtol=1e-4, atol=1e-5)
    drawn = vae.sample(surface, 3, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, vae.sample(surface, 3, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda s: FieldVAE("1x0", "4x0", [2, 2])(torch.zeros(192, 1), s), InputError, "latent 4x0 on 48 points"),
        (lambda s: FieldVAE("1x0", "1x0", [2] * 3)(torch.zeros(192, 1), s), InputError, "3 levels, the hierarchy 2"),
        (lambda s: FieldVAE("1x0", "1x0", [2, 2]).interpolate(s, s, s, 1), InputError, "steps 1"),
        (lambda s: FieldVAE("1x0", "1x2", [2]), ValueError, "latent 1x2 have order 2"),
        (lambda s: FieldVAE("1x0", "1x0", []), ValueError, "channels needs"),
        (lambda s: FieldVAE("1x0", "1x0", [2], blocks=0), ValueError, "blocks 0"),
    ],
)
def test_bad_input_is_one_line(make, error, said):
    with pytest.raises(error, match=said) as raised:
        make(HealpixSphere(4).hierarchy(2).to(torch.float32))
    assert "\n" not in str(raised.value)


def test_linear_is_linear():
    surface, vae = HealpixSphere(4).hierarchy(2), network(2, linear=True).double()
    x, y = FieldType(KIND).randn(2, surface.finest.num_vertices, dtype=torch.float64)
    with torch.no_grad():
        zero = vae.encode(torch.zeros_like(x), surface)
        one, two, both = (vae.encode(v, surface) for v in (x, y, 2 * x - y))
        torch.testing.assert_close(both.mean - zero.mean, 2 * (one.mean - zero.mean) - (two.mean - zero.mean))
        torch.testing.assert_close(one.log_variance, two.log_variance)
        assert replace(one, mean=two.mean).divergence().sum() != one.divergence().sum()
