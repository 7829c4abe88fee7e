"""Fits the parts of a regression to labels, and tells by labels that were held out which of them are worth having."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kstep_models.units import MEV_PER_ANGSTROM

from .bonded import BondedTerms, NormalEquations, predicted_forces
from .charges import LinearCharges, fit_charges
from .connectivity import Connectivity
from .kernel import Kernel, fit_kernel, pair_weights, typical_distance
from .labels import Labels
from .permutations import permutation_group, symmetries

Array = NDArray[np.float64]
Table = NDArray[np.int64]
Parts = Literal["bonded", "kernel", "both"]

PARTS: tuple[Parts, ...] = ("bonded", "kernel", "both")
FEWEST_LABELS = 10
_HELD_OUT_EVERY = 5
_BONDED_RIDGE = 1e-4
_WIDTH = 6.0  # typical distances between labels; errors hardly depend on it between 3 and 20
_RIDGE = 1e-8
_MOST_COEFFICIENTS = 12000  # of charges that follow the distances, 29 atoms: 3 GB for their linear system
# The response to the surroundings is no function of the geometry, and noise to the kernel.
_RIDGE_AMONG_CHARGES = 1e-4


class RegressionError(ValueError):
    """Labels that nothing can be fitted to."""


@dataclass(frozen=True)
class Regression:
    """A fitted potential.

    Attributes:
        labels: How many it was fitted to.
        constant: Energy where all parts are 0, kJ/mol.
        charges: Charges that couple it to its surroundings; None in vacuum.
        terms: Bonded terms; None for none.
        coefficients: Of the bonded terms.
        kernel: Kernel regression on what the bonded terms leave; None for none.
    """

    labels: int
    constant: float
    charges: LinearCharges | None
    terms: BondedTerms | None
    coefficients: Array | None
    kernel: Kernel | None

    @property
    def parts(self) -> Parts:
        """Which parts there are, but for the charges."""
        if self.kernel is None:
            return "bonded"
        return "kernel" if self.terms is None else "both"

    def forces(self, labels: Labels) -> Array:
        """Forces [T,n,3] on the atoms of labelled geometries in their surroundings, kJ/mol/nm."""
        forces = np.zeros_like(labels.positions)
        if self.charges is not None:
            forces += self.charges.forces(labels.positions, labels.surroundings)
        if self.terms is not None and self.coefficients is not None:
            forces += predicted_forces(self.terms, self.coefficients, labels.positions)
        if self.kernel is not None:
            forces += self.kernel.forces(labels.positions)
        return forces

    def error(self, labels: Labels) -> float:
        """Root mean square error of the forces per coordinate, meV/A."""
        return MEV_PER_ANGSTROM * float(np.sqrt(np.mean((self.forces(labels) - labels.forces) ** 2)))


@dataclass(frozen=True)
class FitResult:
    """A regression and how good it is.

    Attributes:
        regression: Fitted to all labels.
        errors: Force errors on held-out labels, of each choice of parts that was tried, meV/A; of fits to the others.
        size: Root mean square of the labels' forces, meV/A: the error of having no potential at all.
    """

    regression: Regression
    errors: dict[Parts, float]
    size: float


def fit_regression(
    labels: Labels,
    parts: Parts | None = None,
    max_permutations: int = 12,
    log: Callable[[str], None] = lambda _: None,
) -> FitResult:
    """Fit to labels; every fifth is held out to find the best choice of parts, which is then fitted to all of them.

    Where the labels break bonds of the molecular graph, terms of that graph are left out without a trial: polynomials
    in the length of a bond that is gone may do well among the labels, and are without bound beyond them.

    Whether charges follow the distances is found likewise, with the first choice of parts: where the response to the
    surroundings is larger than that to the geometry, as in a water molecule, they must not.

    Args:
        labels: In no order that matters but for which are held out: neighbours in a trajectory should not stand beside
            each other.
        parts: The choice; None for that with the smallest error.
        max_permutations: How many exchanges of like atoms are used; time and memory of the result grow with them.
        log: Called with what is being done.

    Raises:
        RegressionError: Too few labels, or values that are not finite.
        KernelError: Labels that cannot be told apart.
    """
    if len(labels) < FEWEST_LABELS:
        raise RegressionError(f"{len(labels)} labels are too few to fit anything: give at least {FEWEST_LABELS}")
    if labels.positions.shape[1] < 2:
        raise RegressionError("the region is one atom, which has no geometry that anything could be fitted to")
    for name in ("positions", "energies", "forces"):
        if not np.isfinite(getattr(labels, name)).all():
            raise RegressionError(f"the {name} of the labels are not finite")
    connectivity = Connectivity.of(labels.numbers, labels.bonds, labels.positions)
    if parts in ("bonded", "both"):
        # Terms of the graph are exchanged as it is.
        group = permutation_group(labels.numbers, labels.bonds, max_permutations)
    else:
        group = symmetries(connectivity, max_permutations)
    weights = pair_weights(labels.numbers, connectivity.lasting, group)
    everything = np.arange(len(labels))
    held = held_out(len(labels))
    tested, others = labels.subset(held), labels.subset(np.setdiff1d(everything, held))
    if parts in ("bonded", "both") and not len(labels.bonds):
        raise RegressionError(f"without bonds there is nothing to fit {parts!r} to: use 'kernel'")
    choices = _choices(connectivity, log) if parts is None else (parts,)
    if choices != ("bonded",):
        _refuse_more_than_fits(labels)
    follow = _charges_follow(others, tested, choices[0], group, weights, log)
    charges = _charges(others, group, follow)
    errors: dict[Parts, float] = {}
    for choice in choices:
        errors[choice] = _fit(others, choice, charges, group, weights).error(tested)
        log(f"{choice}: {errors[choice]:.1f} meV/A on {len(tested)} held-out labels")
    best = min(errors, key=lambda choice: errors[choice])
    size = MEV_PER_ANGSTROM * float(np.sqrt(np.mean(labels.forces**2)))
    return FitResult(_fit(labels, best, _charges(labels, group, follow), group, weights), errors, size)


def held_out(labels: int) -> Table:
    """Places of the labels that a fit is tested on, of so many."""
    return np.arange(labels)[_HELD_OUT_EVERY // 2 :: _HELD_OUT_EVERY]


def _choices(connectivity: Connectivity, log: Callable[[str], None]) -> tuple[Parts, ...]:
    """What can be fitted where bonds are as they are."""
    if connectivity.changes:
        log(f"bonds change ({connectivity}): what is fitted knows distances alone, no bonds")
    return ("kernel",) if connectivity.changes or not len(connectivity.lasting) else PARTS


def _refuse_more_than_fits(labels: Labels) -> None:
    """Before the system kills a program whose kernel takes more memory than there is."""
    needed = 8 * labels.positions.size**2
    if needed > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise RegressionError(
            f"the kernel of {len(labels)} labels of {labels.positions.shape[1]} atoms takes {needed / 1e9:.0f} GB, "
            "more memory than there is: give fewer labels, fit 'bonded' alone, or train a network (kstep train)"
        )


def _charges_follow(
    labels: Labels, tested: Labels, parts: Parts, group: Table, weights: Array, log: Callable[[str], None]
) -> bool:
    """Whether charges that follow the distances are better than constant ones."""
    if not labels.surroundings:
        return False
    n = labels.positions.shape[1]
    if n * (1 + n * (n - 1) // 2) > _MOST_COEFFICIENTS:
        log(f"charges of {n} atoms are constant: there are too many distances for them to follow")
        return False
    following, constant = (
        _fit(labels, parts, _charges(labels, group, follow), group, weights).error(tested) for follow in (True, False)
    )
    log(f"charges that follow the distances: {following:.1f} meV/A with {parts}, constant ones: {constant:.1f}")
    return following < constant


def _charges(labels: Labels, group: Table, follow: bool) -> LinearCharges | None:
    if not labels.surroundings:
        return None
    return fit_charges(labels.positions, labels.surroundings, labels.total_charge, group, follow)


def _fit(labels: Labels, parts: Parts, charges: LinearCharges | None, group: Table, weights: Array) -> Regression:
    rest_forces, rest_energies = labels.forces, labels.energies
    if charges is not None:
        rest_forces = rest_forces - charges.forces(labels.positions, labels.surroundings)
        rest_energies = rest_energies - charges.energies(labels.positions, labels.surroundings)
    result = Regression(len(labels), 0.0, charges, None, None, None)
    if parts != "kernel":
        images = np.concatenate([labels.positions[:, order] for order in group])
        terms = BondedTerms.of(labels.bonds, images, symmetric=True)
        equations = NormalEquations(terms)
        for order in group:
            equations.add(labels.positions[:, order], rest_forces[:, order])
        coefficients = equations.solve(_BONDED_RIDGE, terms.even)
        rest_forces = rest_forces - predicted_forces(terms, coefficients, labels.positions)
        rest_energies = rest_energies - terms.energies(labels.positions, coefficients)
        result = replace(result, terms=terms, coefficients=coefficients)
    if parts != "bonded":
        width = _WIDTH * typical_distance(labels.positions, weights)
        ridge = _RIDGE if charges is None else _RIDGE_AMONG_CHARGES
        kernel = fit_kernel(labels.positions, rest_forces, group, width, ridge, weights)
        rest_energies = rest_energies - kernel.energies(labels.positions)
        result = replace(result, kernel=kernel)
    return replace(result, constant=float(rest_energies.mean()))
