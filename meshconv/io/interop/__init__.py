"""Conversion to and from meshes and graphs of other libraries, imported on first use."""
