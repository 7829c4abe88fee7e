"""Files: frames, trajectories, topologies."""
