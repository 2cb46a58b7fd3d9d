"""How a method says what its published release calls options and classes, and what they are called here.

A method whose release is published has a module `published_names` beside its module `method`, with a `PublishedNames`
called PUBLISHED. `registry.published_names` finds them and does not import the methods. This module imports nothing
heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Translate = Callable[[str], list[str]]


class PublishedNameError(ValueError):
    """A published name without a counterpart."""


def as_key(*keys: str) -> Translate:
    """The value goes to other keys as it is."""
    return lambda value: [f"{key}={value}" for key in keys]


def switch(key: str, *, on: str, off: str) -> Translate:
    """A published True or False becomes one of two values; sweeps over both work."""

    def translate(value: str) -> list[str]:
        words = {"true": on, "false": off}
        parts = [part.strip().lower() for part in value.split(",")]
        if not all(part in words for part in parts):
            raise PublishedNameError(f"'{value}' is neither True nor False")
        return [f"{key}={','.join(words[part] for part in parts)}"]

    return translate


def only(wanted: str, reason: str) -> Translate:
    """A switch that has one position here, so that setting it says nothing; the other is refused."""

    def translate(value: str) -> list[str]:
        if value.strip().lower() != wanted:
            raise PublishedNameError(reason)
        return []

    return translate


def as_list(key: str) -> Translate:
    """One string or a list of strings becomes a list; null becomes an empty one."""

    def translate(value: str) -> list[str]:
        if value.strip().lower() in ("null", "none", ""):
            value = "[]"
        return [f"{key}={value if value.strip().startswith('[') else f'[{value}]'}"]

    return translate


def refused(reason: str) -> Translate:
    """No counterpart."""

    def refuse(value: str) -> list[str]:
        raise PublishedNameError(reason)

    return refuse


@dataclass(frozen=True)
class PublishedNames:
    """Names of one published release.

    Attributes:
        keys: published option -> how `option=value` is said here.
        prefixes: published beginning of options -> ours; what follows stays.
        groups: (group, choice) of the published configuration -> how it is said here.
        parts: beginnings of published options; one of them that `keys` lacks is refused rather than handed to Hydra.
        first: published options whose words come before all others, so that more exact ones win.
        targets: published class -> ours.
        packages: packages of the release that do not exist here; a path into them is a published name.
    """

    keys: Mapping[str, Translate] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[tuple[str, str], Translate] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
