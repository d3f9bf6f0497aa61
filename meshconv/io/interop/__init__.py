"""To and from other libraries' meshes and graphs; each of them is imported when it is asked for."""
