"""Regressions: what is fitted is found again, and the result is a potential with all properties of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kstep_models.contract import read_contract
from kstep_models.frames import Frame, FrameFileError, FrameWriter, RegionDescription
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import compile_graph, load
from kstep_models.regression.charges import LinearCharges, field_of_unit_charges, fit_charges
from kstep_models.regression.exporting import fit_and_export
from kstep_models.regression.fitting import FEWEST_LABELS, Parts, RegressionError, fit_regression
from kstep_models.regression.kernel import KernelError, fit_kernel
from kstep_models.regression.labels import LabelFiles, Labels, Surroundings
from kstep_models.regression.network import RegressionPotential
from kstep_models.regression.permutations import equivalent_ends, permutation_group
from kstep_models.units import MEV_PER_ANGSTROM
from tests.suites.network import Function, PotentialProperties
from tests.support.models import methanol, synthetic

NUMBERS, BONDS = np.array(synthetic.NUMBERS), np.array(synthetic.BONDS)
NOBODY = np.arange(6)[None]
DIFFERENCE = {"method": "analytic", "minus": {"method": "nothing"}}


def write(path: Path, count: int, embedded: bool, seed: int = 1, **changes: Any) -> Path:
    """A file of synthetic frames; of a difference of two methods if the level of theory says so."""
    description = {**vars(synthetic.REGION), **changes}
    random = np.random.default_rng(seed)
    writer = FrameWriter(path, RegionDescription(**description), environment=embedded)
    for index in range(count):
        writer.append(synthetic.frame(random, index, embedded))
    writer.flush()
    return path


def labels_of(frames: Sequence[Frame]) -> Labels:
    names = ("positions", "energy", "forces")
    return Labels(NUMBERS, BONDS, 0.0, *(np.array([getattr(frame, name) for frame in frames]) for name in names))


def vacuum(count: int, seed: int = 1) -> Labels:
    random = np.random.default_rng(seed)
    return labels_of([synthetic.frame(random, 0, False) for _ in range(count)])


class Regressed(PotentialProperties):
    """A regression of synthetic frames among charges, with all exchanges of like atoms."""

    parts: Parts = "both"
    responds = False
    derivative = 1e-6

    def geometry(self) -> NDArray[np.float64]:
        return methanol.geometries(1, 9, 0.004)[0]

    def equivalent_atoms(self) -> list[tuple[int, int]]:
        return [(2, 3), (3, 4), (2, 4)]

    def function(self) -> Function:
        random = np.random.default_rng(4)
        frames = [synthetic.frame(random, 0, True) for _ in range(25)]
        labels = labels_of(frames)
        places = tuple(frame.environment for frame in frames)
        labels = Labels(*(list(vars(labels).values())[:-1]), surroundings=_surroundings(places))
        model = RegressionPotential.of(fit_regression(labels, self.parts).regression, labels)
        return compile_graph(model, torch.float64)  # type: ignore[no-any-return]


class TestBoth(Regressed):
    pass


class TestKernel(Regressed):
    parts: Parts = "kernel"


class TestBonded(Regressed):
    parts: Parts = "bonded"


def _surroundings(places: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(Surroundings(p.potential, p.potential_gradient, p.positions, p.charges, p.forces) for p in places)


def test_a_kernel_learns_what_no_sum_over_bonds_can_be() -> None:
    labels, test = vacuum(200), vacuum(40, seed=2)
    errors = {
        parts: fit_regression(labels, parts, max_permutations=1).regression.error(test) for parts in ("bonded", "both")
    }
    size = MEV_PER_ANGSTROM * np.sqrt(np.mean(test.forces**2))
    assert errors["both"] < 0.01 * size
    assert errors["both"] < 0.3 * errors["bonded"]


def test_forces_are_the_derivative_of_the_energy() -> None:
    labels = vacuum(30)
    regression = fit_regression(labels, "both").regression
    model = RegressionPotential.of(regression, labels)
    x = vacuum(3, seed=5)
    energies, forces, _ = model(torch.as_tensor(x.positions), torch.zeros(3, 6, dtype=torch.float64))
    np.testing.assert_allclose(forces.numpy(), regression.forces(x), atol=1e-5)
    assert regression.terms is not None and regression.kernel is not None and regression.coefficients is not None
    expected = regression.terms.energies(x.positions, regression.coefficients) + regression.kernel.energies(x.positions)
    np.testing.assert_allclose(energies.numpy(), expected, atol=1e-7)
    # The constant is that of the labels, so that energies of levels can be compared.
    mean = regression.constant + energies.mean().item()
    assert mean == pytest.approx(x.energies.mean(), abs=0.5)


def test_the_kernel_goes_through_its_labels() -> None:
    labels = vacuum(20)
    kernel = fit_kernel(labels.positions, labels.forces, NOBODY, 10.0, 1e-10)
    np.testing.assert_allclose(kernel.forces(labels.positions), labels.forces, atol=1e-3 * abs(labels.forces).max())


def test_an_exchange_of_like_atoms_is_learned_from_the_other() -> None:
    """A geometry with two hydrogens exchanged is as good as a label, though there is none like it."""
    labels = vacuum(20)
    group = permutation_group(NUMBERS, BONDS, 36)
    kernel = fit_kernel(labels.positions, labels.forces, group, 10.0, 1e-10)
    order = np.array([0, 1, 3, 4, 2, 5])
    found = kernel.forces(labels.positions[:, order])
    np.testing.assert_allclose(found, kernel.forces(labels.positions)[:, order], atol=1e-6)
    alone = fit_kernel(labels.positions, labels.forces, NOBODY, 10.0, 1e-10)
    assert abs(alone.forces(labels.positions[:, order]) - found).max() > 100


def test_groups_of_exchanges() -> None:
    ethanol = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
    bonds = np.array([(0, 1), (1, 2), (2, 3), (0, 6), (0, 7), (0, 8), (1, 4), (1, 5)])
    assert equivalent_ends(ethanol, bonds) == [[6, 7, 8], [4, 5]]
    for limit, size in ((1, 1), (2, 2), (3, 3), (6, 6), (36, 12)):
        group = permutation_group(ethanol, bonds, limit)
        assert len(group) == size and group[0].tolist() == list(range(9))
        members = {tuple(row) for row in group.tolist()}
        assert len(members) == size
        assert {tuple(a[b]) for a in group for b in group} == members
        assert all((ethanol[row] == ethanol).all() for row in group)
    assert permutation_group(ethanol, np.zeros((0, 2), dtype=np.int64), 36).tolist() == [list(range(9))]


def test_charges_are_found_from_the_forces_around_them() -> None:
    """Those that are linear in inverse distances exactly; those of the frames, which are not, nearly."""
    random = np.random.default_rng(3)
    frames = [synthetic.frame(random, 0, True) for _ in range(60)]
    positions = np.array([frame.positions for frame in frames])
    places = _surroundings([frame.environment for frame in frames])
    slopes = random.normal(scale=0.02, size=(6, 15))
    linear = LinearCharges(random.normal(scale=0.3, size=6), slopes - slopes.mean(axis=0), np.full(15, 6.0))
    charges = linear.at(positions)
    exact = [
        replace(place, forces=(field_of_unit_charges(x, place) @ q).reshape(-1, 3))
        for x, q, place in zip(positions, charges, places, strict=True)
    ]
    found = fit_charges(positions, exact, float(charges[0].sum()), NOBODY)
    np.testing.assert_allclose(found.at(positions), charges, atol=1e-3)
    forces = found.forces(positions[:1], exact[:1])[0]
    direct = -charges[0][:, None] * exact[0].gradient
    step = 1e-5 * np.eye(18).reshape(18, 6, 3)
    flow = [
        -(exact[0].potential @ (linear.at(positions[:1] + d)[0] - linear.at(positions[:1] - d)[0])) / 2e-5 for d in step
    ]
    np.testing.assert_allclose(forces - direct, np.reshape(flow, (6, 3)), atol=0.02 * np.abs(flow).max())

    found = fit_charges(positions, places, 0.0, NOBODY)
    expected = np.array([frame.charges for frame in frames])
    np.testing.assert_allclose(found.at(positions).sum(axis=1), 0, atol=1e-10)
    assert (found.at(positions) - expected).std() < 0.15 * (expected - expected.mean(axis=0)).std()


def test_charges_follow_distances_where_that_helps() -> None:
    """What changes from place to place and not with the geometry is not taken for a function of the geometry."""
    random = np.random.default_rng(3)
    frames = [synthetic.frame(random, 0, True) for _ in range(40)]
    positions = np.array([frame.positions for frame in frames])
    places = _surroundings([frame.environment for frame in frames])
    constant = random.normal(scale=0.1, size=6)
    constant -= constant.mean()
    slopes = random.normal(scale=0.02, size=(6, 15))
    following = LinearCharges(constant, slopes - slopes.mean(axis=0), np.full(15, 6.0))

    def labels(law: LinearCharges, response: float) -> Labels:
        changes = random.normal(scale=response, size=(40, 6))
        charges = law.at(positions) + changes - changes.mean(axis=1, keepdims=True)
        around = tuple(
            replace(place, forces=(field_of_unit_charges(x, place) @ q).reshape(-1, 3))
            for x, q, place in zip(positions, charges, places, strict=True)
        )
        return Labels(NUMBERS, BONDS, 0.0, positions, np.zeros(40), law.forces(positions, around), around)

    def found(labels: Labels) -> LinearCharges:
        charges = fit_regression(labels, "bonded", max_permutations=1).regression.charges
        assert charges is not None
        return charges

    noisy = found(labels(LinearCharges(constant, np.zeros((6, 15)), np.full(15, 6.0)), 0.02))
    assert not noisy.slopes.any()
    np.testing.assert_allclose(noisy.constant, constant, atol=0.05)
    np.testing.assert_allclose(found(labels(following, 0.0)).at(positions), following.at(positions), atol=2e-3)


def test_from_frames_to_an_archive(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.h5", 30, True, seed, level_of_theory=DIFFERENCE, charge=1) for seed in (1, 2)]
    said: list[str] = []
    exported = fit_and_export(files, tmp_path / "difference.pt", log=said.append)
    assert set(exported.result.errors) == {"bonded", "kernel", "both"} and len(said) == 4
    contract = read_contract(tmp_path / "difference.pt")
    assert isinstance(contract, PotentialContract)
    # The difference of two methods has no charge, whatever that of the region is.
    assert contract.charge == 1 and contract.level_of_theory == DIFFERENCE
    assert contract.training_data["frames"] == 60
    module, _ = load(tmp_path / "difference.pt")
    labels = LabelFiles.read(files).labels
    place = labels.surroundings[7]
    _, forces, charges = module(torch.as_tensor(labels.positions[7]), torch.as_tensor(place.potential))
    assert abs(float(charges.sum())) < 1e-10
    direct = -charges.numpy()[:, None] * place.gradient
    np.testing.assert_allclose(
        forces.numpy() + direct, exported.result.regression.forces(labels.subset(np.array([7])))[0], atol=1e-4
    )
    best = min(exported.result.errors.values())
    assert best < 0.1 * exported.result.size


def test_bonds_may_break(tmp_path: Path) -> None:
    """Without a graph there is the kernel alone, and nothing else can be asked for."""
    path = write(tmp_path / "frames.h5", 20, False, bonds=np.zeros((0, 2)))
    assert fit_and_export([path], tmp_path / "a.pt").result.regression.parts == "kernel"
    with pytest.raises(RegressionError, match="without bonds there is nothing to fit 'both' to"):
        fit_and_export([path], tmp_path / "b.pt", "both")
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.parametrize(
    ("numbers", "line"), [((1, 6, 7), (-0.106, 0, 0.116)), ((1, 6, 6, 1), (-0.166, -0.06, 0.06, 0.166))]
)
@pytest.mark.parametrize("parts", ["bonded", "both"])
def test_atoms_on_a_line(numbers: tuple[int, ...], line: tuple[float, ...], parts: Parts) -> None:
    """Hydrogen cyanide and acetylene, whose start is on a line to the last bit, by springs between all atoms."""
    straight = np.zeros((1, len(line), 3))
    straight[0, :, 2] = line
    first, second = np.triu_indices(len(line), 1)
    rest = np.linalg.norm(straight[0, first] - straight[0, second], axis=1)

    def forces(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros_like(positions)
        for i, j, length in zip(first, second, rest, strict=True):
            apart = positions[:, i] - positions[:, j]
            distance = np.linalg.norm(apart, axis=1, keepdims=True)
            pull = -3e4 * (distance - length) * apart / distance
            found[:, i] += pull
            found[:, j] -= pull
        return found

    random = np.random.default_rng(2)
    geometries = straight + random.normal(scale=0.004, size=(40, len(line), 3))
    geometries[0] = straight
    bonds = np.array([(i, i + 1) for i in range(len(line) - 1)])
    labels = Labels(np.array(numbers), bonds, 0.0, geometries, np.zeros(40), forces(geometries))
    fit = fit_regression(labels, parts)
    assert all(error < 0.05 * fit.size for error in fit.errors.values())
    stretched = 1.02 * straight
    module = compile_graph(RegressionPotential.of(fit.regression, labels), torch.float64)
    for x in (straight, stretched):
        _, found, _ = module(torch.as_tensor(x[0]), torch.zeros(len(line), dtype=torch.float64))
        np.testing.assert_allclose(found.numpy(), forces(x)[0], atol=0.05 * np.abs(forces(stretched)).max())


def test_labels_that_nothing_can_be_fitted_to(tmp_path: Path) -> None:
    labels = vacuum(20)
    with pytest.raises(RegressionError, match=f"9 labels are too few .* at least {FEWEST_LABELS}"):
        fit_regression(labels.subset(np.arange(9)))
    with pytest.raises(RegressionError, match=r"100000 labels of 6 atoms takes 25920 GB, .* fit 'bonded' alone"):
        fit_regression(labels.subset(np.zeros(100000, dtype=np.int64)))
    alone = Labels(np.array([10]), np.zeros((0, 2), int), 0.0, np.zeros((20, 1, 3)), np.zeros(20), np.zeros((20, 1, 3)))
    with pytest.raises(RegressionError, match="the region is one atom"):
        fit_regression(alone)
    with pytest.raises(KernelError, match="cannot be told apart"):
        fit_kernel(labels.positions[[0, 0, 1]], labels.forces[[0, 0, 1]], NOBODY, 10.0, 0.0)
    broken = labels.forces.copy()
    broken[3, 2, 1] = np.nan
    with pytest.raises(RegressionError, match="the forces of the labels are not finite"):
        fit_regression(Labels(NUMBERS, BONDS, 0.0, labels.positions, labels.energies, broken))
    files = [write(tmp_path / "gas.h5", 12, False), write(tmp_path / "water.h5", 12, True)]
    with pytest.raises(FrameFileError, match=r"water.h5 does not belong .* others among charges"):
        LabelFiles.read(files)
    with pytest.raises(FrameFileError, match="no frames"):
        LabelFiles.read([])
