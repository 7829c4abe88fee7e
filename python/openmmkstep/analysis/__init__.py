"""Averages and structural quantities from trajectories."""
