"""Finds methods by name, by the format of a release folder, or by the pipeline of a configuration.

A method inside the repository is a folder `hmr4d/methods/<name>` with a module `method` that contains `METHOD`. A
folder with several methods lists their names in `METHODS` of its package; `method.METHODS` maps these names to the
methods. A method outside the repository is declared by an entry point of the group `hmr4d.methods` with the name of the
method, or by a call of `register`. Methods are imported on first use; this module has only light imports.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hmr4d.methods.defaults import FORMAT_PREFIX
from hmr4d.methods.published_names import PublishedNames

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

    from hmr4d.methods.base import Capability, Method, Pipeline

logger = logging.getLogger(__name__)
GROUP = "hmr4d.methods"
_FOLDER = Path(__file__).parent
_registered: dict[str, Method] = {}


@cache
def _packages() -> Mapping[str, str]:
    """The package of each method inside the repository, by the name of the method."""
    folders = sorted(path.parent.name for path in _FOLDER.glob("*/method.py"))
    packages = {folder: importlib.import_module(f"{GROUP}.{folder}") for folder in folders}
    return {name: package.__name__ for f, package in packages.items() for name in getattr(package, "METHODS", (f,))}


def built_in() -> tuple[str, ...]:
    """Names of the methods inside the repository."""
    return tuple(sorted(_packages()))


def check_current_name(name: str) -> None:
    """Raises ValueError for the earlier name of a method, with the current one; see `EARLIER_NAMES` of its package."""
    for package in _packages().values():
        if now := getattr(sys.modules[package], "EARLIER_NAMES", {}).get(name):
            raise ValueError(f"The method '{name}' is now called '{now}'.")


def _announced() -> Mapping[str, EntryPoint]:
    """Entry points of installed packages by the name of their method."""
    return {point.name: point for point in entry_points(group=GROUP)}


def known_methods() -> list[str]:
    """Names of all methods: of the repository, of installed packages, and registered in this process."""
    return sorted({*built_in(), *_announced(), *_registered})


def register(method: Method) -> None:
    """Registers a method in this process; the alternative to an entry point of an installed package.

    Raises:
        ValueError: another method has the same name.
    """
    if method.name in (*built_in(), *_announced()) or _registered.get(method.name, method) is not method:
        raise ValueError(f"A method '{method.name}' already exists; known: {known_methods()}. Choose another name.")
    _registered[method.name] = method


def get_method(name: str) -> Method:
    """The method with a name.

    Raises:
        ValueError: there is no such method (the message lists the known ones), or the entry point of a
            package gives another object.
    """
    from hmr4d.methods.base import Method

    if name in _registered:
        return _registered[name]
    check_current_name(name)
    if name in built_in():
        module = importlib.import_module(f"{_packages()[name]}.method")
        return module.METHODS[name] if hasattr(module, "METHODS") else module.METHOD
    if name not in _announced():
        raise ValueError(
            f"Unknown method '{name}'; known: {known_methods()}. An external method is a package with an entry point "
            f"in the group '{GROUP}'; check that it is installed."
        )
    try:
        method = _announced()[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{_source(_announced()[name])} cannot be imported ({error}). Reinstall or remove it."
        ) from error
    if not isinstance(method, Method) or method.name != name:
        raise ValueError(
            f"The entry point '{name}' = {_announced()[name].value} gives {method!r}; expected a Method named '{name}'."
        )
    return method


def _source(point: EntryPoint) -> str:
    """Entry point and its package, as the start of a sentence."""
    package = f" of the package '{point.dist.name}'" if point.dist else ""
    return f"The method '{point.name}' = {point.value}{package}"


def outside_methods() -> list[Method]:
    """The methods of installed packages and those registered in this process, imported.

    Packages that cannot be imported, for example because their folder is missing, are skipped with a warning.
    """
    methods = []
    for name in sorted({*_announced(), *_registered}):
        try:
            methods.append(get_method(name))
        except ValueError as error:
            _warn_once(str(error))
    return methods


def untrained_methods() -> dict[str, Method]:
    """The methods that need no weights, by name."""
    methods = (*map(get_method, built_in()), *outside_methods())
    return {method.name: method for method in methods if not method.is_trained}


@cache
def _warn_once(message: str) -> None:
    logger.warning("%s It is skipped.", message)


# --- published names --------------------------------------------------------------------------------------------------


@cache
def _names_beside(package: str) -> PublishedNames | None:
    """PUBLISHED of the module `published_names` of a package; None if there is none."""
    module = f"{package}.published_names"
    return importlib.import_module(module).PUBLISHED if find_spec(module) else None


def published_names() -> list[PublishedNames]:
    """Published names of all methods; methods of the repository are not imported."""
    packages = sorted(set(_packages().values()))
    packages += [sys.modules[type(method).__module__].__package__ or "" for method in outside_methods()]
    return [names for package in packages if package and (names := _names_beside(package)) is not None]


# --- released models --------------------------------------------------------------------------------------------------


def method_of_release(folder: Path) -> Method:
    """The method of a release folder, from the `format` of its configuration.

    Raises:
        ValueError: the configuration is damaged, or no method has that format.
    """
    from hmr4d.utils.releases import CONFIG_NAME, release_kind

    kind = str(release_kind(folder))
    name = kind.removeprefix(FORMAT_PREFIX)
    if name in known_methods() and kind.startswith(FORMAT_PREFIX) and (method := get_method(name)).is_trained:
        return method
    known = [FORMAT_PREFIX + name for name in known_methods() if name not in untrained_methods()]
    raise ValueError(
        f"{folder / CONFIG_NAME} has the format '{kind}'; known: {known}. Install the package of this method."
    )


def load_released(
    name_or_folder: str | Path, *, device: torch.device | str = "cpu", needs: Capability | None = None
) -> Pipeline:
    """Loads a released model of any method.

    Args:
        name_or_folder: a model under inputs/checkpoints/hmr4d, or a folder of that layout.
        device: device of the network.
        needs: required capability; None: none.

    Raises:
        FileNotFoundError: the model does not exist; the message lists the known ones.
        ValueError: a file is damaged, or the model lacks the required capability.
    """
    from hmr4d.utils.releases import find_release

    folder = find_release(name_or_folder)
    method = method_of_release(folder)
    if needs is not None:
        method.require(needs, asked_for=f"This command, given the model '{name_or_folder}',")
    return method.load(name_or_folder, device=device)


# --- configurations ---------------------------------------------------------------------------------------------------


def method_of_config(cfg: DictConfig) -> Method | None:
    """The method of the pipeline in a configuration; None if there is none, as for an evaluator."""
    from hydra.utils import get_object
    from omegaconf import OmegaConf

    target = OmegaConf.select(cfg, "pipeline._target_")
    if target is None:
        return None
    built_by = get_object(target)  # the pipeline, or one of its class methods
    name = getattr(getattr(built_by, "__self__", built_by), "method", None)
    if not isinstance(name, str):
        raise ValueError(
            f"pipeline._target_ is {target}, which belongs to no method. Derive its class from `base.Pipeline`."
        )
    return get_method(name)
