"""Laplacian spectrum of a mesh, and its heat and wave kernel signatures, which are invariant under isometries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from meshconv.fields import FieldType
from meshconv.geometry.features.lanczos import largest_eigenpairs
from meshconv.geometry.features.laplacian import TuftedLaplacian
from meshconv.geometry.features.sparse import SymmetricFactor, dissection_order
from meshconv.geometry.mesh.halfedges import IntArray
from meshconv.geometry.mesh.measures import FloatArray
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh

# Below this size, or for a large share of all eigenvectors, the dense solver is faster.
DENSE = 800
# A closed surface of area 1 has its first eigenvalue at 8 pi if it is a sphere.
_FIRST = 8 * math.pi


class ComponentSpectrum(NamedTuple):
    """The spectrum of one connected component of a mesh.

    Attributes
    ----------
    vertices : int64 [N]
    eigenvalues : float64 [K]
        Ascending, the first is 0.
    eigenfunctions : float64 [N, K]
        Orthonormal over the component.
    """

    vertices: IntArray
    eigenvalues: FloatArray
    eigenfunctions: FloatArray


class Spectrum(NamedTuple):
    """Eigenvalues and eigenfunctions of the Laplacian of a mesh scaled to area 1.

    Attributes
    ----------
    components : tuple of ComponentSpectrum
    limit : float
        All eigenvalues up to this value are included; divided by the area they are those of the unscaled mesh.
    num_vertices : int
        Of the mesh; those without faces belong to no component.
    """

    components: tuple[ComponentSpectrum, ...]
    limit: float
    num_vertices: int

    @property
    def eigenvalues(self) -> FloatArray:
        """Those of all components, float64 ``[K]``, ascending."""
        return np.sort(np.concatenate([c.eigenvalues for c in self.components]))


def laplacian_spectrum(mesh: TriangleMesh, count: int = 128, laplacian: TuftedLaplacian | None = None) -> Spectrum:
    r"""Lower end of the Laplacian spectrum, from the intrinsic Delaunay Laplacian of the tufted cover.

    That Laplacian (``robust_laplacian``) has no negative weights on any triangles, manifold or not. All eigenvalues up
    to :math:`4\pi\,count` are computed: by Weyl's law about ``count`` for any shape. A bound of the
    eigenvalue instead of the number keeps eigenspaces complete. Components are solved separately, by a sparse
    factorisation and block Lanczos steps from a fixed start, small ones densely.

    Parameters
    ----------
    mesh : TriangleMesh
    count : int
        At least 2. Shapes with many more low eigenvalues (long thin ones) are cut off at four times as many.
    laplacian : TuftedLaplacian, optional
        Of this mesh, if it is there already.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        The mesh has no faces or no area.
    ValueError
        ``count`` below 2.

    Notes
    -----
    ``tests/test_spectral.py`` compares with spheres, flat tori and dense solutions.

    References
    ----------
    Sharp, Crane, "A Laplacian for nonmanifold triangle meshes", 2020.

    Examples
    --------
    >>> import trimesh
    >>> sphere = trimesh.creation.icosphere(3, radius=5.0)
    >>> spectrum = laplacian_spectrum(TriangleMesh(sphere.vertices, sphere.faces), 16)
    >>> np.round(spectrum.eigenvalues[:4] / (4 * np.pi), 1)
    array([0., 2., 2., 2.])
    """
    if count < 2:
        raise ValueError(f"count has to be at least 2, got {count}")
    whole = laplacian or TuftedLaplacian.of(mesh)
    used, stiffness, mass, points = whole.vertices, whole.stiffness, whole.mass, whole.points
    limit = 4 * np.pi * count
    component = connected_components(stiffness, directed=False)[1]
    order = np.argsort(component, kind="stable")
    ends = np.cumsum(np.bincount(component))
    stiffness, mass, points = csr_array(stiffness[order][:, order]), mass[order], points[order]
    components = []
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        part = slice(start, stop)
        block = csr_array(stiffness[part][:, part])
        values, functions = _low_eigenpairs(block, mass[part], points[part], limit, 4 * count)
        components.append(ComponentSpectrum(used[order[part]], values, functions))
    return Spectrum(tuple(components), limit, mesh.num_vertices)


def _low_eigenpairs(
    stiffness: csr_array, mass: FloatArray, points: FloatArray, limit: float, most: int
) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues of a connected surface up to ``limit``, at most ``most`` of them, and their eigenfunctions."""
    count, root = len(mass), np.sqrt(mass)
    guess = int(mass.sum() * limit / (4 * np.pi)) + 1  # Weyl's law
    if count > max(DENSE, 2 * guess):
        inverse, constant = _inverse(stiffness, mass, points), root / np.sqrt(mass.sum())
        inverted, vectors = largest_eigenpairs(inverse, constant, 1 / (1 + limit), most - 1, guess)
        return np.append(0.0, 1 / inverted - 1), np.column_stack([constant, vectors]) / root[:, None]
    values, vectors = eigh((diags_array(1 / root) @ stiffness @ diags_array(1 / root)).toarray())
    # The constant function is first; rounding leaves its eigenvalue near zero.
    values[0] = 0.0
    kept = min(int((values <= limit).sum()), most)
    return values[:kept], vectors[:, :kept] / root[:, None]


