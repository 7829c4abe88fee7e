"""Whether a trajectory samples the ensemble that it should: pure functions of arrays."""
