"""Training of what is tried out and used nowhere else yet; it may change or go."""
