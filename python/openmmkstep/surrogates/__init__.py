"""Potentials below the QM level: learned ones in archives, and a bonded potential fitted to QM forces."""
