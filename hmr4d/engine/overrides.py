"""Checks of configuration overrides before heavy imports, with error messages that suggest corrections.

Hydra's own messages name the file that it searched for. The messages here name the given override, the expected value
and the most similar existing names.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmr4d.engine.choices import choices, config_folders
from hmr4d.engine.moved_names import RENAMED_CHOICES

SEVERAL_KINDS = ("trainer.devices", "trainer.precision")  # numbers that may also be text: auto, 16-mixed
LEAST: dict[str, float] = {  # smallest value, by the last part of a name
    "batch_size": 1,
    "test_batch_size": 1,
    "num_workers": 0,
    "max_steps": -1,
    "max_epochs": -1,
    "seed": 0,
    "num_inference_steps": 1,
    "num_samples": 1,
    "replications": 1,
    "limit": 1,
    "lr": 0.0,
    "final_lr": 0.0,
    "warmup_steps": 0,
    "decay_steps": 1,
    "seconds": 0.1,
    "gradient_clip_val": 0.0,
    "num_layers": 1,
    "num_heads": 1,
}
MOST: dict[str, float] = {"final_lr": 1.0}  # largest value, likewise
NUM_NEAR = 3
_MAY_BE_ABSENT = ("callbacks", "logger", "global")  # groups without which every task runs


class OverrideError(ValueError):
    """Invalid override; the message is one sentence."""


def check_overrides(words: Sequence[str], root: str, *, folders: Sequence[Path] = (), is_sweep: bool = False) -> None:
    """Checks overrides without published names against their configuration. Hydra must be initialized.

    Args:
        words: overrides, such as "exp=evaluator/matching", "optimizer.lr=1e-4", "+global/append=amp16".
        root: name of the start file in `configs/`.
        folders: additional folders of configurations.
        is_sweep: whether an override may have several values, as in `seed=1,2`.

    Raises:
        OverrideError: an override is invalid; the message describes the first one.
    """
    overrides = [_parse(word, is_sweep) for word in words]
    every = config_folders(folders)
    chosen = [o for o in overrides if any((folder / o.key_or_group).is_dir() for folder in every)]
    for override in chosen:
        _check_choice(override, every)
    if root == "train" and not any(o.key_or_group == "exp" for o in chosen):
        raise OverrideError(f"No experiment is chosen. Give exp=<name>; known: {', '.join(choices('exp', every))}.")
    try:
        plain = compose(root, overrides=[*(_one_of(o) for o in chosen), *search_words(folders)])
    except HydraException as error:
        raise OverrideError(_message(error, chosen)) from error
    for override in overrides:
        if override not in chosen and not override.key_or_group.startswith("hydra"):
            _check_setting(override, plain)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The values of a configuration with resolved references. Raises OverrideError if a reference has no target."""
    try:
        return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise OverrideError(f"{str(error).splitlines()[0]}, which {error.full_key} refers to.") from error


def search_words(folders: Sequence[Path] = ()) -> list[str]:
    """The override that adds configurations of external methods and additional folders to Hydra's search path."""
    more = [f"file://{folder}" for folder in config_folders(folders)[1:]]
    return [f"hydra.searchpath=[{','.join(more)}]"] if more else []


