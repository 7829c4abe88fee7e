"""Spectra and linear responses of many geometries, as configurations describe them."""
