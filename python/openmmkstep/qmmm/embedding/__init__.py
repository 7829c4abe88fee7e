"""What a QM region sees of the charges around it, and what the force field goes on describing."""
