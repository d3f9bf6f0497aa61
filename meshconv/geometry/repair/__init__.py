"""Defects of meshes, repair with a map to the original, simplification and augmentation."""
