"""Networks, labelled-frame files and the model contract of openmm-kstep, and the ground that all packages stand on.

Nothing here needs the compiled plugin or OpenMM, and importing the package itself loads neither torch nor h5py, so that
light-weight users (the command line, a data reader) pay only for the submodule they ask for:

- :mod:`kstep_models.units`, :mod:`kstep_models.files`, :mod:`kstep_models.hdf5`, :mod:`kstep_models.provenance`,
  :mod:`kstep_models.quantities` and :mod:`kstep_models.configuration`: constants, writing files, their heads, the
  versions of programs, and YAML files
- :mod:`kstep_models.contract`   the JSON document inside every exported archive
- :mod:`kstep_models.archive`    archives of every kind: writing and reading
- :mod:`kstep_models.frames`     HDF5 files of QM-labelled configurations
- :mod:`kstep_models.workers`    many items side by side in processes of Dask
- :mod:`kstep_models.potential`  conservative potentials: what they have in common, networks, export, compilation
- :mod:`kstep_models.rttddft`    electrons in time: learned response, time steps
- :mod:`kstep_models.experimental`  what was tried and is used nowhere
"""
