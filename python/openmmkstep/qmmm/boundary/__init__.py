"""Bonds between a QM region and its surroundings: which can be cut, and what stands in their place."""
