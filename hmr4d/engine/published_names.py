"""Translation of published names on the command line and in configurations to names of hmr4d.

`translate_overrides` translates the words of a command line, `map_targets` a composed configuration. Each method lists
its published names, see `hmr4d.methods.published_names`. A published name without a counterpart is an error with a
reason and is never ignored.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from omegaconf import DictConfig, ListConfig

from hmr4d.engine.moved_names import current_target
from hmr4d.methods.published_names import PublishedNameError, PublishedNames
from hmr4d.methods.registry import published_names

_APPEND = "global/append="


def translate_overrides(words: Sequence[str]) -> list[str]:
    """Command-line words with published names translated; other words are unchanged.

    Args:
        words: words such as `pl_trainer.devices=2`, `exp=mas/video_motion2d_nr/mdm`, `--cfg`.

    Raises:
        PublishedNameError: published names have no counterpart; the message lists them with reasons.
    """
    translated: list[str] = []
    problems: list[str] = []
    releases = published_names()
    first = {key for names in releases for key in names.first}
    for word in sorted(words, key=lambda word: word.partition("=")[0] not in first):
        try:
            translated += _translate_word(word, releases)
        except PublishedNameError as error:
            problems.append(f"{word}: {error}.")
    if problems:
        raise PublishedNameError(" ".join(problems) + " See docs/published_commands.md.")
    return _merge_additions(translated)


def _merge_additions(words: list[str]) -> list[str]:
    """Merges several `global/append=` words into one, because Hydra would use only the last."""
    values = [word.removeprefix(_APPEND) for word in words if word.startswith(_APPEND)]
    if len(values) < 2:
        return words
    if sweeps := [value for value in values if "," in value and not value.startswith("[")]:
        raise PublishedNameError(f"{_APPEND}{sweeps[0]} is a sweep; write names that apply together in brackets.")
    names = dict.fromkeys(name for value in values for name in _names_in(value))
    first = next(number for number, word in enumerate(words) if word.startswith(_APPEND))
    rest = [word for word in words[first:] if not word.startswith(_APPEND)]
    return [*words[:first], f"{_APPEND}[{','.join(names)}]", *rest]


def _names_in(value: str) -> list[str]:
    """The names in `a`, `[a, b]` or null."""
    names = [name.strip() for name in value.strip().removeprefix("[").removesuffix("]").split(",")]
    return [name for name in names if name not in ("", "null")]


def _translate_word(word: str, releases: Sequence[PublishedNames]) -> list[str]:
    sign = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(sign) :].partition("=")
    if not equals or word.startswith("-"):
        return [word]
    chosen = [(key, name) for name in _names_in(value)] if f"{key}=" == _APPEND else [(key, value)]
    for names in releases:
        for choice in chosen:
            if choice in names.groups:
                return names.groups[choice](choice[1])
        if key in names.keys:
            return names.keys[key](value)
        for published, ours in names.prefixes.items():
            if key.startswith(published):
                return [f"{sign}{ours}{key.removeprefix(published)}={value}"]
    if any(key.startswith(names.parts) for names in releases):
        raise PublishedNameError("this published option has no counterpart")
    if f"{key}=" == _APPEND:
        return [f"{key}={value}"]  # the group is in the defaults list, where Hydra allows no plus
    return [word]


def map_targets(cfg: DictConfig) -> DictConfig:
    """A copy of a composed configuration with published and earlier class paths replaced by current ones.

    Raises:
        PublishedNameError: a published class has no counterpart; the message names its key in the configuration.
    """
    mapped = copy.deepcopy(cfg)
    _map_node(mapped, "", published_names())
    return mapped


def _map_node(node: DictConfig | ListConfig, place: str, releases: Sequence[PublishedNames]) -> None:
    # Raw access: interpolations are not resolved, because their targets are visited separately.
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        child = node._get_node(key)
        here = f"{place}.{key}" if place else str(key)
        if isinstance(child, (DictConfig, ListConfig)):
            if not (child._is_none() or child._is_missing() or child._is_interpolation()):
                _map_node(child, here, releases)
        elif key == "_target_":
            node[key] = _map_target(str(child._value()), place, releases)  # type: ignore[union-attr]


def _map_target(target: str, place: str, releases: Sequence[PublishedNames]) -> str:
    for names in releases:
        if target in names.targets:
            return names.targets[target]
        if target.startswith(names.packages):
            raise PublishedNameError(
                f"{place or 'the configuration'} has the target {target}: this published class has no counterpart."
            )
    return current_target(target)
