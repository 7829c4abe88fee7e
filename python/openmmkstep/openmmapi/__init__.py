"""Python faces of the plugin's C++ classes, as OpenMM scripts use them; mirrors ``plugin/openmmapi``."""
