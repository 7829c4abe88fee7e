"""Training data: QM and QM/MM trajectories with all labels."""
