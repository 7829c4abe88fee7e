"""Networks that are tried out and used nowhere else yet; they may change or go."""
