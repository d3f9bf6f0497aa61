"""Places of maps: coordinates and their units, projections, meshes of cells, HEALPix pixels."""
