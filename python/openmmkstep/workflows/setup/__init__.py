"""From a configuration to topology, positions and systems."""
