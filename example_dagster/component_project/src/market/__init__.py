"""A dg project: see defs/*/defs.yaml."""
