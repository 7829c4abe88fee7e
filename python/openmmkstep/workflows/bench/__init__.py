"""Speed of k-step dynamics beside its controls, measured in one process."""
