"""From a YAML file to a checked configuration, with errors that name the file, the key and the remedy.

Configurations are subclasses of :class:`Section`. One rule holds for the paths in all of them, of inputs as of outputs:
a relative one is relative to the folder of the YAML file. :func:`load_config` applies it once, so that whoever has a
configuration has absolute paths.
"""

from __future__ import annotations

import difflib
import math
import os
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

LARGEST_INTEGER = 2**31 - 1
"""Of a configuration: what the libraries below take for counts and seeds."""
# Of pydantic's messages, those that speak of Python's types.
_IN_OTHER_WORDS = {
    "path_type": "must be a path",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
}


class ConfigError(ValueError):
    """A configuration file that cannot be used."""


class _FileOrName(str):
    """See :data:`FileOrName`; tells such a string from others until it is located."""

    __slots__ = ()


def _file_or_name(value: str | Path) -> str | Path:
    return value if isinstance(value, Path) else _FileOrName(value)


FileOrName = Annotated[str | Path, AfterValidator(_file_or_name)]
"""The path of a file, if there is one of this name beside the YAML file; else a name that something else knows."""


class Section(BaseModel):
    """A part of a configuration: immutable, without keys it does not know, and with finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _folder: Path | None = PrivateAttr(default=None)

    @classmethod
    def member(cls, content: Mapping[Any, Any]) -> type[Section]:
        """The class that a mapping is checked against: this one or, where it stands for a family, the one it names.

        Raises:
            ValueError: it names none.
        """
        return cls

    @model_validator(mode="wrap")
    @classmethod
    def _as_member(cls, content: Any, handler: ModelWrapValidatorHandler[Self]) -> Section:
        kind = cls.member(content) if isinstance(content, Mapping) else cls
        return handler(content) if kind is cls else kind.model_validate(content)

    @field_validator("*", mode="wrap")
    @classmethod
    def _numbers_in_range(cls, given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        value = handler(given)
        _refuse_truth_values(given, value)
        _check_numbers(value)
        return value

    def written(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """As JSON values, with paths relative to the YAML file's folder: the same wherever the folder is moved to.

        Args:
            exclude: fields to leave out.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in exclude}
        return {name: _written(value, self._folder) for name, value in values.items()}


Config = TypeVar("Config", bound=Section)


def load_config(path: str | os.PathLike[str], kind: type[Config]) -> Config:
    """Read and check a YAML file, and make its paths absolute.

    Args:
        path: the file.
        kind: the configuration class.

    Raises:
        ConfigError: no such file, no YAML, unknown keys (with the nearest known one), missing or wrong values, numbers
            that are not finite or too large.
    """
    file = Path(path)
    return parse_config(read_yaml(file, kind), kind, str(file), file.absolute().parent)


def parse_config(content: Mapping[Any, Any], kind: type[Config], source: str, folder: Path | None = None) -> Config:
    """Check what a YAML file contained.

    Args:
        content: the mapping in the file.
        kind: the configuration class.
        source: names the file in errors.
        folder: which relative paths are relative to, absolute; they are left as they are without.

    Raises:
        ConfigError: see :func:`load_config`.
    """
    unknown = list(_unknown_keys(content, kind, ""))
    if unknown:
        raise ConfigError(f"{source}: " + "; ".join(unknown))
    try:
        config = kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "; ".join(_described(error, content))) from error
    if folder is None:
        return config
    located: Config = _located(config, folder)
    located._folder = folder
    return located


