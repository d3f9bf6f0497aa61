"""Pairs of images on a disc, one of each pair turned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, rotate
from torch import Tensor

from meshconv.errors import InputError


def disc_mask(size: int) -> np.ndarray:
    """Pixels of a square of ``size`` whose centres lie in the disc that turns within it, bool ``[size, size]``.

    Examples
    --------
    >>> int(disc_mask(16).sum())
    180
    """
    if size < 3:
        raise InputError(f"size {size}: a disc needs at least 3 pixels across")
    offset = np.arange(size) - (size - 1) / 2
    return offset[:, None] ** 2 + offset**2 <= ((size - 1) / 2 + 0.1) ** 2


def turned_pairs(images: Any, angles: Any) -> tuple[Tensor, Tensor]:
    """Images and the same turned about their centres by cubic splines, on the disc.

    Parameters
    ----------
    images : [n, size, size]
    angles : [n]
        Radians; the sense is that of :func:`scipy.ndimage.rotate`.

    Returns
    -------
    x, y : float64 Tensor [n, pixels of the disc]
    """
    images, angles = np.asarray(images, dtype=float), np.asarray(angles, dtype=float)
    if images.ndim != 3 or images.shape[1] != images.shape[2] or angles.shape != images.shape[:1]:
        raise InputError(f"images {images.shape}, angles {angles.shape}: give [n, size, size] and [n]")
    mask = disc_mask(images.shape[1])
    moved = [rotate(i, a, reshape=False, order=3)[mask] for i, a in zip(images, np.degrees(angles), strict=True)]
    return torch.as_tensor(images[:, mask]), torch.as_tensor(np.stack(moved))


def noise_images(n: int, size: int = 16, blur: float = 0.8, seed: int = 0) -> np.ndarray:
    """White noise blurred by a Gaussian of ``blur`` pixels, ``[n, size, size]`` of variance 1."""
    images = gaussian_filter(np.random.default_rng(seed).standard_normal((n, size, size)), (0, blur, blur), mode="wrap")
    return images / images.std()
