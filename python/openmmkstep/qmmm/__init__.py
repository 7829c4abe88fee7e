"""From an MM system to one with a QM region."""
