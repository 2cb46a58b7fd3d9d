"""Paths of released weights, and the layout of a release folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from hmr4d.utils.files import atomic_path, write_json
from hmr4d.utils.places import inputs_folder, shipped_folder
from hmr4d.utils.weights import WEIGHTS_NAME

CONFIG_NAME = "config.json"
TRAINING_NAME = "training_config.yaml"  # configuration of the training


def release_folders() -> list[Path]:
    """Folders that are searched for released weights, in order: in the user's inputs, then in those that ship."""
    return [root / "checkpoints" / "hmr4d" for root in (inputs_folder(), shipped_folder("inputs"))]


def find_release_folder(name_or_folder: str | Path, *, kind: str, marker: str, wanted: str) -> Path:
    """Folder of released weights by name or path.

    Args:
        name_or_folder: such as "evaluator-bandai".
        kind: term for the message, such as "released model".
        marker: file that every folder of this kind has.
        wanted: content of such a folder, for the message.

    Raises:
        FileNotFoundError: it does not exist; the message lists the available ones.
    """
    for folder in (Path(name_or_folder), *(folder / str(name_or_folder) for folder in release_folders())):
        if (folder / marker).is_file():
            return folder
    known = sorted({p.parent.name for folder in release_folders() for p in folder.glob(f"*/{marker}")})
    raise FileNotFoundError(
        f"No {kind} '{name_or_folder}'. {_if_run(Path(name_or_folder))}Give a folder with {wanted}, or one of {known}."
    )


def _if_run(path: Path) -> str:
    """Advice for a training folder or one of its checkpoints; empty for other paths."""
    run = path.parent.parent if path.suffix == ".ckpt" else path
    if not (run / "config.yaml").is_file() or not (run / "checkpoints").is_dir():
        return ""
    return f"{run} is a training: 'hmr4d release --run {run} --out <folder>' makes a model of it. "


def find_release(name_or_folder: str | Path) -> Path:
    """Folder of a released model by name or path; FileNotFoundError lists the available models."""
    wanted = f"{CONFIG_NAME} and {WEIGHTS_NAME}"
    return find_release_folder(name_or_folder, kind="released model", marker=CONFIG_NAME, wanted=wanted)


def write_release(folder: Path, network: nn.Module, config: dict[str, Any], *, kind: str, version: int) -> None:
    """Writes the weights of a network (float16) and the configuration of its pipeline.

    Args:
        folder: made if needed.
        network: network to save.
        config: JSON object; the format is written in front of it.
        kind, version: the format, such as "hmr4d-toy" and 1.
    """
    weights = {k: v.detach().cpu().half().contiguous() for k, v in network.state_dict().items()}
    with atomic_path(folder / WEIGHTS_NAME) as path:
        save_file(weights, path, metadata={"format": kind, "version": str(version)})
    write_json(folder / CONFIG_NAME, {"format": kind, "version": version} | config)


def release_kind(folder: Path) -> str | None:
    """The format that the configuration of a release folder names; ValueError when the file is damaged."""
    return _read_config(folder).get("format")


def read_release_config(folder: Path, *, kind: str, version: int) -> dict[str, Any]:
    """The configuration of a release folder; ValueError when it is damaged or of another format."""
    config = _read_config(folder)
    if config.get("format") != kind or config.get("version") != version:
        raise ValueError(
            f"{folder / CONFIG_NAME} is {config.get('format')!r} version {config.get('version')!r}; "
            f"expected {kind!r} version {version}."
        )
    return config


def card(
    name: str, rows: Mapping[str, str], about: Mapping[str, Any], notice: str, *, before: str = "", after: str = ""
) -> str:
    """The card of released weights in Markdown.

    Args:
        name: name of the folder. rows: rows of the table; the common rows of all cards follow them.
        about: `data`, `licence`, `steps`, `losses`, `hardware`, `torch` and `commands` of the training.
        notice: license and credit of the data.
        before, after: paragraphs above the table and below the commands.
    """
    losses = ", ".join(f"{k.removeprefix('train/').removesuffix('_epoch')} {v:.4f}" for k, v in about["losses"].items())
    shared = {
        "data": about["data"],
        "licence": f"{about['licence']}: see below",
        "steps": about["steps"],
        "last training losses": losses,
        "hardware": f"{about['hardware']}, torch {about['torch']}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in {**rows, **shared}.items())
    commands = "\n".join(about["commands"]) or f"see {TRAINING_NAME}"
    parts = [f"# {name}", before, f"| | |\n|---|---|\n{table}", f"Trained by\n\n```bash\n{commands}\n```", after]
    return "\n\n".join([part for part in parts if part] + [f"## Data notice\n\n{notice.strip()}"]) + "\n"


def plain(node: Any) -> dict[str, Any]:
    """A node of a configuration as the keyword arguments that a release keeps."""
    from omegaconf import OmegaConf

    settings: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return {key: value for key, value in settings.items() if key not in ("_target_", "_partial_")}


def model_metadata(name: str | Path, folder: Path) -> dict[str, str]:
    """Metadata about the generating model: its name and, if its folder contains it, the license of its motion.

    Args:
        name: requested name; a released model gets the name of its folder.
        folder: folder of a released model; others provide no metadata.
    """
    about = _read_config(folder).get("about", {}) if (folder / CONFIG_NAME).is_file() else {}
    is_released = folder.resolve().parent in [known.resolve() for known in release_folders()]
    called = {"model": folder.name if is_released else str(name)}
    return called | ({"licence": about["licence"]} if about.get("licence") else {})


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Restore the folder from the repository.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} contains no JSON object. Restore the folder from the repository.")
    return config
