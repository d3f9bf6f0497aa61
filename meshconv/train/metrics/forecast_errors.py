"""Errors of forecasts by field and lead, and spectra of kinetic energy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from meshconv.fields import FieldType

MODELS = ("forecast", "persistence", "climatology")

_SUMS = 12


class ForecastErrors(Metric):
    r"""Errors of a forecast, of the unchanged start and of a mean state, over weighted points, in float64.

    With weights a, truth t, prediction p, start s and climatology c, sums over points and samples, |.| the absolute
    value of a number or the length of a vector:

    - ``rmse`` :math:`\sqrt{\sum a |p-t|^2 / \sum a}`; ``relative_l2`` :math:`\sqrt{\sum a |p-t|^2 / \sum a |t|^2}`
    - ``vrmse`` :math:`\sqrt{\sum a |p-t|^2 / \sum a |t - \bar t|^2}`, with the mean of each map for numbers and 0 for
      vectors
    - ``acc`` :math:`\sum a (p-c) \cdot (t-c) / \sqrt{\sum a |p-c|^2 \sum a |t-c|^2}`, the anomaly correlation
    - ``length_rmse`` of :math:`|p| - |t|`, and ``angle_deg``, the angle whose cosine is the mean of
      :math:`p \cdot t / |p||t|`: of vectors
    - ``mean_drift``: mean of p less that of s, of numbers (mass); ``energy`` :math:`\sum a |p|^2 / \sum a |t|^2`, of
      vectors (kinetic energy)

    Parameters
    ----------
    field_type : FieldType or str
    steps
        Number of leads.

    Examples
    --------
    >>> errors = ForecastErrors("1x0", 1)
    >>> p, t, s, c = (torch.full((1, 2, 1), value) for value in (3.0, 1.0, 2.0, 0.0))
    >>> errors.update(0, {"forecast": p, "persistence": s, "climatology": c}, t, s, c, torch.ones(1, 2))
    >>> [row["rmse"] for row in errors.rows(["h"])]
    [2.0, 1.0, 1.0]
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, field_type: FieldType | str, steps: int):
        super().__init__()
        self.field_type, self.steps = FieldType(field_type), steps
        shape = (len(MODELS), steps, self.field_type.num_fields, _SUMS)
        self.add_state("sums", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, step: int, models: dict[str, Tensor], truth: Tensor, start: Tensor, mean: Tensor, weights: Tensor
    ) -> None:
        """Add samples at one lead.

        Parameters
        ----------
        step
            From 0.
        models : dict of Tensor [S, V, dim]
            What is compared, by names of :data:`MODELS`.
        truth, start : Tensor [S, V, dim]
        mean : Tensor [V, dim]
            Climatology; NaN: none.
        weights : Tensor [S, V]
        """
        kind = self.field_type
        truth, start, mean = (x.to(torch.float64) for x in (truth, start, mean))
        known = ~kind.norms(truth).isnan()
        a = weights.to(torch.float64)[..., None] * known
        total = a.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        truth = torch.where(truth.isnan(), 0.0, truth)
        first = kind.multiplicities[0]
        middle = torch.zeros(len(truth), 1, kind.dim, dtype=torch.float64, device=truth.device)
        middle[..., :first] = (a[..., :first] * truth[..., :first]).sum(1, keepdim=True) / total[..., :first]
        size, anomaly = kind.norms(truth), kind.norms(truth - mean)
        for name, given in models.items():
            p = given.to(torch.float64)
            error, length, off = kind.norms(p - truth), kind.norms(p), kind.norms(p - mean)
            both = length * size
            compared = a * (both > 0)
            cosine = torch.where(both > 0, (length**2 + size**2 - error**2) / 2 / both, 0.0).clamp(-1, 1)
            product = (off**2 + anomaly**2 - error**2) / 2
            rows = [a, a * error**2, a * size**2, a * kind.norms(truth - middle) ** 2, a * product, a * off**2,
                    a * anomaly**2, a * (length - size) ** 2, compared, compared * cosine, a * length**2]  # fmt: skip
            drift = torch.zeros_like(total)
            drift[..., :first] = (a[..., :first] * (p - start)[..., :first]).sum(1, keepdim=True) / total[..., :first]
            sums = torch.stack([row.sum((0, 1)) for row in rows] + [drift.sum((0, 1)) / len(truth)], dim=-1)
            # The drift is a mean over samples: weighed by their number, which is that of the points' weights.
            sums[:, -1] *= sums[:, 0]
            self.sums[MODELS.index(name), step] += sums

    def compute(self) -> Tensor:
        return self.sums

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row for each model, field and lead (``step``, from 1); NaN where nothing was compared."""
        sums = self.compute().cpu().numpy()
        first = self.field_type.multiplicities[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            for m, model in enumerate(MODELS):
                for f, name in enumerate(names):
                    for k in range(self.steps):
                        a, error, size, spread, product, off, anomaly, length, compared, cosine, power, drift = sums[
                            m, k, f
                        ]
                        row = {
                            "model": model, "field": name, "step": k + 1, "rmse": np.sqrt(error / a),
                            "relative_l2": np.sqrt(error / size), "vrmse": np.sqrt(error / spread),
                            "acc": product / np.sqrt(off * anomaly),
                        }  # fmt: skip
                        if f < first:
                            row["mean_drift"] = drift / a
                        else:
                            angle = math.degrees(math.acos(np.clip(cosine / compared, -1, 1))) if compared else np.nan
                            row |= {"length_rmse": np.sqrt(length / a), "angle_deg": angle, "energy": power / size}
                        yield {n: v if isinstance(v, str | int) else float(v) for n, v in row.items()}


def energy_spectrum(vectors: NDArray, nside: int, largest: int | None = None) -> NDArray[np.float64]:
    """Kinetic energy of a vector field on nested HEALPix pixels by the degree of spherical harmonics.

    Parameters
    ----------
    vectors : [12 nside^2, 2]
        Towards south and east.
    nside
    largest
        Degree; by default ``2 nside``.

    Returns
    -------
    float64 [largest + 1]
        They add up to the mean of ``|v|^2 / 2``, but for degrees that are left out.

    Examples
    --------
    >>> from meshconv import HealpixSphere
    >>> solid = np.stack([np.zeros(768), np.sin(HealpixSphere(8).theta)], axis=1)
    >>> energy_spectrum(solid, 8)[:3].round(2).tolist()
    [0.0, 0.33, 0.0]
    """
    import healpy  # GPL-2 and slow to import: only where it is used

    largest = 2 * nside if largest is None else largest
    maps = [healpy.reorder(component.astype(np.float64), n2r=True) for component in vectors.T]
    parts = healpy.map2alm_spin(maps, 1, largest)
    return sum(healpy.alm2cl(part) for part in parts) * (2 * np.arange(largest + 1) + 1) / (8 * np.pi)
