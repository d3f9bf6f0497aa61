"""The gauge graph: what layers see of a surface, its hierarchies, parts and complexes."""
