"""Tables that translate option and class names of a method's published release.

A method with a published release has a module `published_names` next to its module `method`, with a `PublishedNames`
named PUBLISHED. `registry.published_names` collects them without importing the methods. This module has only light
imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Translate = Callable[[str], list[str]]


class PublishedNameError(ValueError):
    """A published name without a counterpart."""


def as_key(*keys: str) -> Translate:
    """Assigns the unchanged value to other keys."""
    return lambda value: [f"{key}={value}" for key in keys]


def switch(key: str, *, on: str, off: str) -> Translate:
    """Translates a published True or False to one of two values; also in sweeps."""

    def translate(value: str) -> list[str]:
        words = {"true": on, "false": off}
        parts = [part.strip().lower() for part in value.split(",")]
        if not all(part in words for part in parts):
            raise PublishedNameError(f"'{value}' is neither True nor False")
        return [f"{key}={','.join(words[part] for part in parts)}"]

    return translate


def only(wanted: str, reason: str) -> Translate:
    """A published switch of which hmr4d supports one value; that value is dropped, the other is rejected."""

    def translate(value: str) -> list[str]:
        if value.strip().lower() != wanted:
            raise PublishedNameError(reason)
        return []

    return translate


def as_list(key: str) -> Translate:
    """Translates one string or a list of strings to a list, and null to an empty list."""

    def translate(value: str) -> list[str]:
        if value.strip().lower() in ("null", "none", ""):
            value = "[]"
        return [f"{key}={value if value.strip().startswith('[') else f'[{value}]'}"]

    return translate


def refused(reason: str) -> Translate:
    """Rejects an option without a counterpart."""

    def refuse(value: str) -> list[str]:
        raise PublishedNameError(reason)

    return refuse


@dataclass(frozen=True)
class PublishedNames:
    """Names of one published release.

    Attributes:
        keys: published option -> translation of `option=value`.
        prefixes: published prefix of options -> prefix in hmr4d; the rest is kept.
        groups: (group, choice) of the published configuration -> its translation.
        parts: prefixes of published options; an option with such a prefix that `keys` lacks is rejected and not passed
            to Hydra.
        first: published options that are placed before all others, so that more specific options override them.
        targets: published class -> class in hmr4d.
        packages: packages of the release that do not exist in hmr4d; a path in them is a published name.
    """

    keys: Mapping[str, Translate] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[tuple[str, str], Translate] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
