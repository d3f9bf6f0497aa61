"""The sphere: frames, grids, their graphs and hierarchies, regridding."""
