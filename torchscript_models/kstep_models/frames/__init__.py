"""HDF5 files of QM-labelled configurations (schema ``kstep-frames``, version 1).

Layout (T frames of n atoms; units nm, ps, kJ/mol, e)::

    /                      attributes: schema, version, frames (T), units, level_of_theory, charge, multiplicity,
                           software, command
    /numbers [n]           atomic numbers
    /masses [n]            amu
    /bonds [b,2]           molecular graph, indices into the region
    /names [n]             atom names (optional)
    /frames/positions [T,n,3]   energy [T]   forces [T,n,3]   charges [T,n]   dipole [T,3] (e nm)
            trajectory [T]   time [T]   temperature [T]; charges and dipole are NaN if the engine does not tell them
    /environment/          absent in the gas phase
            potential [T,n]              kJ/mol/e, of the effective charges at the region atoms (bare Coulomb)
            potential_gradient [T,n,3]   kJ/mol/e/nm
            offset [T+1]                 charges of frame t are rows offset[t] .. offset[t+1]-1 of the arrays below
            positions [M,3]   charges [M] (effective)   forces [M,3]

All forces are negative derivatives at *fixed* environment charges: the derivative of switched charges with respect to
positions belongs to whoever switches them. Environment rows are stored in single precision (1e-7 relative), everything
else in double.

The writer keeps the file closed between flushes, so that it can be read at any moment. A flush is made in full or not
at all, whenever the program is killed or the disk is full (:mod:`kstep_models.hdf5_changes`). HDF5 locks the file
between reader and writer: a reader waits for a flush in progress, and a flush that meets a reader is put off until the
next one. Everything in the file has checksums, and damage is an error that names the file.
"""

from kstep_models.frames.reader import FrameFile
from kstep_models.frames.schema import SCHEMA, UNITS, Environment, Frame, FrameFileError, RegionDescription
from kstep_models.frames.writer import FrameWriter

__all__ = [
    "SCHEMA",
    "UNITS",
    "Environment",
    "Frame",
    "FrameFile",
    "FrameFileError",
    "FrameWriter",
    "RegionDescription",
]
