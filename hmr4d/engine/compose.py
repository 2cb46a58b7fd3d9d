"""Composition of a resolved configuration from command-line overrides."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hmr4d.engine.overrides import OverrideError, check_overrides, search_words
from hmr4d.engine.published_names import map_targets, translate_overrides
from hmr4d.methods.registry import outside_methods
from hmr4d.utils.files import write_text
from hmr4d.utils.places import PACKAGE_FOLDER, find_input, shipped_folder

CONFIG_FOLDER = shipped_folder("configs")
TRUSTED_PACKAGES = ("hmr4d", "torch", "pytorch_lightning")
# ${package_file:<path inside hmr4d>}: packaged data, independent of the working folder.
OmegaConf.register_new_resolver("package_file", lambda path: str(PACKAGE_FOLDER / path), replace=True)
# ${find_input:<path>,${paths.inputs}}: an input of the user's folder or, if missing there, a packaged input.
OmegaConf.register_new_resolver("find_input", lambda path, inputs: str(find_input(path, inputs)), replace=True)


def store_entry(folder: str, key: str, fallback: Any) -> Any:
    """An entry of a motion store's store.json; the fallback if store or entry does not exist."""
    path = Path(folder) / "store.json"
    return json.loads(path.read_text(encoding="utf-8")).get(key, fallback) if path.is_file() else fallback


def store_file(folder: str, name: str, fallback: Any) -> Any:
    """The path of a file in a motion store; the fallback if it does not exist."""
    path = Path(folder) / name
    return str(path) if path.is_file() else fallback


def training_precision(accelerator: str, task: str) -> str:
    """As `hmr4d.utils.precision.training_precision` for the task "fit", float32 for others.

    It imports torch only for the configurations that ask.
    """
    if task != "fit":
        return "32-true"
    from hmr4d.utils import precision

    return precision.training_precision(accelerator)


# ${store:<folder>,<key>,<fallback>} and ${store_file:<folder>,<name>,<fallback>}: an entry of the store overrides the
# configuration of the data set.
OmegaConf.register_new_resolver("store", store_entry, replace=True)
OmegaConf.register_new_resolver("store_file", store_file, replace=True)
# ${limited:<limit>,<small>,<usual>}: `small` for tasks with a limited number of clips, otherwise `usual`.
OmegaConf.register_new_resolver("limited", lambda limit, small, usual: usual if limit is None else small, replace=True)
# ${training_precision:<accelerator>,<task>}: mixed bfloat16 in trainings where the hardware has instructions for it.
OmegaConf.register_new_resolver("training_precision", training_precision, replace=True)


def compose_config(overrides: list[str], root: str = "train") -> DictConfig:
    """Composes the configuration of `hmr4d train` with `overrides`, without starting a run.

    `root` is the name of the start file in `configs/`.

    Published names of options and classes are translated, see `hmr4d.engine.published_names`.

    Raises:
        OverrideError: an override is invalid for the configuration.
    """
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose_words(translate_overrides(overrides), root)


def compose_words(words: list[str], root: str, folders: Sequence[Path] = ()) -> DictConfig:
    """Composes the configuration of overrides without published names; see `compose_config`.

    Hydra must be initialized. `folders` contain additional configurations.
    """
    try:
        return map_targets(compose(root, overrides=[*words, *search_words(folders)]))
    except HydraException as error:
        check_overrides(words, root, folders=folders)
        raise OverrideError(str(error).splitlines()[0]) from error


def save_config(cfg: DictConfig, folder: str | Path) -> Path:
    """Writes the resolved configuration to `folder/config.yaml`."""
    path = Path(folder) / "config.yaml"
    write_text(path, OmegaConf.to_yaml(cfg, resolve=True))
    return path


def load_config(path: str | Path) -> DictConfig:
    """The saved configuration of a run, with class paths of earlier versions replaced by current ones.

    Raises:
        ValueError: the file contains no mapping of options.
    """
    cfg = OmegaConf.load(path)
    if not isinstance(cfg, DictConfig):
        raise ValueError(f"{path} is not the configuration of a run: it contains a list instead of named options.")
    return map_targets(cfg)


def check_targets(cfg: DictConfig) -> None:
    """Checks every `_target_` of a configuration from an external file before anything is built.

    Allowed are classes of hmr4d, torch, pytorch_lightning and the packages of installed methods, and the targets of
    files in `configs/`. Other functions are rejected, because packages contain functions that write files or run code.

    Args:
        cfg: node to instantiate.

    Raises:
        ValueError: a target is not allowed; the message lists all of them.
    """
    named = set(targets_of(OmegaConf.to_container(cfg, resolve=True)))
    wrong = sorted(target for target in named - shipped_targets() if not _is_known_class(target))
    if wrong:
        raise ValueError(
            f"The configuration has the targets {', '.join(wrong)}; a configuration file of a run may only name "
            f"classes of {', '.join(trusted_packages())} and targets of configs/. If you trust the file, name an "
            "experiment instead."
        )


def trusted_packages() -> tuple[str, ...]:
    """Packages whose classes a configuration file may name, including those of installed methods."""
    return (*TRUSTED_PACKAGES, *(type(method).__module__.split(".")[0] for method in outside_methods()))


def targets_of(node: Any) -> Iterator[str]:
    """Every `_target_` below a node of plain dicts and lists."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from targets_of(value)


@lru_cache(maxsize=1)
def shipped_targets() -> frozenset[str]:
    """The targets of all files in `configs/`."""
    files = sorted(CONFIG_FOLDER.rglob("*.yaml"))
    return frozenset(t for path in files for t in targets_of(yaml.safe_load(path.read_text(encoding="utf-8"))))


def _is_known_class(target: str) -> bool:
    """Whether a dotted path is a class that is defined in a trusted package."""
    module, _, name = target.rpartition(".")
    trusted = trusted_packages()
    if module.split(".")[0] not in trusted:
        return False
    try:
        target_class = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(target_class, type) and target_class.__module__.split(".")[0] in trusted


def listed(group: Any) -> list[Any]:
    """The non-null values of a configuration group such as callbacks or loggers."""
    return [value for value in (group or {}).values() if value is not None]
