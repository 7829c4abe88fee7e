"""Trajectories of a check of ensembles, taken and kept."""
