"""Pictures that turn: views of meshes and spheres as self-contained HTML."""
