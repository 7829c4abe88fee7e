"""Evaluating the exchange-correlation potential only where it cannot be interpolated."""
