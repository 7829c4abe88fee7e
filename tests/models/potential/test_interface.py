"""Networks are found by name, described and built again; a second one has all the properties of a potential."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kstep_models.configuration import ConfigError, Section, parse_config
from kstep_models.potential import KStepPotential, PotentialConfig, interface
from kstep_models.potential.interface import (
    NetworkConfig,
    PotentialModel,
    UnknownNetworkError,
    build_model,
    create_model,
    find_network,
)
from tests.suites.network import Function, PotentialProperties
from tests.support.models import methanol
from tests.support.models.toy_network import ToyConfig, ToyPotential


class Training(Section):
    model: NetworkConfig = NetworkConfig.model_validate({})


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def model(config: NetworkConfig) -> PotentialModel:
    torch.manual_seed(1)
    return create_model(config, methanol.data()).eval()


class TestToy(PotentialProperties):
    responds = False

    def function(self) -> Function:
        toy = model(ToyConfig())

        def call(x: torch.Tensor, phi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            energy, forces, charges = toy(x.unsqueeze(0), phi.unsqueeze(0))
            return energy[0], forces[0], charges[0]

        return call

    def geometry(self) -> NDArray[np.float64]:
        return methanol.geometries(1, 9, 0.008)[0]

    def equivalent_atoms(self) -> list[tuple[int, int]]:
        return [(2, 3), (3, 4), (2, 4)]


@pytest.mark.parametrize("config", [methanol.SMALL, ToyConfig(functions=3)])
def test_a_description_builds_the_model_again(config: NetworkConfig) -> None:
    first = model(config)
    again = build_model(first.name, first.describe())
    assert type(again) is type(first) and again.config == config
    again.load_state_dict(first.state_dict())
    x, phi = torch.as_tensor(methanol.geometries(2, 3)), torch.randn(2, 6) * 100
    for a, b in zip(first(x, phi), again.eval()(x, phi), strict=True):
        assert torch.equal(a, b)
    assert (again.energy_mean, again.cutoff, again.atoms) == (first.energy_mean, first.cutoff, first.atoms)


def test_the_name_in_a_configuration_decides() -> None:
    assert type(Training().model) is PotentialConfig
    assert parse_config({"model": {"channels": 20}}, Training, "t").model == PotentialConfig(channels=20)
    config = parse_config({"model": {"name": "toy", "functions": 3}}, Training, "t")
    assert config.model == ToyConfig(functions=3)
    assert config.written() == {"model": {"name": "toy", "functions": 3, "cutoff": 0.5}}
    assert find_network("toy") is ToyPotential
    assert find_network("kstep") is KStepPotential


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "kstap"}, "model: there is no network 'kstap', known are kstep, regression, toy"),
        ({"name": "toy", "channels": 4}, "unknown key 'model.channels', known here: name, functions, cutoff"),
        ({"name": "toy", "function": 4}, "unknown key 'model.function', did you mean model.functions"),
        ({"name": "toy", "functions": 0}, "model.functions: must be greater than or equal to 1"),
        ({"chanels": 4}, "did you mean model.channels"),
        ({"channels": 4}, "model: cubic_channels = 16 exceeds channels = 4"),
        (3, "model: must be a mapping"),
    ],
)
def test_mistakes_are_named(content: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"model": content}, Training, "t")


def test_networks_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    there = EntryPoint("toy", "tests.support.models.toy_network:ToyPotential", interface.ENTRY_POINTS)

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == interface.ENTRY_POINTS
        return [] if name not in (None, "toy") else [there]

    monkeypatch.setattr(interface, "entry_points", entry_points)
    monkeypatch.delitem(interface._networks, "toy")
    # Registered when its module was first imported, which the entry point does in a fresh interpreter.
    monkeypatch.setattr(EntryPoint, "load", lambda self: interface._networks.setdefault(self.name, ToyPotential))
    assert find_network("toy") is ToyPotential
    with pytest.raises(UnknownNetworkError, match=r"known are kstep, regression, toy"):
        find_network("other")
