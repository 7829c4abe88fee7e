"""Real-time TDDFT: the motion of a molecule's electrons in time, with PySCF's integrals and functionals.

Everything here is in atomic units: hartree, bohr, hbar/hartree for times, hartree/(e bohr) for fields; electrons have
charge -1. `units` has the factors to others; `Molecule.create` takes OpenMM's quantities.

Needs PySCF: ``pip install 'openmm-kstep[pyscf]'``. Reading trajectories does not.
"""
