"""Folders of meshes."""
