from __future__ import annotations

import numpy as np
import pytest

from kstep_models.potential import Topology, TopologyError
from tests.support.models import methanol


def test_equivalent_atoms_share_a_class_and_others_do_not() -> None:
    classes = Topology.build(methanol.NUMBERS, methanol.BONDS).atom_class
    assert classes[2] == classes[3] == classes[4]
    assert len(set(classes.tolist())) == 4


def test_classes_see_beyond_the_neighbours() -> None:
    # 1-butanol's carbon chain: the middle carbons differ only through what lies further away.
    chain = Topology.build([6, 6, 6, 6, 8], [(0, 1), (1, 2), (2, 3), (3, 4)])
    assert len(set(chain.atom_class.tolist())) == 5


def test_symmetric_molecule() -> None:
    ethane = Topology.build(
        [6, 6, 1, 1, 1, 1, 1, 1], [(0, 1)] + [(0, k) for k in (2, 3, 4)] + [(1, k) for k in (5, 6, 7)]
    )
    assert ethane.atom_classes == 2
    # H-H: in the same methyl group, or in the other one.
    assert ethane.pair_class[2, 3] != ethane.pair_class[2, 5]
    assert ethane.pair_class[2, 3] == ethane.pair_class[5, 6]


def test_relabelling_atoms_relabels_classes() -> None:
    order = [5, 3, 0, 2, 1, 4]
    numbers = [methanol.NUMBERS[k] for k in order]
    place = {old: new for new, old in enumerate(order)}
    relabelled = Topology.build(numbers, [(place[a], place[b]) for a, b in methanol.BONDS])
    original = Topology.build(methanol.NUMBERS, methanol.BONDS)
    assert np.array_equal(relabelled.atom_class, original.atom_class[order])
    assert np.array_equal(relabelled.pair_class, original.pair_class[np.ix_(order, order)])


def test_without_bonds_classes_are_elements() -> None:
    topology = Topology.build(methanol.NUMBERS, [])
    assert topology.atom_classes == 3
    assert topology.bond_distance[0, 1] == 5


def test_parts_that_no_bond_joins() -> None:
    # Formate, methanol's OH end as water, and a sodium ion.
    topology = Topology.build([6, 8, 8, 1, 8, 1, 1, 11], [(0, 1), (0, 2), (0, 3), (4, 5), (4, 6)])
    assert topology.part.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert topology.between_parts[0, 4]
    assert not topology.between_parts[4, 5]
    # Within a part pairs are told apart by their atoms' classes, between parts by elements and neighbours.
    assert topology.pair_class[1, 5] == topology.pair_class[2, 6]
    assert topology.pair_class[1, 5] != topology.pair_class[5, 1]
    assert topology.pair_class[3, 7] != topology.pair_class[5, 7]


def test_long_chains_meet_as_short_ones_do() -> None:
    butane = [(0, 1), (1, 2), (2, 3)]
    topology = Topology.build([6, 6, 6, 6, 11], butane)
    assert topology.atom_class[0] != topology.atom_class[1]
    assert topology.pair_class[0, 4] == topology.pair_class[3, 4] != topology.pair_class[1, 4]
    assert len(set(topology.part[:4].tolist())) == 1


def test_undirected_classes_are_symmetric() -> None:
    topology = Topology.build(methanol.NUMBERS, methanol.BONDS)
    undirected = topology.undirected_pair_class()
    assert np.array_equal(undirected, undirected.T)
    assert topology.pair_class[0, 1] != topology.pair_class[1, 0]


@pytest.mark.parametrize("bond", [(0, 0), (0, 6), (-1, 2)])
def test_impossible_bonds_are_refused(bond: tuple[int, int]) -> None:
    with pytest.raises(TopologyError, match="bond"):
        Topology.build(methanol.NUMBERS, [bond])


def test_no_atoms_are_refused() -> None:
    with pytest.raises(TopologyError, match="at least one atom"):
        Topology.build([], [])