def _inverse(stiffness: csr_array, mass: FloatArray, points: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Inverse of 1 + Laplacian, of rows of functions times the root of the mass."""
    factor = SymmetricFactor(csr_array(stiffness + diags_array(mass)), dissection_order(points, stiffness))
    root = np.sqrt(mass)
    return lambda rows: root * factor.solve((root * rows).T).T


def heat_kernel_signature(spectrum: Spectrum, times: FloatArray | int = 16) -> tuple[Tensor, FieldType]:
    r"""Heat kernel signature: the heat kernel on the diagonal, normalised by its mean over the surface.

    .. math:: h(x, t) = \frac{\sum_k e^{-\lambda_k t} \varphi_k(x)^2}{\sum_k e^{-\lambda_k t}}

    Parameters
    ----------
    spectrum : Spectrum
    times : float64 [T] or int
        In units of the surface area, hence independent of the unit of length. A number T gives T logarithmically spaced
        times from :math:`4 \ln 10 / \lambda`, with :math:`\lambda` the end of the spectrum, to
        that of the first eigenvalue of a sphere. They depend on the length of the spectrum alone and are
        the same for all meshes.

    Returns
    -------
    x : float64 Tensor [V, T]
        1 on average over the surface; 0 at vertices without faces. Large where the surface is narrow or pointed.
    type : FieldType
        ``"Tx0"``.

    References
    ----------
    Sun, Ovsjanikov, Guibas, "A concise and provably informative multi-scale signature based on heat diffusion", 2009.

    Examples
    --------
    >>> import trimesh
    >>> box = trimesh.creation.box().subdivide()
    >>> x, field_type = heat_kernel_signature(laplacian_spectrum(TriangleMesh(box.vertices, box.faces)), 8)
    >>> tuple(x.shape), str(field_type)
    ((26, 8), '8x0')
    """
    if isinstance(times, int):
        shortest, longest = 4 * math.log(10) / spectrum.limit, 4 * math.log(10) / _FIRST
        times = np.geomspace(shortest, longest, times)
    return _signature(spectrum, lambda eigenvalues: np.exp(-np.outer(eigenvalues, times)))


def wave_kernel_signature(spectrum: Spectrum, energies: int = 16) -> tuple[Tensor, FieldType]:
    r"""Wave kernel signature: probability density of a wave of given energy, normalised by its mean over the surface.

    .. math:: w(x, e) = \frac{\sum_k g_k(e) \varphi_k(x)^2}{\sum_k g_k(e)}, \qquad
        g_k(e) = \exp\Bigl(-\frac{(e - \ln\lambda_k)^2}{2\sigma^2}\Bigr)

    Energies are spaced evenly from the first eigenvalue of a sphere to the end of the spectrum, less three widths; the
    width :math:`\sigma` is a tenth of that range.

    Parameters
    ----------
    spectrum : Spectrum
    energies : int
        Number T of energies.

    Returns
    -------
    x : float64 Tensor [V, T]
        1 on average over the surface; 0 at vertices without faces.
    type : FieldType
        ``"Tx0"``.

    References
    ----------
    Aubry, Schlickewei, Cremers, "The wave kernel signature", 2011.

    Examples
    --------
    >>> import trimesh
    >>> box = trimesh.creation.box().subdivide()
    >>> x, field_type = wave_kernel_signature(laplacian_spectrum(TriangleMesh(box.vertices, box.faces)), 8)
    >>> tuple(x.shape), str(field_type)
    ((26, 8), '8x0')
    """
    span = math.log(spectrum.limit / _FIRST)
    width = span / 10
    centres = np.linspace(math.log(_FIRST), math.log(spectrum.limit) - 3 * width, energies)

    def exponent(eigenvalues: FloatArray) -> FloatArray:
        # Constants have energy 0; the logarithm of a tiny value excludes them.
        logarithm = np.log(np.maximum(eigenvalues, 1e-300))
        return -((centres - logarithm[:, None]) ** 2) / (2 * width**2)

    # Minus the largest, so that a gap in the spectrum selects the nearest eigenvalue instead of 0 / 0.
    largest = exponent(spectrum.eigenvalues).max(axis=0)
    return _signature(spectrum, lambda eigenvalues: np.exp(exponent(eigenvalues) - largest))


def _signature(spectrum: Spectrum, weight: Callable[[FloatArray], FloatArray]) -> tuple[Tensor, FieldType]:
    """Weighted mean of the squared eigenfunctions, for weights ``[K, T]`` of eigenvalues ``[K]``."""
    total = sum(weight(c.eigenvalues).sum(axis=0) for c in spectrum.components)
    signature = np.zeros((spectrum.num_vertices, len(total)))
    for c in spectrum.components:
        signature[c.vertices] = np.square(c.eigenfunctions) @ (weight(c.eigenvalues) / total)
    return torch.from_numpy(signature), FieldType(f"{len(total)}x0")
