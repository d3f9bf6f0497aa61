"""Coarser and finer levels of a mesh: hierarchies, and points at one spacing."""
