"""From a YAML file to a checked configuration, with errors that name the key, the file and the remedy."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """A configuration file that cannot be used."""


class Section(BaseModel):
    """A part of a configuration: immutable, and without keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Config = TypeVar("Config", bound=Section)


def load_config(path: Path, kind: type[Config]) -> Config:
    """Read and check a YAML file.

    Args:
        path: the file.
        kind: the configuration class.

    Raises:
        ConfigError: no such file, no YAML, unknown keys (with the nearest known one), missing or wrong values.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: give the path of a YAML configuration file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping with the sections {', '.join(kind.model_fields)}")
    return parse_config(content, kind, str(path))


def parse_config(content: Mapping[str, Any], kind: type[Config], source: str) -> Config:
    """Check what a YAML file contained; ``source`` names it in errors. Raises ConfigError."""
    unknown = list(_unknown_keys(content, kind, ""))
    if unknown:
        raise ConfigError(f"{source}: " + "; ".join(unknown))
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "; ".join(_described(item) for item in error.errors())) from error


def _unknown_keys(content: Mapping[str, Any], kind: type[BaseModel], prefix: str) -> typing.Iterator[str]:
    for key, value in content.items():
        where = f"{prefix}{key}"
        if key not in kind.model_fields:
            near = difflib.get_close_matches(str(key), kind.model_fields, n=1, cutoff=0.5)
            known = ", ".join(kind.model_fields)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {known}"
            yield f"unknown key {where!r}, {hint}"
            continue
        annotation = kind.model_fields[key].annotation
        section = _section(annotation)
        if not isinstance(value, Mapping):
            continue
        if section is not None:
            yield from _unknown_keys(value, section, where + ".")
        elif typing.get_origin(annotation) is dict:
            section = _section(typing.get_args(annotation)[1])
            for name, item in value.items():
                if section is not None and isinstance(item, Mapping):
                    yield from _unknown_keys(item, section, f"{where}.{name}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section class that a field may hold, if any."""
    candidates = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    found = [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
    return found[0] if len(found) == 1 else None


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _described(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "configuration"
    if error["type"] == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}" if message else where
