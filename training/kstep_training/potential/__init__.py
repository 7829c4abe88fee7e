"""Training of the conservative potential with charges (kstep_models.potential)."""
