"""What every network for a potential has in common, so that data, training, evaluation and export serve any of them.

A new network is one module with a size (a subclass of :class:`NetworkConfig`) and a model (a subclass of
:class:`PotentialModel`, declared with its name)::

    class MyConfig(NetworkConfig):
        name: Literal["mine"] = "mine"
        channels: int = Field(default=32, ge=1, description="features per atom")

    class MyPotential(PotentialModel, name="mine"):
        config_type = MyConfig
        ...

The section ``model: {name: mine, channels: 64}`` of a training configuration then means it. A module outside this
package is found by an entry point of the group ``kstep_models.potentials``, whose name is the network's.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from kstep_models.configuration import Section

ENTRY_POINTS = "kstep_models.potentials"
DEFAULT_NETWORK = "kstep"

_OWN_MODULES = {"kstep": "kstep_models.potential.network", "regression": "kstep_models.regression.network"}
_networks: "dict[str, type[PotentialModel]]" = {}

FloatArray = NDArray[np.float64]


class UnknownNetworkError(ValueError):
    """There is no network of a name."""


class NetworkConfig(Section):
    """Size of a network; every option has a default. A subclass for each network says what there is to choose."""

    name: str = Field(default=DEFAULT_NETWORK, description="which network")

    @classmethod
    def member(cls, content: Mapping[Any, Any]) -> type[Section]:
        """The size's class of the network that a mapping names."""
        if cls is not NetworkConfig:
            return cls
        return find_network(str(content.get("name", DEFAULT_NETWORK))).config_type


@dataclass(frozen=True)
class MoleculeData:
    """The molecule, and the frames that a network takes its scales from; T frames in vacuum, or nearly so.

    Attributes:
        numbers: atomic numbers [n].
        bonds: molecular graph [b,2].
        total_charge: e.
        positions: [T,n,3] nm.
        energies: [T] kJ/mol.
        forces: [T,n,3] kJ/mol/nm.
        charges: [T,n] e.
        geometries: all geometries there are, whatever their environment [G,n,3], nm.
    """

    numbers: NDArray[np.int64]
    bonds: NDArray[np.int64]
    total_charge: float
    positions: FloatArray
    energies: FloatArray
    forces: FloatArray
    charges: FloatArray
    geometries: FloatArray


class PotentialModel(nn.Module, ABC):
    """A potential U(x, phi) of one molecule of n atoms in the electrostatic potential phi of its environment.

    Conservative, smooth, and exact under translation, rotation, reflection and exchange of equivalent atoms; the suite
    ``tests/suites/network.py`` checks all of that.

    Attributes:
        name: of the network.
        config_type: class of its size.
        limits: sentences for model cards, on what the network cannot do.
        config: size.
        numbers: atomic numbers [n].
        atoms: n.
        total_charge: that the charges sum to, e.
        cutoff: range of direct interactions, nm.
        energy_mean: kJ/mol, to be added to energies in double precision.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[NetworkConfig]]
    limits: ClassVar[tuple[str, ...]] = ()
    # TorchScript would try to compile its class.
    __jit_ignored_attributes__: ClassVar[list[str]] = ["config"]

    config: NetworkConfig
    numbers: Tensor
    atoms: int
    total_charge: Tensor
    cutoff: float
    energy_mean: float

    def __init_subclass__(cls, name: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if name is not None:
            cls.name = name
            _networks[name] = cls

    @abstractmethod
    def forward(self, positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy without its mean [B], forces [B,n,3] at fixed potential, charges dU/dphi [B,n].

        Results can be differentiated again in training mode. Needs gradients enabled, and to be traceable by make_fx.

        Args:
            positions: [B,n,3] nm.
            potential: [B,n] kJ/mol/e.
        """

    @classmethod
    @abstractmethod
    def create(cls, config: Any, data: MoleculeData) -> "PotentialModel":
        """A model with initial weights, scaled to a molecule's frames.

        Args:
            config: of :attr:`config_type`.
            data: the molecule and its frames.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """All but the weights, as JSON values, for :meth:`build`."""

    @classmethod
    @abstractmethod
    def build(cls, description: Mapping[str, Any]) -> "PotentialModel":
        """A model as it was described, with any weights, in torch's default precision."""


def find_network(name: str) -> type[PotentialModel]:
    """The class of a network.

    Raises:
        UnknownNetworkError: there is none of this name.
    """
    if name not in _networks:
        if name in _OWN_MODULES:
            importlib.import_module(_OWN_MODULES[name])
        else:
            for entry in entry_points(group=ENTRY_POINTS, name=name):
                entry.load()
    if name not in _networks:
        installed = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
        known = ", ".join(sorted({*_OWN_MODULES, *_networks, *installed}))
        raise UnknownNetworkError(f"there is no network {name!r}, known are {known}")
    return _networks[name]


def create_model(config: NetworkConfig, data: MoleculeData) -> PotentialModel:
    """A model with initial weights of the network that the size belongs to."""
    return find_network(config.name).create(config, data)


def build_model(name: str, description: Mapping[str, Any]) -> PotentialModel:
    """A model from :attr:`PotentialModel.name` and :meth:`PotentialModel.describe`.

    Raises:
        UnknownNetworkError: there is no network of this name here.
    """
    return find_network(name).build(description)
