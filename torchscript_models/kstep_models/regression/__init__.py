"""Potentials by regression: fitted in seconds to some hundred labels, most of all to the difference of two methods.

    U(x, phi) = U_bonded(x) + U_kernel(x) + sum_i q_i(x) phi_i

Three parts, each of which may be missing: bonds, angles and dihedrals (:mod:`.bonded`), a kernel regression on forces
that knows only distances and so outlives any bond (:mod:`.kernel`), and charges that are linear in the distances
(:mod:`.charges`). :mod:`.fitting` fits them to labels, and :mod:`.network` is the result as a network like others.
"""
