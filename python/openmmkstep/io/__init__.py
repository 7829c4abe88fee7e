"""Files: frames, trajectories, topologies, and writing them atomically."""
