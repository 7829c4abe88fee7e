"""What a force field says about a QM region: recognised, taken out of a system, and had as forces of its own."""
