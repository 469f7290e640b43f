"""Flags and a configuration file become the settings of an autoencoder; flags win. Free of torch until one is built."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isthmus.catalogue import VARIANTS, Entry, unknown
from isthmus.cli.reading import Reading
from isthmus.errors import SettingError

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

EFFORTS = ("quick", "default", "thorough")
SCALES = ("auto", "common", "columns", "range", "none")
READING = ("gaps", "header", "columns", "drop", "window", "step")


class Choices(NamedTuple):
    """What a user asked for, checked as far as it can be without data."""

    variant: str | None
    settings: dict[str, Any]
    """Keywords of Autoencoder."""
    options: dict[str, Any]
    """Keywords of the variant's own."""
    reading: Reading
    checkpoint: Path | None


def choose(config: Path | None, flags: dict[str, Any], options: Sequence[str]) -> Choices:
    """Merge the configuration file and the flags, and check every name and value."""
    written = {} if config is None else _read_config(config)
    own = {str(key): value for key, value in (written.pop("options", {}) | written.pop("option", {})).items()}
    own |= dict(_split_option(option) for option in options)
    merged = written | {name: value for name, value in flags.items() if value is not None}
    known = ("variant", "checkpoint", *READING, *_PARSERS)
    for name in merged:
        if name not in known:
            raise SettingError(f"There is no setting {name!r} (in {config}); known are options, {', '.join(known)}.")
    variant = merged.get("variant")
    entry = None if variant is None else find_variant(str(variant))
    checkpoint = merged.get("checkpoint")
    return Choices(
        None if entry is None else entry.name,
        {name: parse(name, merged[name]) for name, parse in _PARSERS.items() if name in merged},
        _own_options(entry, own),
        _reading(merged),
        None if checkpoint is None else Path(checkpoint),
    )


def build(choices: Choices) -> Autoencoder:
    """Return the unfitted autoencoder."""
    from isthmus.callbacks import Checkpoint
    from isthmus.estimator import Autoencoder
    from isthmus.variants import variant

    settings = dict(choices.settings)
    if choices.checkpoint is not None:
        settings["callbacks"] = (Checkpoint(choices.checkpoint),)
    if choices.variant is None:
        return Autoencoder(**settings)
    return variant(choices.variant, **settings, **choices.options)


def find_variant(name: str) -> Entry:
    """Return the entry of the catalogue that is called ``name``."""
    for entry in VARIANTS:
        if entry.name == name:
            return entry
    raise SettingError(unknown(name))


def _read_config(path: Path) -> dict[str, Any]:
    """Read a TOML or YAML file whose keys are the names of the flags, with _ or with -."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"The configuration {path} cannot be read ({error.strerror}); check the path.") from error
    try:
        written = _parse_config(path, text)
    except ValueError as error:  # tomllib's and yaml's errors, brought together below
        raise SettingError(f"The configuration {path} cannot be understood: {error}; mend that line.") from error
    if not isinstance(written, dict):
        raise SettingError(
            f"The configuration {path} must be a table of names and values; it is a {type(written).__name__}."
        )
    return {str(name).replace("-", "_"): value for name, value in written.items()}


def _parse_config(path: Path, text: str) -> Any:
    if path.suffix.lower() == ".toml":
        return tomllib.loads(text)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise SettingError(f"The configuration {path} must end in .toml, .yaml or .yml; rename it.")
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _split_option(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals or not name:
        raise SettingError(f"--option {option!r} is not of the form key=value; write for example --option beta=4.")
    return name.strip().replace("-", "_"), value.strip()


def _own_options(entry: Entry | None, own: dict[str, Any]) -> dict[str, Any]:
    if not own:
        return {}
    if entry is None:
        raise SettingError(f"The option {next(iter(own))!r} belongs to a variant; name it with --variant.")
    kinds = {option.name: option.kind for option in entry.options}
    parsed = {}
    for name, value in own.items():
        if name not in kinds:
            known = ", ".join(kinds) if kinds else "none"
            raise SettingError(f"The variant {entry.name!r} has no option {name!r}; its options: {known}.")
        parsed[name] = _KINDS[kinds[name]](name, value)
    return parsed


def _reading(merged: dict[str, Any]) -> Reading:
    several = {name: tuple(_listed(merged[name])) for name in ("gaps", "columns", "drop") if name in merged}
    single = {name: merged[name] for name in ("header", "step") if name in merged}
    if merged.get("window") is not None:
        single["window"] = _whole("window", merged["window"])
    return Reading(**several, **single)


def _listed(value: Any) -> list[str]:
    """Return names given as a list, or as one text with commas between them."""
    texts = [value] if isinstance(value, str) else [str(item) for item in value]
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _whole(name: str, value: Any) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise SettingError(f"{name}={value!r} must be a whole number.") from error


def _size(name: str, value: Any) -> Any:
    return value if str(value).endswith("x") else _whole(name, value)  # "2x": twice the numbers of a sample


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name}={value!r} must be a number.") from error


def _auto_or(parse: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def parse_setting(name: str, value: Any) -> Any:
        if value == "auto":
            return "auto"
        try:
            return parse(name, value)
        except SettingError as error:
            raise SettingError(f"{str(error).rstrip('.')}, or 'auto'.") from error

    return parse_setting


def _one_of(*known: str) -> Callable[[str, Any], str]:
    def parse_choice(name: str, value: Any) -> str:
        if value not in known:
            raise SettingError(f"{name}={value!r} is not known; choose one of {', '.join(known)}.")
        return value

    return parse_choice


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"{name}={value!r} must be true or false.")
    return value


def _text(name: str, value: Any) -> str:
    return str(value)


def _wholes(name: str, value: Any) -> Any:
    if value == "auto":
        return value
    return tuple(_whole(name, item) for item in (_listed(value) if isinstance(value, (str, list)) else [value]))


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    return tuple(_number(name, item) for item in (_listed(value) if isinstance(value, (str, list)) else [value]))


def _yes_or_no(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("true", "false"):
        raise SettingError(f"{name}={value!r} must be true or false.")
    return str(value).lower() == "true"


def _names(name: str, value: Any) -> tuple[str, ...]:
    return tuple(_listed(value))


_KINDS: dict[str, Callable[[str, Any], Any]] = {
    "int": _auto_or(_whole),
    "float": _number,
    "str": _text,
    "ints": _wholes,
    "floats": _numbers,
    "bool": _yes_or_no,
}
_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "latent_dim": _auto_or(_size),
    "network": _text,
    "bottleneck": _text,
    "reconstruction": _text,
    "effort": _one_of(*EFFORTS),
    "max_epochs": _whole,
    "batch_size": _auto_or(_whole),
    "learning_rate": _auto_or(_number),
    "early_stopping": _switch,
    "validation_fraction": _number,
    "condition": _names,
    "sampler": _text,
    "design": _text,
    "scale": _one_of(*SCALES),
    "shortcut": _auto_or(_switch),
    "weight_decay": _number,
    "device": _text,
    "random_state": _whole,
}
