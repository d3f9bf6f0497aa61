"""Functional maps: refinement of maps between surfaces by Laplacian eigenfunctions."""

from __future__ import annotations

import torch
from torch import Tensor

from meshconv.geometry.features.spectral import Spectrum

# Rows of a distance matrix at a time: 1024 x 7000 floats are 28 MB.
_ROWS = 1024
_FAR = 1e6


def nearest_rows(queries: Tensor, points: Tensor) -> Tensor:
    """Index of the row of ``points`` ``[N, C]`` nearest to each row of ``queries`` ``[M, C]``; int64 ``[M]``.

    Examples
    --------
    >>> nearest_rows(torch.tensor([[0.9], [2.2]]), torch.tensor([[0.0], [1.0], [2.0]]))
    tensor([1, 2])
    """
    lengths = points.square().sum(dim=1)
    # |q - p|^2 less |q|^2, which is the same for all p.
    return torch.cat([(lengths - 2 * (rows @ points.T)).argmin(dim=1) for rows in queries.split(_ROWS)])


def refine_map(
    matches: Tensor,
    source: Spectrum,
    target: Spectrum,
    *,
    first: int = 20,
    last: int = 120,
    step: int = 10,
    samples: int = 2000,
    seed: int = 0,
) -> Tensor:
    r"""ZoomOut refinement of a point-to-point map between nearly isometric surfaces.

    With eigenfunctions :math:`\Phi` of source and :math:`\Psi` of target, in ascending order, a map :math:`T` from the
    source's vertices to the target's is converted, for k = ``first``, ``first + step``, ..., ``last``, to the
    best-fitting functional map, and back to a point-to-point map:

    .. math::
        C = \Phi_k^{+}\, \Psi_k[T], \qquad
        T(v) = \operatorname{argmin}_w \lVert \Psi_k(w)\, C^\top - \Phi_k(v) \rVert

    Few eigenfunctions remove scattered errors; more of them restore detail. On nearly isometric shapes
    C is nearly diagonal, and refinement improves the map; a swap of whole parts (left for right) remains.

    Parameters
    ----------
    matches : int64 [V_source]
        Vertex of the target for each of the source.
    source, target : Spectrum
        From :func:`~meshconv.geometry.features.spectral.laplacian_spectrum`.
    first, last, step
        Numbers of eigenfunctions; ``last`` is lowered to what both spectra have.
    samples
        Random vertices of the source, drawn with ``seed``, to which C is fitted.

    Returns
    -------
    int64 [V_source]
        ``matches`` itself if a spectrum has fewer than ``first`` eigenfunctions.

    Notes
    -----
    ``tests/test_functional_map.py`` refines noisy maps between different triangulations of one surface.

    References
    ----------
    Melzi, Ren, Rodola, Sharma, Wonka, Ovsjanikov, "ZoomOut: spectral upsampling for efficient shape
    correspondence", 2019.

    Examples
    --------
    >>> import trimesh
    >>> from meshconv import TriangleMesh
    >>> from meshconv.geometry.features.spectral import laplacian_spectrum
    >>> sphere = trimesh.creation.icosphere(3)
    >>> spectrum = laplacian_spectrum(TriangleMesh(sphere.vertices * [1.0, 1.2, 1.5], sphere.faces), 60)
    >>> matches = refine_map(torch.arange(642), spectrum, spectrum, last=50)
    >>> bool((matches == torch.arange(642)).all())
    True
    """
    phi, psi = _basis(source), _basis(target)
    # Nothing is matched to a vertex without faces.
    psi[(psi == 0).all(dim=1)] = _FAR
    counts = list(range(first, min(last, phi.shape[1], psi.shape[1]) + 1, step))
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(phi), generator=generator)[:samples]
    for k in counts:
        functional = torch.linalg.lstsq(phi[some, :k], psi[matches[some], :k]).solution
        rows = some if k != counts[-1] else torch.arange(len(phi))
        found = nearest_rows(phi[rows, :k], psi[:, :k] @ functional.T)
        matches = matches.clone()
        matches[rows] = found
    return matches


def _basis(spectrum: Spectrum) -> Tensor:
    """Eigenfunctions of all components in ascending order, float32 ``[V, K]``; zero outside their component."""
    parts = [c for c in spectrum.components if len(c.vertices)]
    values = torch.cat([torch.from_numpy(c.eigenvalues) for c in parts])
    functions = torch.zeros(spectrum.num_vertices, len(values))
    start = 0
    for c in parts:
        stop = start + len(c.eigenvalues)
        functions[torch.from_numpy(c.vertices), start:stop] = torch.from_numpy(c.eigenfunctions).float()
        start = stop
    return functions[:, torch.argsort(values, stable=True)]
