"""A common grid of surfaces by their registrations to the sphere."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull

from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.geometry.sphere.grid import SphereGrid
from meshconv.geometry.sphere.points import PointSphere, icosahedral_sphere
from meshconv.geometry.sphere.regrid import Regridder


class SphericalRegistration:
    r"""Values of a surface on a grid of the sphere that it is registered to, the same for all surfaces.

    A point of the grid has the mean over its cell of the values at the surface's vertices, each weighted by the area
    :math:`A_{ij}` on the sphere that its cell shares with that of the point; labels are those of the largest area.

    Parameters
    ----------
    sphere : float [V, 3] or TriangleMesh
        Place of each vertex on the sphere (FreeSurfer's ``sphere.reg``), about its middle, of any radius.
    grid : SphereGrid or int
        The common grid; a number is that of the subdivisions of an icosahedron: 5 makes 10,242 points, 6 makes 40,962.

    Raises
    ------
    InputError
        A vertex in the middle of the sphere, or two in one place.

    Notes
    -----
    ``tests/test_brain_surfaces.py`` checks constants, areas and harmonics.

    Examples
    --------
    >>> points = icosahedral_sphere(3).xyz
    >>> to_grid = SphericalRegistration(100 * points, 2)
    >>> to_grid(np.ones(642)).shape
    (162,)
    """

    def __init__(self, sphere: ArrayLike | TriangleMesh, grid: SphereGrid | int = 5):
        points = sphere.vertices if isinstance(sphere, TriangleMesh) else np.asarray(sphere, dtype=np.float64)
        self.source = PointSphere(points)
        self.grid = icosahedral_sphere(grid) if isinstance(grid, int) else grid
        self._means = Regridder(self.source, self.grid, "conservative")

    def __call__(self, values: NDArray) -> NDArray[np.float64]:
        """Numbers ``[..., V]`` on the grid ``[..., N]``; NaN is missing."""
        return self._means(values)

    def labels(self, labels: NDArray, missing: int = -1) -> NDArray[np.int64]:
        """Whole numbers ``[..., V]`` on the grid by majority of area; ``missing`` has no vote."""
        return self._means.majority(labels, missing)

    def surface(self, mesh: TriangleMesh) -> TriangleMesh:
        """A surface with a vertex for each point of the grid, where its registration has it, and its numeric data.

        Raises
        ------
        InputError
            It has another number of vertices than its sphere.
        """
        if mesh.num_vertices != self.source.num_points:
            raise InputError(
                f"{mesh.name or 'the surface'}: {mesh.num_vertices} vertices, its sphere has {self.source.num_points}; "
                "give that of the same surface"
            )
        places = Regridder(self.source, self.grid)(mesh.vertices.T).T
        data = {}
        for name, values in mesh.vertex_data.items():
            if values.dtype.kind in "biuf":
                flat = values.reshape(len(values), -1).T
                found = self(flat) if values.dtype.kind == "f" else self.labels(flat.astype(np.int64))
                data[name] = found.T.reshape(-1, *values.shape[1:])
        return TriangleMesh(places, self._faces, mesh.name, data)

    @cached_property
    def _faces(self) -> NDArray[np.int64]:
        """Triangles of the grid, outward."""
        faces = ConvexHull(self.grid.xyz).simplices.astype(np.int64)
        a, b, c = self.grid.xyz[faces].transpose(1, 0, 2)
        inward = np.einsum("ij,ij->i", a, np.cross(b, c)) < 0
        faces[inward] = faces[inward][:, ::-1]
        return faces
