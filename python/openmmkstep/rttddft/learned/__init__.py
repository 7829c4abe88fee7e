"""Response networks from archives: reading them, initial guesses of the density, training data."""
