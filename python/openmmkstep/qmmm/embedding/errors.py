"""What is wrong with an embedding."""


class EmbeddingError(ValueError):
    """The embedding that was asked for cannot be had for this system."""
