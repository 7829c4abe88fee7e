"""Any calculator of ASE as a QM engine: `engine.ASEEngine`, and `calculators`, which knows them by name."""
