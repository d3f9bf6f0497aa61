"""Inputs of networks on meshes: moments, curvature, spectra."""
