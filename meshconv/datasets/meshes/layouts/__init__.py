"""What lies in a folder of meshes: classes and splits, labels, common points, arrays."""
