"""YAML configurations of the command line as validated, immutable objects."""
