"""Checks of accuracy that users can repeat on their own systems."""
