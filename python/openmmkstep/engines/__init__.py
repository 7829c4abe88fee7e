"""QM programs: what each covers, its settings and their defaults."""
