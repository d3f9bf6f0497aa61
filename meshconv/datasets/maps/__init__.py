"""Maps on the sphere."""
