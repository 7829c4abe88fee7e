"""What the ``kstep`` command does, from a configuration to results on disk. Nothing below imports this."""
