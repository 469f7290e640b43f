"""A part: a dataclass of hyper-parameters plus mathematics. It holds no weights; those live in the Model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Self

from isthmus.errors import ModelFileError, SettingError


class Part:
    """What every part shares: parameters by name (so that clone and grid search work) and a JSON form.

    A subclass is a dataclass; its fields are its parameters. Parts know each other by class name, so a saved model finds
    the class of a part that its user has defined and imported.
    """

    registry: ClassVar[dict[str, type[Part]]] = {}
    before: ClassVar[dict[str, Any]] = {}
    """What a parameter was while nobody could say it: models saved then do not name it, and its default has changed since."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = Part.registry.get(cls.__name__)
        if known is not None and known.__module__ != cls.__module__:
            raise TypeError(
                f"{known.__module__} has a part named {cls.__name__} already; saved models know parts by name."
            )
        Part.registry[cls.__name__] = cls

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn's estimators do."""
        assert is_dataclass(self), f"{type(self).__name__} must be a dataclass"
        params = {field.name: getattr(self, field.name) for field in fields(self)}
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, Part):
                    params |= {f"{name}__{key}": inner for key, inner in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``inner__name`` reaches into a nested part."""
        known = self.get_params(deep=False)
        for name, value in params.items():
            own, _, inner = name.partition("__")
            if own not in known:
                raise SettingError(
                    f"{type(self).__name__} has no parameter {own!r}; it has {', '.join(sorted(known))}."
                )
            if inner:
                known[own].set_params(**{inner: value})
            else:
                setattr(self, own, value)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON from which :func:`part_from_json` rebuilds an equal part."""
        return {"part": type(self).__name__} | {
            key: to_json(value) for key, value in self.get_params(deep=False).items()
        }


def to_json(value: Any) -> Any:
    """Return ``value`` as plain JSON; parts become ``{"part": name, ...}``."""
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "item"):  # a numpy scalar from a parameter grid
        return value.item()
    raise SettingError(
        f"A {type(value).__name__} cannot be saved as a setting; use numbers, strings, parts or lists of them."
    )


def from_json(value: Any, *, is_saved: bool = False) -> Any:
    """Rebuild what :func:`to_json` wrote; lists come back as tuples. With ``is_saved`` it may be of an earlier version."""
    if isinstance(value, Mapping):
        name = value.get("part")
        if name not in Part.registry:
            raise ModelFileError(
                f"The model uses a part named {name!r}, which is not defined here; import its module, then load."
            )
        given = {key: from_json(inner, is_saved=is_saved) for key, inner in value.items() if key != "part"}
        known = Part.registry[name]
        return known(**(known.before | given if is_saved else given))
    if isinstance(value, list):
        return tuple(from_json(item, is_saved=is_saved) for item in value)
    return value