class _UniqueKeys(yaml.SafeLoader):
    """Plain data, as of yaml.safe_load; a key that stands twice in a mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        "while reading a mapping",
                        node.start_mark,
                        f"the key {key.value!r} stands twice",
                        key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | os.PathLike[str], kind: type[Section] | None = None) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Args:
        path: the file.
        kind: whose keys an error names.

    Raises:
        ConfigError: no such file, no YAML, or no mapping in it.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file} does not exist: give the path of a YAML configuration file")
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid YAML: {error}") from error
    except (ValueError, RecursionError) as error:
        # A date that is none, for example, or an integer of thousands of digits.
        raise ConfigError(f"{file} has a value that cannot be read: {error}") from error
    if not isinstance(content, dict):
        keys = ", ".join(kind.model_fields) if kind is not None else "key: value"
        raise ConfigError(f"{file} must hold a mapping ({keys}), not {type(content).__name__}")
    return content


def _refuse_truth_values(given: Any, value: Any) -> None:
    """Python takes true for 1; whoever writes ``k: true``, or ``yes`` or ``on``, did not mean a number."""
    if isinstance(given, bool) and isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    if isinstance(given, list | tuple) and isinstance(value, list | tuple):
        for one, other in zip(given, value, strict=False):
            _refuse_truth_values(one, other)


def _check_numbers(value: Any) -> None:
    """One rule for all numbers, also those in lists and in options that are passed on."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"must be a finite number, got {value}")
    elif isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise ValueError(f"must be a whole number of at most {LARGEST_INTEGER}, got {value}")
    elif isinstance(value, Mapping):
        for item in value.values():
            _check_numbers(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_numbers(item)


def _located(value: Any, folder: Path) -> Any:
    """The value with all paths in it joined to the folder; defaults, which no validator sees, are among them."""
    if isinstance(value, Section):
        fields = type(value).model_fields
        return value.model_copy(update={name: _located(getattr(value, name), folder) for name in fields})
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, _FileOrName):
        return folder / value if (folder / value).is_file() else str(value)
    if isinstance(value, Mapping):
        return {key: _located(item, folder) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_located(item, folder) for item in value)
    return value


def _written(value: Any, folder: Path | None) -> Any:
    if isinstance(value, Section):
        return {name: _written(getattr(value, name), folder) for name in type(value).model_fields}
    if isinstance(value, Path):
        return str(value) if folder is None else os.path.relpath(value, folder)
    if isinstance(value, Mapping):
        return {str(key): _written(item, folder) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(item, folder) for item in value]
    return value


def _unknown_keys(value: Any, annotation: Any, where: str) -> Iterator[str]:
    """Descriptions of the keys that no field has, in sections, and in sections in unions, dictionaries and lists."""
    for kind in _alternatives(annotation):
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, Section):
            try:
                kind = kind.member(value)
            except ValueError as error:
                yield f"{where}: {error}"
                continue
            for key, item in value.items():
                place = f"{where}.{key}" if where else str(key)
                field = kind.model_fields.get(key)
                if field is not None:
                    yield from _unknown_keys(item, field.annotation, place)
                else:
                    near = difflib.get_close_matches(str(key), kind.model_fields, n=1, cutoff=0.5)
                    prefix = f"{where}." if where else ""
                    hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(kind.model_fields)}"
                    yield f"unknown key {place!r}, {hint}"
        elif isinstance(value, Mapping) and origin is dict:
            for key, item in value.items():
                yield from _unknown_keys(item, arguments[1], f"{where}.{key}")
        elif isinstance(value, list) and origin in (list, tuple):
            for index, item in enumerate(value):
                yield from _unknown_keys(item, arguments[0], f"{where}.{index}")


def _alternatives(annotation: Any) -> list[Any]:
    """What a field may hold; of several sections in a union none, because which one is meant depends on the value."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for part in typing.get_args(annotation) for kind in _alternatives(part)]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        return kinds if len(sections) <= 1 else [kind for kind in kinds if kind not in sections]
    return [annotation]


def _described(error: ValidationError, content: Mapping[Any, Any]) -> list[str]:
    """What is wrong, key by key; of a union one line with what its members say."""
    messages: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for item in error.errors():
        where = _place(item["loc"], content, missing=item["type"] == "missing")
        if item["type"] == "missing":
            messages.setdefault(f"{where} is missing", [])
            continue
        own = item["type"] == "value_error"
        message = _IN_OTHER_WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be", "must be")
        messages.setdefault(where, []).append(message[:1].lower() + message[1:])
        if not own and isinstance(item["input"], (str, int, float, bool, type(None))):
            given[where] = f" (got {item['input']!r})"
    return [
        f"{where or 'configuration'}: {' or '.join(dict.fromkeys(texts))}{given.get(where, '')}" if texts else where
        for where, texts in messages.items()
    ]


def _place(location: tuple[int | str, ...], content: Any, missing: bool) -> str:
    """The dotted key of an error, without pydantic's names for members of unions and the like."""
    parts: list[str] = []
    for index, part in enumerate(location):
        last = missing and index == len(location) - 1
        if isinstance(content, Mapping) and part in content:
            content = content[part]
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part] if part < len(content) else None
        elif not last:
            continue
        parts.append(str(part))
    return ".".join(parts)
