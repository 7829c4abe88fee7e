"""What learning does: a pool, labels, fits, trials; each carried out so that an interruption loses nothing."""
