from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kstep_models.potential import KStepPotential, PairStatistics, PotentialConfig, Topology, TopologyError
from kstep_models.potential.export import compile_graph
from kstep_models.potential.interface import MoleculeData
from kstep_models.potential.parts import SOFTENING, coulomb_between_parts
from kstep_models.units import COULOMB
from tests.suites.network import Function, PotentialProperties
from tests.support.models import methanol


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def two_waters(config: PotentialConfig) -> tuple[KStepPotential, NDArray[np.float64]]:
    """A network with random weights for two water molecules, and the frames [20,6,3] of its scales."""
    water = np.array([[0.0, 0.0, 0.0], [0.0958, 0.0, 0.0], [-0.024, 0.0927, 0.0]])
    x = np.concatenate([water, water @ np.diag([-1.0, 1.0, 1.0]) + [0.05, -0.28, 0.03]])
    rng = np.random.default_rng(3)
    frames = x + rng.normal(scale=0.01, size=(20, 6, 3))
    charges = np.array([-0.6, 0.3, 0.3] * 2) + rng.normal(scale=0.03, size=(20, 6))
    data = MoleculeData(
        np.array([8, 1, 1] * 2),
        np.array([(0, 1), (0, 2), (3, 4), (3, 5)]),
        0.0,
        frames,
        rng.normal(scale=5.0, size=20) - 4e5,
        -2e5 * (frames - x),
        charges,
        frames,
    )
    torch.manual_seed(2)
    return KStepPotential.create(config, data), frames


class Methanol(PotentialProperties):
    config = PotentialConfig(
        channels=8, message_channels=6, vector_channels=4, cubic_channels=4, hidden=16, readout=8, cutoff=0.6
    )

    def model(self) -> KStepPotential:
        return methanol.potential(self.config, self.total_charge).eval()

    def geometry(self) -> NDArray[np.float64]:
        return methanol.geometries(1, 9, 0.008)[0]

    def equivalent_atoms(self) -> list[tuple[int, int]]:
        return [(2, 3), (3, 4), (2, 4)]


def of_one(model: Any) -> Function:
    """A model of batches as a function of one molecule."""

    def call(x: torch.Tensor, phi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        energy, forces, charges = model(x.unsqueeze(0), phi.unsqueeze(0))
        return energy[0], forces[0], charges[0]

    return call


class Eager(Methanol):
    def function(self) -> Function:
        return of_one(self.model())


class Scripted(Methanol):
    def function(self) -> Function:
        return of_one(torch.jit.script(self.model()))


class ExportedGraph(Methanol):
    # The mean energy of -3e4 kJ/mol and more is part of the total and costs its share of the sixteen digits.
    derivative = 1e-6

    def function(self) -> Function:
        return compile_graph(self.model(), torch.float64)  # type: ignore[no-any-return]


class TestTwoLayers(Eager):
    pass


class TestThreeLayersAndCharge(Eager):
    config = PotentialConfig(
        channels=6, message_channels=4, vector_channels=3, cubic_channels=2, hidden=12, readout=8, layers=3, cutoff=0.6
    )
    total_charge = -1.0


class TestOneLayer(Eager):
    config = PotentialConfig(
        channels=8, message_channels=6, vector_channels=4, cubic_channels=4, hidden=16, readout=8, layers=1, cutoff=0.6
    )


class TwoWaters(Methanol):
    """Two molecules in one region: atoms of one swap places as well as the molecules."""

    def model(self) -> KStepPotential:
        return two_waters(self.config)[0].eval()

    def geometry(self) -> NDArray[np.float64]:
        return two_waters(self.config)[1][7]

    def equivalent_atoms(self) -> list[tuple[int, int]]:
        return [(1, 2), (4, 5)]


class TestTwoParts(Eager, TwoWaters):
    pass


class TestTwoPartsScripted(Scripted, TwoWaters):
    pass


class TestTwoPartsExported(ExportedGraph, TwoWaters):
    pass


class TestExportedGraph(ExportedGraph):
    pass


class TestScripted(Scripted):
    def test_equals_eager(self) -> None:
        model = self.model()
        scripted = torch.jit.script(model)
        x, phi = torch.as_tensor(methanol.geometries(4, 3)), torch.randn(4, 6) * 100
        for a, b in zip(scripted(x, phi), model(x, phi), strict=True):
            assert torch.equal(a, b) or float((a - b).abs().max()) < 1e-12 * float(b.abs().max())


def test_batch_equals_frames_one_by_one() -> None:
    model = methanol.potential().eval()
    x, phi = torch.as_tensor(methanol.geometries(5, 4)), torch.randn(5, 6) * 100
    together = model(x, phi)
    for k in range(5):
        alone = model(x[k : k + 1], phi[k : k + 1])
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a[k], b[0], rtol=1e-12, atol=1e-10)


def test_single_precision_agrees() -> None:
    model = methanol.potential()
    single, double = compile_graph(model, torch.float32), compile_graph(model, torch.float64)
    # Far from the origin: coordinates must be centred before they lose digits.
    x = torch.as_tensor(methanol.geometries(1, 3)[0]) + 40.0
    phi = torch.randn(6) * 100
    forces, reference = single(x, phi)[1], double(x, phi)[1]
    assert forces.dtype == torch.float64
    assert float((forces - reference).abs().max()) < 1e-5 * float(reference.abs().max())


