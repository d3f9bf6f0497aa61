"""Differential operators, at points and on triangles."""
