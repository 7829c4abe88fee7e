"""What is measured on a trajectory: spectra, populations, and how well two agree."""
