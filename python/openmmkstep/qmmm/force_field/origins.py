"""Names and forms under which force fields make forces, and the kinds whose terms cannot be taken apart.

Taken from the generators of openmm.app 8.6 (ForceField and its files, AmberPrmtopFile, CharmmPsfFile, GromacsTopFile).
openmmforcefields makes its systems through ForceField.
"""

from __future__ import annotations

import re
from enum import Enum

import openmm


class Origin(Enum):
    """Who may have made a force, judged by its kind, name and expression."""

    FORCE_FIELD = "a force field, and nobody else"
    SHARED = "a force field or a user: both leave this kind of force its default name"
    USER = "a user: no force field gives this kind of force that name"
    INSEPARABLE = "a force field as a rule, and its terms inside a region cannot be told apart"
    WITHOUT_ENERGY = "a user or a force field; it acts on the box or on velocities"


# Forces without energy: they act on the box or on velocities, once per step of the integrator.
_WITHOUT_ENERGY = frozenset(
    {
        "CMMotionRemover",
        "AndersenThermostat",
        "MonteCarloBarostat",
        "MonteCarloAnisotropicBarostat",
        "MonteCarloFlexibleBarostat",
        "MonteCarloMembraneBarostat",
    }
)
_INSEPARABLE = frozenset(
    {
        "AmoebaGeneralizedKirkwoodForce",
        "AmoebaMultipoleForce",
        "AmoebaTorsionTorsionForce",
        "AmoebaVdwForce",
        "AmoebaWcaDispersionForce",
        "ATMForce",
        "CustomGBForce",
        "CustomHbondForce",
        "CustomManyParticleForce",
        "DrudeForce",
        "GayBerneForce",
        "GBSAOBCForce",
        "HippoNonbondedForce",
        "LCPOForce",
    }
)
# Kinds that force fields make under OpenMM's default name, the name of the class.
_DEFAULT_NAMES = frozenset(
    {
        "HarmonicBondForce",
        "HarmonicAngleForce",
        "PeriodicTorsionForce",
        "RBTorsionForce",
        "CMAPTorsionForce",
        "CustomBondForce",
        "CustomAngleForce",
        "CustomTorsionForce",
        "CustomNonbondedForce",
    }
)
# Names that only the generators give.
_OWN_NAMES = frozenset(
    {
        ("HarmonicBondForce", "UreyBradleyForce"),
        ("CustomBondForce", "GROMOSBondForce"),
        ("CustomBondForce", "LennardJones14"),
        ("CustomBondForce", "LennardJonesExceptions"),
        ("CustomAngleForce", "GROMOSAngleForce"),
        ("CustomTorsionForce", "HarmonicTorsionForce"),
        ("CustomTorsionForce", "ImproperTorsionForce"),
        ("CustomNonbondedForce", "LennardJones"),
        ("CustomNonbondedForce", "LennardJonesForce"),
    }
)
# Lennard-Jones tables of AmberPrmtopFile and CharmmPsfFile, and their terms in r^-4.
_PAIR_TABLES = re.compile(r"\(a/r6\)\^2-b/r6(-c/r\^4)?;|-c/r\^4;c=ccoef")
# Improper torsions of CharmmPsfFile and charmm36_2024.xml, and of charmm36.xml.
_CHARMM_IMPROPERS = re.compile(
    r"k\*min\(dtheta,2\*pi-dtheta\)\^2;dtheta=abs\(theta-theta0\);pi=3\.14159\d*;?|k\*\(theta-theta0\)\^2"
)


def origin(force: openmm.Force) -> Origin:
    """Who may have made a force."""
    kind, name = type(force).__name__, force.getName()
    if kind in _WITHOUT_ENERGY:
        return Origin.WITHOUT_ENERGY
    if kind in _INSEPARABLE:
        return Origin.INSEPARABLE
    if kind == "NonbondedForce" or (kind, name) in _OWN_NAMES:
        return Origin.FORCE_FIELD
    if kind == "CustomNonbondedForce":
        # It acts between all particles, and programs that make systems do give it names: never the user's for certain.
        table = name == kind and _PAIR_TABLES.match(_expression(force))
        return Origin.FORCE_FIELD if table else Origin.SHARED
    if kind in _DEFAULT_NAMES and name == kind:
        return Origin.SHARED
    return Origin.USER


def has_charmm_impropers(force: openmm.Force) -> bool:
    """Whether a force has the form in which CHARMM's harmonic improper torsions are made."""
    return isinstance(force, openmm.CustomTorsionForce) and bool(_CHARMM_IMPROPERS.fullmatch(_expression(force)))


def is_charmm(system: openmm.System) -> bool:
    """Whether a system was made with CHARMM's force field: it has Urey-Bradley terms and harmonic improper torsions.

    ForceField gives it a Lennard-Jones force of its own, CharmmPsfFile a second force for the Urey-Bradley terms and
    always one for improper torsions.
    """
    forces = list(system.getForces())
    names = [(type(force).__name__, force.getName()) for force in forces]
    if ("CustomNonbondedForce", "LennardJones") in names:
        return True
    return names.count(("HarmonicBondForce", "HarmonicBondForce")) > 1 and any(map(has_charmm_impropers, forces))


def _expression(force: openmm.Force) -> str:
    return re.sub(r"\s", "", force.getEnergyFunction())
