"""Readers of mesh formats, one file a format: path -> :class:`~meshconv.io.meshes.polygons.PolygonFile`."""
