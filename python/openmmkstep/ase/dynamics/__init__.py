"""k-step molecular dynamics of `ase.Atoms`: `KStepDynamics`, and what it counts."""
