"""Triangle meshes: half-edges, parallel transport, geodesics."""
