"""The methods of training, and which of them a configuration, a checkpoint or an archive belongs to.

A method is a package with a module ``method`` that has the functions ``train``, ``evaluate`` and ``export`` with the
arguments of those of :mod:`kstep_training`. That module is imported when it is needed: knowing the methods loads
neither torch nor Lightning.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from types import ModuleType

from kstep_models.configuration import ConfigError, read_yaml
from kstep_models.contract import read_contract
from kstep_training.checkpoints import CheckpointError, is_archive, read_checkpoint

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Method:
    """A way of training.

    Attributes:
        name: in configurations, ``method: NAME``.
        checkpoint_format: that its checkpoints name.
        kind: of the models that it exports.
        package: where it is implemented.
    """

    name: str
    checkpoint_format: str
    kind: str
    package: str

    def load(self) -> ModuleType:
        """The module with its functions."""
        return importlib.import_module(f"{self.package}.method")


POTENTIAL = Method("potential", "kstep-training-potential", "potential", "kstep_training.potential")
RESPONSE = Method("response", "kstep-training-response", "fxc", "kstep_training.rttddft")
METHODS = (POTENTIAL, RESPONSE)


def method_of_configuration(path: StrPath) -> Method:
    """The method that a YAML file names.

    Raises:
        ConfigError: no such file, no YAML, no method, or an unknown one.
    """
    content = read_yaml(path)
    if "method" not in content:
        raise ConfigError(f"{path}: method is missing: give one of {_names()}")
    for method in METHODS:
        if method.name == content["method"]:
            return method
    raise ConfigError(f"{path}: method: there is no method {content['method']!r}, known are {_names()}")


def method_of_checkpoint(path: StrPath) -> Method:
    """The method that made a checkpoint.

    Raises:
        CheckpointError: no such file, or no checkpoint of any method.
    """
    found = read_checkpoint(path).get("format")
    for method in METHODS:
        if method.checkpoint_format == found:
            return method
    raise CheckpointError(f"{path} is not a checkpoint of kstep_training: give the last.ckpt of a training run")


def method_of_model(path: StrPath) -> Method:
    """The method that made a checkpoint or an archive.

    Raises:
        CheckpointError: no such file, or neither of the two.
        ContractError: an archive that is refused.
    """
    if not is_archive(path):
        return method_of_checkpoint(path)
    kind = read_contract(path).kind
    for method in METHODS:
        if method.kind == kind:
            return method
    raise CheckpointError(f"{path} is a model of kind {kind!r}, which no method here trains")


def _names() -> str:
    return ", ".join(method.name for method in METHODS)
