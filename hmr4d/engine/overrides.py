"""Overrides of a configuration, checked before heavy imports, with error messages that suggest corrections.

Hydra's own messages name the file it looked for; these name the word that was typed, what was expected, and the nearest
names that exist.
"""

from __future__ import annotations

import difflib
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

SEVERAL_KINDS = ("trainer.devices", "trainer.precision")  # numbers that may be words too: auto, 16-mixed
LEAST: dict[str, float] = {  # by the last part of a name
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
}
NUM_NEAR = 3


class OverrideError(ValueError):
    """An override that the configuration cannot take, in one sentence."""


def check_overrides(words: Sequence[str], root: str, *, folders: Sequence[Path] = (), is_sweep: bool = False) -> None:
    """Checks overrides in our own names against the configuration that they are for. Hydra must be initialized.

    Args:
        words: such as "exp=motion2to3/finetune_mv", "optimizer.lr=1e-4", "+global/append=amp16".
        root: file under `configs/` that the configuration starts from.
        folders: further folders of configurations.
        is_sweep: a word may have several values, as `seed=1,2`.

    Raises:
        OverrideError: the first word that is wrong.
    """
    overrides = [_parse(word, is_sweep) for word in words]
    every = config_folders(folders)
    chosen = [o for o in overrides if any((folder / o.key_or_group).is_dir() for folder in every)]
    for override in chosen:
        _check_choice(override, every)
    if root == "train" and not any(o.key_or_group == "exp" for o in chosen):
        raise OverrideError(f"No experiment is chosen. Give exp=<name>; there are: {', '.join(choices('exp', every))}.")
    try:
        plain = compose(root, overrides=[*(_one_of(o) for o in chosen), *search_words(folders)])
    except HydraException as error:
        raise OverrideError(_told(error, chosen)) from error
    for override in overrides:
        if override not in chosen and not override.key_or_group.startswith("hydra"):
            _check_setting(override, plain)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The values of a configuration with references followed; OverrideError names one that leads nowhere."""
    try:
        return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise OverrideError(f"{str(error).splitlines()[0]}, which {error.full_key} asks for.") from error


def search_words(folders: Sequence[Path] = ()) -> list[str]:
    """The override that makes Hydra look for configurations of outside methods and in further folders too."""
    more = [f"file://{folder}" for folder in config_folders(folders)[1:]]
    return [f"hydra.searchpath=[{','.join(more)}]"] if more else []


def _parse(word: str, is_sweep: bool) -> Override:
    """A parsed override; OverrideError if it is not of the form key=value."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise OverrideError(
            f"'{word}' is no override. Write key=value, and put quotes around a value with spaces, commas or brackets: "
            "'prompts=[\"a person walks, then sits\"]'."
        ) from error
    if override.is_sweep_override() and not is_sweep:
        key = override.key_or_group
        raise OverrideError(
            f"'{word}' has several values. Write a list as {key}=[...], quote a comma that belongs to a text, or run "
            "one value after the other with --multirun."
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
    """OverrideError when a group has no such file."""
    group = override.key_or_group
    known = choices(group, folders)
    for value in _values(override):
        for name in value if isinstance(value, list) else [value]:
            if name is not None and str(name) not in known and "${" not in str(name):
                if (word := f"{group}={name}") in RENAMED_CHOICES:
                    raise OverrideError(f"{word} has another name now: {RENAMED_CHOICES[word]}.")
                what = "experiment" if group == "exp" else f"choice of '{group}'"
                raise OverrideError(
                    f"{group}={name}: there is no such {what}. There are, the nearest first: "
                    f"{', '.join(by_likeness(str(name), known))}."
                )


def by_likeness(name: str, known: Sequence[str]) -> list[str]:
    """Names, those first that a name may be a misspelling of: as a whole, or in its last part."""

    def likeness(other: str) -> float:
        parts = (re.split(r"[./]", word)[-1] for word in (name, other))
        return max(_ratio(name, other), 0.9 * _ratio(*parts))

    return sorted(known, key=likeness, reverse=True)


def _ratio(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first.lower(), second.lower()).ratio()


def _check_setting(override: Override, plain: DictConfig) -> None:
    """OverrideError when the configuration has no such setting, or one of another kind."""
    key = override.key_or_group
    settings = OmegaConf.to_container(plain, resolve=False)
    if override.is_add() or override.is_force_add():
        return
    for part in key.split("."):
        if isinstance(settings, str) and "${" in settings:  # what it stands for is not known here
            return
        if isinstance(settings, list):
            return
        if not isinstance(settings, dict) or part not in settings:
            if (group := key.partition(".")[0]) in RENAMED_CHOICES:
                raise OverrideError(f"'{override.input_line}': {group} has another name now: {RENAMED_CHOICES[group]}.")
            near = by_likeness(key, _names(plain))[:NUM_NEAR]
            raise OverrideError(
                f"'{override.input_line}': there is no setting '{key}'. The nearest are {', '.join(near)}; "
                f"+{key}=... adds one of this name."
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
    """OverrideError when a value is of another kind than the one it replaces, or too small."""
    if value is None or default is None or (isinstance(value, str) and "${" in value):
        return
    wanted = None
    if isinstance(default, bool):
        wanted = None if isinstance(value, bool) else "true or false is"
    elif isinstance(default, (int, float)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        wanted = None if is_number or isinstance(value, list) or key in SEVERAL_KINDS else "a number is"
    elif isinstance(default, list):
        wanted = None if isinstance(value, (list, str)) else "a list in [brackets] is"
    elif isinstance(default, dict):
        wanted = (
            None if isinstance(value, dict) else f"settings below it, such as {key}.{next(iter(default), '...')}, are"
        )
    if wanted is not None:
        shown = "" if isinstance(default, dict) else f"; without this it is {_shown(default)}"
        raise OverrideError(f"{key}={_shown(value)}: {wanted} expected{shown}.")
    least = LEAST.get(key.rpartition(".")[2])
    if least is not None and isinstance(value, (int, float)):
        if value < least:
            raise OverrideError(f"{key}={value}: at least {least:g} is expected.")
        if isinstance(least, int) and value != int(value):
            raise OverrideError(f"{key}={value}: a whole number is expected.")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(error: HydraException, chosen: Sequence[Override]) -> str:
    """Hydra's error about groups, as a message that names the override."""
    found = re.search(r"Could not override '([^']+)'", str(error))
    for override in chosen:
        if found and override.key_or_group == found[1].split("@")[0]:
            return (
                f"'{override.input_line}': this experiment does not use the group '{override.key_or_group}'. "
                "Leave it out, or choose an experiment that uses it."
            )
    return str(error).splitlines()[0]