def test_overlapping_atoms_are_repelled_and_finite() -> None:
    model = methanol.potential().eval()
    x = torch.as_tensor(methanol.POSITIONS.copy())
    x[2] = x[3] + torch.tensor([0.01, 0.0, 0.0])
    energy, forces, _ = model(x.unsqueeze(0), torch.zeros(1, 6))
    assert torch.isfinite(energy).all()
    assert float(forces[0, 2, 0]) > 1e4


@pytest.mark.parametrize("place", ["wall", "cutoff"])
def test_energy_is_smooth_to_second_order(place: str) -> None:
    """Where a term starts or ends, the second derivative differs by no more than its slope allows."""
    topology = Topology.build([8, 1], [(0, 1)])
    x = np.zeros((20, 2, 3))
    x[:, 1, 0] = np.linspace(0.09, 0.11, 20)
    statistics = PairStatistics.measure(
        topology, x, np.linspace(0, 5, 20), np.zeros((20, 2, 3)), np.zeros((20, 2)), 0.0
    )
    torch.manual_seed(0)
    config = PotentialConfig(
        channels=4, cubic_channels=2, message_channels=4, vector_channels=2, hidden=8, readout=4, cutoff=0.15
    )
    model = KStepPotential(config, topology, statistics).eval()
    at = {"wall": 0.95 * 0.09, "cutoff": 0.15}[place]

    def curvature(r: float) -> float:
        points = torch.zeros(3, 2, 3)
        h = 1e-6
        points[:, 1, 0] = torch.tensor([r - h, r, r + h])
        _, forces, _ = model(points, torch.zeros(3, 2))
        return float(forces[0, 1, 0] - forces[2, 1, 0]) / (2 * h)

    jumps = [abs(curvature(at + d) - curvature(at - d)) for d in (1e-4, 1e-5)]
    # Ten times closer, ten times smaller: no jump remains.
    assert jumps[1] < 0.2 * jumps[0]


def test_parts_far_from_each_other_attract_by_their_charges() -> None:
    model, frames = two_waters(PotentialConfig(cutoff=0.6, polarisable=False))
    x = torch.as_tensor(np.stack([frames[0], frames[0]]))
    x[:, 3:, 2] += torch.tensor([[0.8], [50.0]])
    model.eval()
    energy, forces, charge = model(x, torch.zeros(2, 6))
    expected, pull = coulomb_between_parts(model.topology, x.numpy(), charge.numpy())
    assert abs(expected[0]) > 0.01
    assert float(energy[0] - energy[1]) == pytest.approx(expected[0] - expected[1], rel=1e-6)
    # Charges depend on each molecule's own geometry, so that the net force on one is Coulomb's at fixed charges.
    assert np.allclose(forces[:, 3:].sum(1).numpy(), pull[:, 3:].sum(1), rtol=1e-6, atol=1e-9)


def test_coulomb_between_parts_is_the_soft_law() -> None:
    topology = Topology.build([8, 1, 11], [(0, 1)])
    x = np.array([[[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.4, 0.0]]])
    q = np.array([[-0.8, -0.2, 1.0]])
    energies, forces = coulomb_between_parts(topology, x, q)
    soft = [np.hypot(0.4, SOFTENING), np.sqrt(0.17 + SOFTENING**2)]
    assert energies[0] == pytest.approx(COULOMB * (-0.8 / soft[0] - 0.2 / soft[1]), rel=1e-12)
    step = np.zeros_like(x)
    step[0, 2, 1] = 1e-5
    up, down = (coulomb_between_parts(topology, x + sign * step, q)[0][0] for sign in (1, -1))
    assert forces[0, 2, 1] == pytest.approx((down - up) / 2e-5, rel=1e-8)
    assert np.abs(forces.sum(1)).max() < 1e-10


def test_response_can_be_switched_off() -> None:
    model = methanol.potential(
        PotentialConfig(
            channels=4, cubic_channels=2, message_channels=4, vector_channels=2, hidden=8, readout=4, polarisable=False
        )
    )
    x = torch.as_tensor(methanol.geometries(1, 3))
    with torch.no_grad():
        vacuum = model.coupled(x, torch.zeros(1, 6))[1]
        field = model.coupled(x, torch.randn(1, 6) * 100)[1]
    assert torch.equal(vacuum, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", 0), ("radial_order", 1), ("layers", 0), ("cutoff", 0.0), ("cutoff", float("nan"))],
)
def test_impossible_sizes_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        PotentialConfig(**{field: value})  # type: ignore[arg-type]


def test_statistics_of_another_molecule_are_refused() -> None:
    topology = Topology.build([8, 1, 1], [(0, 1), (0, 2)])
    with pytest.raises(TopologyError, match="3 atoms"):
        PairStatistics.measure(
            topology, methanol.geometries(3, 0), np.zeros(3), np.zeros((3, 6, 3)), np.zeros((3, 6)), 0.0
        )
    with pytest.raises(TopologyError, match="the molecule has 3"):
        KStepPotential(PotentialConfig(), topology, methanol.potential().statistics)
