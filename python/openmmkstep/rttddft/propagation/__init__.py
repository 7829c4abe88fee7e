"""External fields and time steps."""
