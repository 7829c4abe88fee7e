"""``kstep validate ensemble``: what k-step dynamics samples, beside plain QM dynamics and the surrogate alone."""
