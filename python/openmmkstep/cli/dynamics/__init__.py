"""Commands that run dynamics, or say whether it can run."""
