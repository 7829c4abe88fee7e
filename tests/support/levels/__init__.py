"""Engines for tests, and what to compare those of the product with."""
