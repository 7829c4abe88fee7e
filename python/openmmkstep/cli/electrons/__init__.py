"""Commands about electron dynamics."""
