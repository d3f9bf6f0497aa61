"""Pictures of meshes and spheres, and the report."""

from meshconv.viz.mesh import contact_sheet, draw_mesh
from meshconv.viz.relief import relief
from meshconv.viz.report import write_report
from meshconv.viz.results import ClimateResults, Field, ModelScore, Report, ShapeResults
from meshconv.viz.sphere import draw_healpix, zone_colors

__all__ = [
    "ClimateResults",
    "Field",
    "ModelScore",
    "Report",
    "ShapeResults",
    "contact_sheet",
    "draw_healpix",
    "draw_mesh",
    "relief",
    "write_report",
    "zone_colors",
]
