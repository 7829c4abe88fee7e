"""A cheap potential of the QM region fitted to QM forces: the lowest rung of the ladder."""
