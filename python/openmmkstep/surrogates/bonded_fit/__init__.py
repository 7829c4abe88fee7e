"""A cheap potential of the QM region fitted to QM forces: the base level."""
