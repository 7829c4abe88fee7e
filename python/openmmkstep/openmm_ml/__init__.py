"""For openmm-ml: exported archives and QM engines as its potentials, by entry points of the group openmmml.potentials.

    MLPotential("kstep", modelPath="ala2-gfn2.pt")
    MLPotential("gfn2-xtb")
    MLPotential("kstep-qm", method="pyscf", xc="b3lyp", basis="6-31g*")

openmm-ml loads `factories` whenever it is imported; nothing there imports it in turn.
"""
