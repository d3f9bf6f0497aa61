"""Pictures of meshes and spheres."""

from meshconv.viz.mesh import contact_sheet, draw_mesh
from meshconv.viz.relief import relief
from meshconv.viz.sphere import draw_healpix, zone_colors

__all__ = ["contact_sheet", "draw_healpix", "draw_mesh", "relief", "zone_colors"]
