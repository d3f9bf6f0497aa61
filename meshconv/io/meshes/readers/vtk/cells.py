"""Cells of VTK's unstructured grids: flat ones, and volumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshconv.io.meshes.polygons import Volumes
from meshconv.io.meshes.volumes import VOLUME_SIZES, VolumeCells, surface_of_volumes

IntArray = NDArray[np.int64]
#: Sizes and corners of cells.
Cells = tuple[IntArray, IntArray]

# Types that hold no surface; then triangle, strip, polygon, pixel, quadrilateral.
_LOOSE, _STRIP, _PIXEL = (0, 1, 2, 3, 4), 6, 8
_FLAT = (5, _STRIP, 7, _PIXEL, 9)
_VOXEL = 11
# Arrays of cells whose bits say that another piece has a cell too, or that it is hidden; in old files a level above 0.
GHOSTS = {"vtkGhostType": (1, 32), "vtkGhostLevels": (255, 0)}
_VOLUMES = {10: "tetra", _VOXEL: "hexahedron", 12: "hexahedron", 13: "wedge", 14: "pyramid"}


class GridCells(NamedTuple):
    """Cells of a grid by kind.

    Attributes
    ----------
    flat : sizes and corners
        Of polygons and strips; none where there are volumes, whose surface is another.
    strips : bool [P]
        Which of these are strips.
    kept : bool [C]
        Which of the grid's cells they are.
    volumes : list of VolumeCells
    says : str
        What the grid holds, where it has volumes.
    ghosts : bool [C], optional
        Which of the grid's cells belong to another piece; None: there are none.
    """

    flat: Cells
    strips: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    volumes: list[VolumeCells]
    says: str
    ghosts: NDArray[np.bool_] | None = None

    def own(self, cell_data: dict[str, NDArray]) -> GridCells:
        """Without the cells that :data:`GHOSTS` mark; of volumes those of another piece still say what is inside."""
        ghosts, hidden = np.zeros((2, len(self.kept)), bool)
        for name, (copied, unseen) in GHOSTS.items():
            marks = cell_data.get(name)
            if marks is not None and marks.shape == self.kept.shape and marks.dtype.kind in "iu":
                ghosts, hidden = ghosts | (marks & copied != 0), hidden | (marks & unseen != 0)
        if not (ghosts | hidden).any():
            return self
        sizes, corners = self.flat
        stays = ~(ghosts | hidden)[self.kept]
        seen = [~hidden[volume.rows] for volume in self.volumes]
        return self._replace(
            flat=(sizes[stays], corners[np.repeat(stays, sizes)]),
            strips=self.strips[stays],
            kept=self.kept & ~(ghosts | hidden),
            volumes=[VolumeCells(v.kind, v.corners[s], v.rows[s]) for v, s in zip(self.volumes, seen, strict=True)],
            ghosts=ghosts,
        )

    def surface(
        self, vertices: NDArray[np.float64], vertex_data: dict[str, NDArray], cell_data: dict[str, NDArray]
    ) -> Volumes | None:
        """The surface of the volumes, with data of all cells ``[C, ...]``."""
        if not self.volumes:
            return None
        of = (vertices, self.volumes, len(self.kept), vertex_data, cell_data, self.ghosts)
        return Volumes(self.says, lambda: surface_of_volumes(*of))


def grid_cells(cells: Cells, types: IntArray) -> GridCells:
    """Cells of a grid by their types.

    Loose points and lines are left out; ``ValueError`` for curved cells, and for other sizes than the types have.
    """
    sizes, corners = cells
    if len(types) != len(sizes):
        raise ValueError(f"{len(types)} cell types for {len(sizes)} cells")
    known = np.isin(types, [*_LOOSE, *_FLAT, *_VOLUMES])
    if not known.all():
        kinds = sorted(set(types[~known].tolist()))
        raise ValueError(f"cells of type {', '.join(map(str, kinds))} are curved or polyhedra; extract the surface")
    start = np.cumsum(sizes) - sizes
    volumes = []
    for number, kind in _VOLUMES.items():
        rows = np.flatnonzero(types == number)
        wrong = np.flatnonzero(sizes[rows] != VOLUME_SIZES[kind])
        if len(wrong):
            raise ValueError(f"cell {rows[wrong[0]]} of type {number} has {sizes[rows[wrong[0]]]} corners")
        of = corners[start[rows][:, None] + np.arange(VOLUME_SIZES[kind])]
        if len(rows):
            # The corners of voxels and pixels go row by row, not round.
            volumes.append(VolumeCells(kind, of[:, [0, 1, 3, 2, 4, 5, 7, 6]] if number == _VOXEL else of, rows))
    flat = np.isin(types, _FLAT) if not volumes else np.zeros(len(types), bool)
    pixels = np.flatnonzero((types == _PIXEL) & (sizes == 4))
    corners = corners.copy()
    last = start[pixels] + 2
    corners[last], corners[last + 1] = corners[last + 1], corners[last]
    of_polygons, beside = (sizes[flat], corners[np.repeat(flat, sizes)]), int(np.isin(types, _FLAT).sum())
    says = f"{sum(len(v.rows) for v in volumes)} volume cells" + (f" beside {beside} polygons" if beside else "")
    return GridCells(of_polygons, types[flat] == _STRIP, flat, volumes, says)
