"""Gauge graphs, the input of layers, with hierarchies, subsets and complexes."""
