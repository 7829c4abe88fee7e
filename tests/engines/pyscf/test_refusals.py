"""What PySCF cannot calculate is refused before anything is computed, by name and with a remedy."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from openmm import app

from openmmkstep.engines.protocol import EngineError
from openmmkstep.engines.registry import create_engine, names, specification
from openmmkstep.qmmm.potential import QMMMPotential

pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")

WATER = {"numbers": [8, 1, 1], "charge": 0, "multiplicity": 1}


def make(changes: dict[str, Any], **molecule: Any) -> Any:
    settings = {"xc": "hf", "basis": "sto-3g", **changes}
    return create_engine("pyscf", json.dumps(settings), **{**WATER, **molecule})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xc": "b3lip"}, "xc 'b3lip' is not known to PySCF"),
        ({"xc": "b3lyp-d3bj"}, "give it as the setting dispersion"),
        ({"xc": "wb97x-d"}, "give it as the setting dispersion"),
        ({"xc": "b97-3c"}, "xc 'b97-3c' is a composite method"),
        ({"xc": "b2plyp"}, "xc 'b2plyp' is not known to PySCF .* double hybrids are not covered"),
        ({"xc": "0.5*hf"}, r"xc '0.5\*hf' holds no density functional"),
        ({"xc": ""}, "xc must be a text"),
        ({"basis": "6-31k"}, "basis '6-31k' is not known to PySCF for the element H"),
        ({"basis": {"O": "sto-3g"}}, "basis names no basis set for H"),
        ({"basis": {"Oxygen": "sto-3g"}}, "has the key 'Oxygen', which is no element"),
        ({"auxbasis": "weigend+etb+"}, "auxbasis .* is not known"),
        ({"auxbasis": "weigend", "density_fit": False}, "auxbasis is only used with density_fit"),
        ({"reference": "open"}, "reference must be one of none .*'restricted-open', got 'open'"),
        ({"dispersion": "d5"}, "dispersion must be one of"),
        ({"initial_guess": "guess"}, "initial_guess must be one of"),
        ({"grid_level": 12}, "grid_level must be a .* 9, got 12"),
        ({"conv_tol": 0}, "conv_tol must be a number"),
        ({"threads": 0}, "threads must be a positive integer"),
        ({"density_fit": 1}, "density_fit must be true or false"),
        ({"solvent": "water"}, "has no setting 'solvent'"),
    ],
)
def test_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        make(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xc": "wb97m-v", "dispersion": "d3bj"}, "has VV10 dispersion already"),
        ({"xc": "b88,", "dispersion": "d4"}, "there is no dispersion 'd4' for xc 'b88,'"),
        ({"xc": "0.2*b88,lyp", "dispersion": "d3bj"}, "there is no dispersion 'd3bj' for xc"),
    ],
)
def test_dispersion_without_parameters(changes: dict[str, Any], message: str) -> None:
    pytest.importorskip("pyscf.dispersion", reason="not installed: pip install 'openmm-kstep[pyscf]'")
    with pytest.raises(EngineError, match=message):
        make(changes)


def test_settings_that_must_be_given() -> None:
    for given in ({"xc": "hf"}, {"basis": "sto-3g"}):
        with pytest.raises(EngineError, match="needs the setting"):
            specification("pyscf", given)


@pytest.mark.parametrize("ecp", ["lanl9dz", {"O": "lanl2dz"}])
def test_core_potentials_that_are_not_there(ecp: Any) -> None:
    with pytest.raises(EngineError, match=r"ecp 'lanl.dz' is not known to PySCF for the element [HO]"):
        make({"ecp": ecp})


def test_elements_without_basis_functions() -> None:
    with pytest.raises(EngineError, match="basis '6-311g' is not known to PySCF for the element Au"):
        make({"basis": "6-311g"}, numbers=[79], multiplicity=2)


def test_open_shells_with_a_closed_shell_method() -> None:
    with pytest.raises(EngineError, match="multiplicity is 2, and reference 'restricted' has no unpaired electrons"):
        make({"reference": "restricted"}, charge=1, multiplicity=2)


def test_no_convergence() -> None:
    engine = make({"max_cycle": 1, "basis": "6-31g", "conv_tol": 1e-12})
    places = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.35], [0.3, 0.0, 0.0]])
    with pytest.raises(EngineError, match=r"did not converge to 1e-12 hartree in .* iterations .*max_cycle"):
        engine.compute(places, np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=bool))


def test_difficult_molecules_converge_on_the_way() -> None:
    """Few iterations are not enough to begin with, and enough for second-order steps."""
    places = np.array([[0.0, 0.001, 0.0], [0.0765, 0.003, -0.0469], [-0.0757, 0.0012, -0.0472]])
    nothing = np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=bool)
    usual = make({"basis": "6-31g", "conv_tol": 1e-11}).compute(places, *nothing)
    short = make({"basis": "6-31g", "conv_tol": 1e-11, "max_cycle": 5}).compute(places, *nothing)
    assert short.energy == pytest.approx(usual.energy, abs=1e-5)
    assert short.iterations > usual.iterations


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)
    assert "pyscf" in names()
    with pytest.raises(EngineError, match=r"PySCF cannot be imported .*pip install 'openmm-kstep\[pyscf\]'"):
        make({})


def test_before_anything_expensive() -> None:
    """A mixed system is refused when it is made."""
    force_field = app.ForceField("amber14/tip3p.xml")
    modeller = app.Modeller(app.Topology(), [])
    modeller.addSolvent(force_field, numAdded=5)
    system = force_field.createSystem(modeller.topology)
    with pytest.raises(EngineError, match="pyscf: xc 'b4lyp' is not known"):
        QMMMPotential("pyscf", xc="b4lyp", basis="sto-3g").createMixedSystem(modeller.topology, system, [0, 1, 2])
