"""Potential flow around smooth bodies: its solver, and a data set of pressures and velocities."""