def _parse(word: str, is_sweep: bool) -> Override:
    """The parsed override. Raises OverrideError if it does not have the form key=value."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise OverrideError(
            f"'{word}' is not an override. Write key=value, and quote a value with spaces, commas or brackets: "
            "'prompts=[\"a person walks, then sits\"]'."
        ) from error
    if override.is_sweep_override() and not is_sweep:
        key = override.key_or_group
        raise OverrideError(
            f"'{word}' has several values. Write a list as {key}=[...], quote commas in text, or run all values one "
            "after the other with --multirun."
        )
    return override


def _values(override: Override) -> list[Any]:
    """The value of an override, or the values of a sweep."""
    if not override.is_sweep_override():
        return [override.value()]
    sweep = override.value()
    if not isinstance(sweep, ChoiceSweep):
        return []
    return [value.text if isinstance(value, QuotedString) else value for value in sweep.list]


def _one_of(override: Override) -> str:
    """An override as text, with the first of several values."""
    if override.is_sweep_override() and override.is_discrete_sweep():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    return str(override.input_line)


def _check_choice(override: Override, folders: Sequence[Path]) -> None:
    """Raises OverrideError if a group has no such file."""
    group = override.key_or_group
    known = choices(group, folders)
    if override.is_delete() and group.partition("/")[0] not in _MAY_BE_ABSENT:
        raise OverrideError(
            f"'{override.input_line}': the group '{group}' cannot be removed. Choose {group}=<name>; known: "
            f"{', '.join(known)}."
        )
    for value in _values(override):
        for name in value if isinstance(value, list) else [value]:
            if name is not None and str(name) not in known and "${" not in str(name):
                if (word := f"{group}={name}") in RENAMED_CHOICES:
                    raise OverrideError(f"{word} was renamed: use {RENAMED_CHOICES[word]}.")
                what = "experiment" if group == "exp" else f"choice of '{group}'"
                raise OverrideError(
                    f"{group}={name}: unknown {what}. Known, most similar first: "
                    f"{', '.join(by_likeness(str(name), known))}."
                )


def by_likeness(name: str, known: Sequence[str]) -> list[str]:
    """Known names sorted by their similarity to a name, as a whole or in the last part."""

    def likeness(other: str) -> float:
        parts = (re.split(r"[./]", word)[-1] for word in (name, other))
        return max(_ratio(name, other), 0.9 * _ratio(*parts))

    return sorted(known, key=likeness, reverse=True)


def _ratio(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first.lower(), second.lower()).ratio()


def check_output_folder(folder: str | Path) -> None:
    """OverrideError if a folder of results can neither be written to nor be made."""
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise OverrideError(f"output_dir={folder}: {place} is no folder that can be written to. Choose another.")


def _check_setting(override: Override, plain: DictConfig) -> None:
    """Raises OverrideError if the configuration has no such setting, or if the value has the wrong type."""
    key = override.key_or_group
    settings = OmegaConf.to_container(plain, resolve=False)
    is_there = override.is_add() and OmegaConf.select(plain, key, throw_on_missing=False) is not None
    if is_there and not any(isinstance(value, (dict, list)) for value in _values(override)):
        raise OverrideError(f"'{override.input_line}': '{key}' exists already. Write it without +.")
    if override.is_add() or override.is_force_add():
        return
    for part in key.split("."):
        if isinstance(settings, str) and "${" in settings:  # an unresolved reference
            return
        if isinstance(settings, list):
            return
        if not isinstance(settings, dict) or part not in settings:
            if (group := key.partition(".")[0]) in RENAMED_CHOICES:
                raise OverrideError(f"'{override.input_line}': {group} was renamed: use {RENAMED_CHOICES[group]}.")
            near = by_likeness(key, _names(plain))[:NUM_NEAR]
            raise OverrideError(
                f"'{override.input_line}': unknown setting '{key}'. Most similar: {', '.join(near)}. To add a new "
                f"setting, write +{key}=..."
            )
        settings = settings[part]
    if not override.is_delete():
        for value in _values(override):
            _check_value(key, value, settings)


def _names(plain: DictConfig) -> list[str]:
    """Dotted names of all settings of a configuration, and its groups of settings."""

    def below(node: Any, place: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, child in node.items():
                here = f"{place}.{key}" if place else str(key)
                yield here
                yield from below(child, here)

    return [name for name in below(OmegaConf.to_container(plain, resolve=False), "") if "_target_" not in name]


def _check_value(key: str, value: Any, default: Any) -> None:
    """Raises OverrideError if a value has another type than the one it replaces, or is too small or too large."""
    if value is None or (isinstance(value, str) and "${" in value):
        return
    if default is None:
        _check_range(key, value)
        return
    wanted = None
    if isinstance(default, bool):
        wanted = None if isinstance(value, bool) else "true or false"
    elif isinstance(default, (int, float)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        wanted = None if is_number or isinstance(value, list) or key in SEVERAL_KINDS else "a number"
    elif isinstance(default, list):
        wanted = None if isinstance(value, (list, str)) else "a list in [brackets]"
    elif isinstance(default, dict):
        wanted = None if isinstance(value, dict) else f"a setting below it, such as {key}.{next(iter(default), '...')}"
    if wanted is not None:
        shown = "" if isinstance(default, dict) else f"; the default is {_shown(default)}"
        raise OverrideError(f"{key}={_shown(value)}: expected {wanted}{shown}.")
    _check_range(key, value)


def _check_range(key: str, value: Any) -> None:
    """Raises OverrideError if a number, or one of a list, is too small, too large, not finite, or no integer."""
    name = key.rpartition(".")[2]
    least, most = LEAST.get(name), MOST.get(name, math.inf)
    for number in value if isinstance(value, list) else [value]:
        if least is None or not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        if not least <= number <= most or math.isinf(number):
            wanted = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
            raise OverrideError(f"{key}={number}: expected {wanted}.")
        if isinstance(least, int) and number != int(number):
            raise OverrideError(f"{key}={number}: expected an integer.")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _message(error: HydraException, chosen: Sequence[Override]) -> str:
    """Hydra's error about groups, as a message that names the override."""
    match = re.search(r"Could not override '([^']+)'", str(error))
    for override in chosen:
        if match and override.key_or_group == match[1].split("@")[0]:
            return (
                f"'{override.input_line}': this experiment does not use the group '{override.key_or_group}'. "
                "Remove it, or choose an experiment that uses it."
            )
    return str(error).splitlines()[0]
