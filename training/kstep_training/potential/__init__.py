"""Training of conservative potentials with charges: any network of :mod:`kstep_models.potential.interface`."""
