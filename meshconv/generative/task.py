"""Task of generative models: fields without labels, on maps and on meshes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.sample import name_of, read_source
from meshconv.datasets.protocol import FieldData, demand
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.generative.displacements import DeformedMesh, displaced, displacements, template_surface
from meshconv.generative.vae import FieldVAE
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.train.metrics.point_weights import point_weights
from meshconv.train.predict.meshes import Meshes, MeshResult
from meshconv.train.tasks.base import Task

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps

# Importance samples of a test.
_SAMPLES = 16


class GenerationTask(Task):
    """Distribution of fields: a variational auto-encoder, trained on targets alone.

    Numbers are measured from their training mean in standard deviations, fields of order >= 1 in their root mean square
    length. In training a random share of the points is hidden from the encoder, and has to be reconstructed.
    ``test/bound`` is the lower bound on the log-likelihood in nats per number, ``test/rmse`` the error of the
    reconstruction in the units above, ``test/hidden_rmse`` that of a half of the points that was hidden.

    Prediction fills in what is missing: a map's fields at all points, ``<name>_deviation`` and ``<name>_anomaly``;
    a mesh is its displacement from the template, whose reconstruction is the mesh without noise.

    Parameters
    ----------
    in_type, spec, field_names, options
        As in :class:`~meshconv.train.RegressionTask`; ``options`` are those of
        :class:`~meshconv.generative.FieldVAE`, which is the ``network``.
    hidden
        Largest share of the points that is hidden in training, in [0, 1).
    warm_up
        Share of the training over which the weight of the divergence grows to 1, in [0, 1].
    samples
        Of a prediction, for deviations; at least 2.
    training
        Further arguments of :class:`~meshconv.train.tasks.base.Task`.
    """

    mean: Tensor
    size: Tensor
    network: FieldVAE

    def __init__(
        self,
        in_type: str,
        field_names: list[str],
        spec: dict[str, Any],
        network: str = "meshconv.generative.FieldVAE",
        options: dict[str, Any] | None = None,
        hidden: float = 0.5,
        warm_up: float = 0.3,
        samples: int = 16,
        **training: Any,
    ):
        if "out_type" not in spec:
            raise InputError(f"a generative model needs data with fields, these have none: {spec.get('data')}")
        if not 0 <= hidden < 1 or not 0 <= warm_up <= 1 or samples < 2:
            said = f"hidden {hidden} has to be in [0, 1), warm_up {warm_up} in [0, 1], samples {samples} at least 2"
            raise InputError(said)
        kind = spec["out_type"]
        latent = (options or {}).get("latent", "4x0")
        super().__init__(network, kind, spec, latent, _without_latent(options), **training)
        self.save_hyperparameters({"in_type": in_type, "options": {**self.hparams["options"], **(options or {})}})
        self.out_type, self.field_names = FieldType(kind), list(field_names)
        self.hidden, self.warm_up, self.samples = hidden, warm_up, samples
        self.register_buffer("mean", torch.zeros(self.out_type.dim))
        self.register_buffer("size", torch.ones(self.out_type.dim))

    def on_fit_start(self) -> None:
        if self.data is not None and self.trainer.ckpt_path is None:  # weights go with those of their training
            mean, size = demand(self.data, FieldData, "a generative model").target_statistics
            self.mean.copy_(self.out_type.per_component(mean))
            self.size.copy_(self.out_type.per_component(size))

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Reconstruction of the targets ``[..., V, dim]``, in their units."""
        assert isinstance(batch.surface, Hierarchy)
        return self.network(self.normalised(batch.target), batch.surface) * self.size + self.mean

    def normalised(self, fields: Tensor) -> Tensor:
        """Fields in the units of the network."""
        return (fields - self.mean) / self.size

    def training_step(self, batch: SurfaceBatch, index: int) -> Tensor:
        batch = self.match(batch)
        x = self.normalised(batch.target)
        total = max(float(self.trainer.estimated_stepping_batches), 1.0)
        beta = 1.0 if self.warm_up == 0 else min((self.global_step + 1) / (self.warm_up * total), 1.0)
        known = torch.rand(x.shape[:-1], device=x.device) >= self.hidden * torch.rand((), device=x.device)
        loss = -self._bound(batch, x, known, beta)
        self.log_loss("train", loss, len(batch.names))
        return loss

    def evaluate(self, batch: SurfaceBatch, split: str) -> None:
        batch = self.match(batch)
        x = self.normalised(batch.target)
        generator = torch.Generator().manual_seed(0)
        known = (torch.rand(x.shape[:-1], generator=generator) >= 0.5).to(x.device)
        assert isinstance(batch.surface, Hierarchy)
        count = len(batch.names)
        self.log_loss(split, -self._bound(batch, x, None, 1.0, generator=generator), count)
        bound = self._bound(batch, x, None, 1.0, _SAMPLES, generator)
        errors = {"rmse": self.network(x, batch.surface) - x}
        hidden = torch.where(known[..., None], torch.nan, self.network(x, batch.surface, known) - x)
        errors["hidden_rmse"] = hidden
        logged = {f"{split}/{name}": e.square().nanmean().sqrt() for name, e in errors.items()}
        for name, value in {f"{split}/bound": bound, **logged}.items():
            self.log(name, value, name == f"{split}/bound", on_epoch=True, on_step=False, batch_size=count,
                     sync_dist=True)  # fmt: skip

    def _bound(
        self, batch: SurfaceBatch, x: Tensor, known: Tensor | None, beta: float, samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Mean bound, nats for each number that is known."""
        assert isinstance(batch.surface, Hierarchy)
        found = self.network.bound(
            x, batch.surface, known, beta=beta, samples=samples, weights=point_weights(batch), generator=generator
        )
        return found.sum() / torch.isfinite(x).sum().clamp(min=1)

    @torch.no_grad()
    def filled(self, fields: Tensor, surface: Hierarchy) -> tuple[Tensor, Tensor, Tensor]:
        """Mean ``[..., V, dim]``, deviations and anomalies ``[..., V, num_fields]``, from fields with NaN."""
        x = self.normalised(fields)
        posterior = self.network.encode(x, surface)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.stack([self.network.decode(posterior.sample(generator), surface) for _ in range(self.samples)])
        mean = drawn.mean(0)
        kind = self.out_type
        parts = kind.norms(torch.ones_like(mean[..., :1, :])).square()  # components of each field
        between = kind.norms(drawn - mean).square().sum(0) / (self.samples - 1) / parts
        noise = self.network.log_noise.exp()
        size = self._of_fields(self.size)
        anomaly = kind.norms(x - mean).square() / parts / (between + noise)
        return mean * self.size + self.mean, (between + noise).sqrt() * size, anomaly

    def _of_fields(self, values: Tensor) -> Tensor:
        """Of each field a component's value, ``[num_fields]``."""
        kind = self.out_type
        first = kind.per_component(torch.arange(kind.num_fields, device=values.device))
        return values.new_zeros(kind.num_fields).scatter(0, first, values)

    @torch.no_grad()
    def draw(self, surface: Hierarchy, count: int = 1, seed: int = 0) -> Tensor:
        """Fields ``[count, V, dim]`` drawn from the model, in the units of the data."""
        generator = torch.Generator().manual_seed(seed)
        return self.network.sample(surface, count, generator) * self.size + self.mean

    def draw_meshes(self, count: int = 1, seed: int = 0) -> list[TriangleMesh]:
        """Meshes drawn from a model of displacements, on its template."""
        template, surface = self.template()
        drawn = self.draw(surface.to(self.device), count, seed).cpu()
        return [displaced(template, surface, d, f"drawn {k}") for k, d in enumerate(drawn)]

    @torch.no_grad()
    def interpolate_meshes(self, first: TriangleMesh, last: TriangleMesh, steps: int = 5) -> list[TriangleMesh]:
        """Meshes from the reconstruction of the first to that of the last, by the latent fields, on the template."""
        template, surface = self.template()
        ends = [torch.from_numpy(displacements(m, template, surface, m.name or "mesh")).float() for m in (first, last)]
        a, b = (self.normalised(end.to(self.device)) for end in ends)
        way = self.network.interpolate(a, b, surface.to(self.device), steps) * self.size + self.mean
        return [displaced(template, surface, d, f"step {k + 1} of {steps}") for k, d in enumerate(way.cpu())]

    def template(self) -> tuple[TriangleMesh, Hierarchy]:
        """The template of a model of displacements, and its hierarchy in float64."""
        if "template" not in self.spec:
            raise InputError(f"the model is of fields of {self.spec.get('data')}, it has no template to deform")
        return template_surface(self.spec["template"], self.network.num_levels)

    def check_inputs(self, path: Any) -> None:
        """As of any task; a mesh is its displacement from the template, not inputs made of it."""
        if "template" not in self.spec:
            super().check_inputs(path)

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        template, surface = self.template()
        on_device = surface.to(self.device)
        for source in meshes.sources:
            given = read_source(source)
            name = given.name or str(source)
            field = torch.from_numpy(displacements(given, template, surface, name)).float()
            mean, _, anomaly = (v.cpu() for v in self.filled(field.to(self.device), on_device))
            made = displaced(template, surface, mean, name)
            yield DeformedMesh(name_of(source), source, made, anomaly.mean(-1).numpy())

    def predict_maps(self, maps: Maps) -> xr.Dataset:
        """Fields at every point; of each the standard deviation and the anomaly score of its values."""
        kind, names = self.out_type, maps.inputs.variables
        if maps.inputs.in_type != kind:
            said = f"the model is of {kind}, the inputs are {maps.inputs.in_type}"
            raise InputError(f"{maps.fields.path}: {said}; train it with meshconv.datasets.MapFields")
        everywhere = np.ones(maps.fields.grid.num_points, dtype=bool)
        grids = []
        for step in maps.steps:
            raw, _ = maps.surface.raw(step)
            fields = torch.from_numpy(raw.astype(np.float32)).to(self.device)
            if not torch.isfinite(fields).any():
                raise InputError(f"{maps.fields.path}: no values at {step or 'the map'}; leave the step out")
            mean, deviations, anomalies = (v.cpu().numpy() for v in self.filled(fields, maps.hierarchy))
            found = maps.surface.fields_to_file(mean, kind, everywhere)
            grids.append(np.concatenate([found, maps.surface.to_file(np.concatenate([deviations, anomalies], 1).T,
                                                                     everywhere)]))  # fmt: skip
            maps.progress.update(1)
        stacked = np.stack(grids).astype(np.float32)
        labels = [*names, *(f"{name}_{what}" for what in ("deviation", "anomaly") for name in self.field_names)]
        units = [entry.get("units") for entry in maps.inputs.statistics or []]
        variables = {}
        for k, label in enumerate(labels):
            unit = None if label.endswith("_anomaly") or len(units) != 1 else units[0]
            variables[label] = maps.variable(stacked[:, k], np.float32(math.nan), (), **({} if unit is None else
                                                                                         {"units": unit}))  # fmt: skip
        return maps.dataset(variables, {}, "fields reconstructed by meshconv")


def _without_latent(options: dict[str, Any] | None) -> dict[str, Any]:
    """The latent type is the network's second argument."""
    return {name: value for name, value in (options or {}).items() if name != "latent"}
