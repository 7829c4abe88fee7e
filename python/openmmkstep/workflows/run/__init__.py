"""The main job: from a configuration to a finished, restartable run."""
