"""Values between the vertices, faces and edges of a file and those of its prepared mesh."""
