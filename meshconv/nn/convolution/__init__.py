"""Layers over neighbours: convolutions, attention and messages, with their kernels and quadrature."""
