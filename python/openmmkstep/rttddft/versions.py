"""Which programs the results of this package depend on."""

from __future__ import annotations

PACKAGES = ("openmm-kstep", "pyscf", "numpy", "h5py")
"""For :func:`kstep_models.provenance.software_versions`."""
