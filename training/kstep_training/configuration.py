"""From a YAML file to a checked configuration, with errors that name the file, the key and the remedy."""

from __future__ import annotations

import difflib
import os
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigurationError(ValueError):
    """A configuration file that cannot be used."""


class Section(BaseModel):
    """A part of a configuration: immutable, and without keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Configuration = TypeVar("Configuration", bound=Section)


def load_configuration(path: str | os.PathLike[str], kind: type[Configuration]) -> Configuration:
    """Read and check a YAML file.

    Raises:
        ConfigurationError: no such file, not YAML, unknown keys (with the nearest known one), missing or wrong values.
    """
    file = Path(path)
    content = read_yaml(file)
    unknown = list(_unknown_keys(content, kind, ""))
    if unknown:
        raise ConfigurationError(f"{file}: " + "; ".join(unknown))
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{file}: " + "; ".join(_described(item) for item in error.errors())) from error


def read_yaml(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigurationError: no such file, not YAML, or no mapping.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(f"{file} does not exist: give the path of a YAML configuration file")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must hold a mapping, for example 'method: potential' and 'data: ...'")
    return content


def _unknown_keys(content: Mapping[Any, Any], kind: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, value in content.items():
        if key not in kind.model_fields:
            near = difflib.get_close_matches(str(key), list(kind.model_fields), n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(kind.model_fields)}"
            yield f"unknown key {prefix}{key}, {hint}"
            continue
        annotation = kind.model_fields[key].annotation
        is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
        candidates = typing.get_args(annotation) if is_union else (annotation,)
        sections = [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        if len(sections) == 1 and isinstance(value, Mapping):
            yield from _unknown_keys(value, sections[0], f"{prefix}{key}.")


def _described(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "configuration"
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (got {error.get('input')!r})"
