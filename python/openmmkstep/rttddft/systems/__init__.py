"""What is propagated: molecule, level of theory, point charges around it, basis functions."""
