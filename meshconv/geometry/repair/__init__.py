"""Defects of meshes, their repair with the way back, simplification and augmentation."""
