from .colors import (
    Categorical as Categorical,
    Continuous as Continuous,
    zone_colors as zone_colors,
)
from .geodesics import geodesic_picture as geodesic_picture
from .interactive.files import view_file as view_file
from .interactive.view import View as View, show as show
from .mesh import (
    MeshView as MeshView,
    contact_sheet as contact_sheet,
    draw_mesh as draw_mesh,
)
from .predicted_maps import write_maps as write_maps
from .projections import MapView as MapView
from .relief import relief as relief
from .sphere import (
    draw_field as draw_field,
    draw_healpix as draw_healpix,
)
