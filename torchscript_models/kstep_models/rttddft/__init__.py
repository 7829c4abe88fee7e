"""Networks and time steps of electron dynamics; importable without PySCF, OpenMM and the training package."""
