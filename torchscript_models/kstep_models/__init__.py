"""Networks, labelled-frame files and the model contract of openmm-kstep.

Nothing here needs the compiled plugin, and importing the package itself loads neither torch nor h5py, so that
light-weight users (the command line, a data reader) pay only for the submodule they ask for:

- :mod:`kstep_models.frames`     HDF5 files of QM-labelled configurations
- :mod:`kstep_models.potential`  the conservative equivariant potential
- :mod:`kstep_models.contract`   the JSON document inside every exported archive
- :mod:`kstep_models.archive`    archives of every kind: writing and reading
- :mod:`kstep_models.potential.export`     archives of potentials, with checks, and loading for Python use
- :mod:`kstep_models.rttddft`    electrons in time: learned response, time steps, sequence models
"""
