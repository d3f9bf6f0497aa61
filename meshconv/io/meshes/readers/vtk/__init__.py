"""VTK: legacy files, XML files, and the flat cells of both."""
