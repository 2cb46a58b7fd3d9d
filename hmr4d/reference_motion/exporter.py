"""Installs scripts into a folder of SMPLest-X, which then writes files for `hmr4d reference`, and uninstalls them."""

from __future__ import annotations

from pathlib import Path

from hmr4d.utils.files import write_text

SCRIPTS = Path(__file__).parent / "resources" / "smplestx"
PLACES = {"export_parameters.py": "main", "inference.sh": "scripts"}  # script -> subfolder of SMPLest-X
MARK = "hmr4d reference install-exporter"  # text that marks installed scripts
KEPT = ".before_hmr4d"  # suffix of backups of replaced files
NEEDED = ("main/base.py", "main/config.py", "human_models", "utils/data_utils.py", "scripts")


def install(folder: str | Path) -> list[Path]:
    """Installs the scripts into a folder of SMPLest-X; replaced files get a backup.

    Returns:
        The written files.

    Raises:
        FileNotFoundError: the folder is not SMPLest-X; the message names the missing parts.
        FileExistsError: a changed file cannot be replaced, because its backup exists already.
    """
    folder = Path(folder)
    if missing := [name for name in NEEDED if not (folder / name).exists()]:
        raise FileNotFoundError(
            f"{folder} is not a folder of SMPLest-X: it has no {', '.join(missing)}. Clone the repository of "
            "SMPLest-X and give its folder."
        )
    targets = {name: folder / place / name for name, place in PLACES.items()}
    for target in targets.values():
        if target.exists() and not _is_ours(target) and _kept(target).exists():
            raise FileExistsError(f"{target} was changed, and {_kept(target)} already exists. Move one of them away.")
    for name, target in targets.items():
        if target.exists() and not _is_ours(target):
            target.replace(_kept(target))
        write_text(target, (SCRIPTS / name).read_text("utf-8"))
    return list(targets.values())


def uninstall(folder: str | Path) -> list[Path]:
    """Removes the installed scripts and restores the original files; scripts changed by the user are kept.

    Returns:
        The removed or restored files.
    """
    changed = []
    for name, place in PLACES.items():
        target = Path(folder) / place / name
        if not target.exists() or not _is_ours(target):
            continue
        target.unlink()
        if _kept(target).exists():
            _kept(target).replace(target)
        changed.append(target)
    return changed


def _kept(target: Path) -> Path:
    return target.with_name(target.name + KEPT)


def _is_ours(target: Path) -> bool:
    return MARK in target.read_text("utf-8", errors="replace")
