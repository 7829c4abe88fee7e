"""Speed and accuracy of the reduced propagation beside the reference and other methods."""
