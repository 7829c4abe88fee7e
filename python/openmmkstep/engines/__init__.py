"""QM programs: one file for each, and the registry that knows them by name.

`protocol` says what an engine is, `registry` finds one by name. The engines in C++ (`xtb`, `analytic`) are described
here and run inside the plugin; an engine in Python is one class with the methods of `protocol.QMEngine`, registered by
a call or by an entry point.
"""
