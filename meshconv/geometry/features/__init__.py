"""Input features of meshes: moments, curvature, spectra."""
