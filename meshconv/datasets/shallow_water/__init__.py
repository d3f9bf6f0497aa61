"""A planet of shallow water: its solver, and series of maps for forecasts."""

from meshconv.extras import require

require(__name__, "planet", "climate")
