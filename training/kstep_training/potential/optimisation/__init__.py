"""One optimisation of a potential: losses, the step with its averages, the learning rate, and what keeps it stable."""
