"""HDF5 files of electron dynamics (schema ``kstep-electron-dynamics``, version 1), data only.

Layout, for N steps planned, T = N + 1 frames, D stored densities, n basis functions, a atoms. The letter s
stands for a dimension of 2 (up, down) in unrestricted calculations; it is absent for a closed shell, whose densities
are total ones. Everything is in atomic units, in double precision, matrices in the AO basis unless said otherwise::

    /                       attributes: schema, version, molecule, n_atoms, n_electrons, n_basis, n_spin, n_steps (N),
                            dt, charge, multiplicity, method, basis, functional, ground_state_energy, density_interval,
                            units, kick, field, level_of_theory, propagator, software (JSON), and in words: ao_order,
                            spin_convention, density_convention, field_convention, kick_convention, dipole_convention,
                            energy_convention
    /progress [2]           complete frames, and the restart slot that belongs to the last of them
    /geometry/positions [a,3]   atomic_numbers [a]
    /basis/atom_index [n]   angular_momentum [n]   magnetic_quantum [n]   shell_index [n]
    /matrices/overlap [n,n]     core_hamiltonian [n,n]   position [3,n,n]   ground_state_density [s,n,n]
    /dynamics/time [T]      field [T,3]   energy [T]   dipole [T,3]   fock_builds [T]
              density_step [D]          step of each stored density: 0, interval, 2 interval, ...
              density_real [D,s,n,n]    density_imag [D,s,n,n]   deviation from the ground state
    /accuracy/              of reduced runs only: estimated_dipole_error [], promised_dipole_error []; what they mean
                            is in the group's attribute description
    /restart/               state of the propagation, in two slots that are written in turn

All arrays have their full size from the beginning and lie in one piece, so that a flush changes no structure of the
file, only numbers: data first, then ``progress``. A run that is killed at any moment leaves a file that can be
read up to the last flush, and continued from there. Between flushes the file is closed.
"""

from .reader import TrajectoryFile
from .schema import SCHEMA, UNITS, DipoleAccuracy, Frame, TrajectoryHeader
from .writer import TrajectoryWriter

__all__ = ["SCHEMA", "UNITS", "DipoleAccuracy", "Frame", "TrajectoryFile", "TrajectoryHeader", "TrajectoryWriter"]
