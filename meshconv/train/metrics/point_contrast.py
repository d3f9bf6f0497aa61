"""Contrastive loss of correspondence."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn


class PointContrast(nn.Module):
    r"""Contrastive cross-entropy: classification of a point among those of another surface, by inner products.

    For common points k with embeddings :math:`a_k` and :math:`b_k` on two surfaces,

    .. math::
        -\sum_{kl} t_{kl} \ln \frac{e^{a_k \cdot b_l / \tau}}{\sum_m e^{a_k \cdot b_m / \tau}}, \qquad
        t_{kl} \propto \exp(-d_{kl}^2 / 2 s^2)

    averaged over k and both directions, minus the entropy of t, so that the minimum is 0. The targets are soft
    around the true point: :math:`d_{kl}` is the larger of the two distances in space between points k and l,
    normalised by the square root of the surface area; parts that touch in one pose are apart in another.

    Parameters
    ----------
    temperature
        :math:`\tau`.
    softness
        s; 0 for the plain loss.
    points
        Common points of a batch that are drawn; all, where there are fewer.

    Notes
    -----
    ``tests/test_correspondence.py`` checks its least value and its symmetry.

    References
    ----------
    van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018.
    """

    def __init__(self, temperature: float = 0.05, softness: float = 0.02, points: int = 1024):
        super().__init__()
        self.temperature, self.softness, self.points = temperature, softness, points

    def forward(self, embedding: Tensor, samples: Tensor, positions: Tensor) -> Tensor:
        """Mean over all pairs of surfaces.

        Parameters
        ----------
        embedding : Tensor [V, D]
            Unit vectors.
        samples : int64 Tensor [G, K]
            Vertex of each common point on each surface, or -1.
        positions : Tensor [V, 3]
            In units of the square root of each surface's area.
        """
        pairs = list(combinations(range(len(samples)), 2))
        return torch.stack([self._pair(embedding, samples[[a, b]], positions) for a, b in pairs]).mean()

    def _pair(self, embedding: Tensor, samples: Tensor, positions: Tensor) -> Tensor:
        known = (samples >= 0).all(dim=0).nonzero()[:, 0]
        if len(known) == 0:
            return embedding.sum() * 0.0
        drawn = known[torch.randperm(len(known), device=known.device)[: self.points]]
        first, second = samples[:, drawn]
        logits = (embedding[first] @ embedding[second].T).float() / self.temperature
        target = self.soft_target(positions[first].float(), positions[second].float())
        cross = sum(-(target * rows.log_softmax(dim=1)).sum(dim=1).mean() for rows in (logits, logits.T)) / 2
        return cross - torch.special.entr(target).sum(dim=1).mean()

    def soft_target(self, first: Tensor, second: Tensor) -> Tensor:
        """How much each point may be matched to each, ``[K, K]``, rows of sum 1: by the larger of both distances."""
        if self.softness == 0:
            return torch.eye(len(first), device=first.device)
        # Direct distances: the quick way through products of coordinates loses small ones.
        mode = "donot_use_mm_for_euclid_dist"
        both = [torch.cdist(p, p, compute_mode=mode) for p in (first, second)]
        return (-torch.maximum(*both).square() / (2 * self.softness**2)).softmax(dim=1)
