"""Our scripts in a folder of SMPLest-X, with which it writes files that `hmr4d reference` reads; and out again."""

from __future__ import annotations

from pathlib import Path

from hmr4d.utils.files import write_text

SCRIPTS = Path(__file__).parent / "resources" / "smplestx"
PLACES = {"export_parameters.py": "main", "inference.sh": "scripts"}  # of a folder of SMPLest-X
MARK = "hmr4d reference install-exporter"  # stands in every script of ours
KEPT = ".before_hmr4d"  # ending of what was there before
NEEDED = ("main/base.py", "main/config.py", "human_models", "utils/data_utils.py", "scripts")


def install(folder: str | Path) -> list[Path]:
    """Installs the scripts into a folder of SMPLest-X; replaced files are kept there.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: it is no such folder; what it lacks is named.
        FileExistsError: another file would be lost, for something of its name is kept already.
    """
    folder = Path(folder)
    if missing := [name for name in NEEDED if not (folder / name).exists()]:
        raise FileNotFoundError(
            f"{folder} is no folder of SMPLest-X: it has no {', '.join(missing)}. Clone the repository of SMPLest-X, "
            "and name its folder."
        )
    targets = {name: folder / place / name for name, place in PLACES.items()}
    for target in targets.values():
        if target.exists() and not _is_ours(target) and _kept(target).exists():
            raise FileExistsError(f"{target} was changed, and {_kept(target)} exists already. Move one of them away.")
    for name, target in targets.items():
        if target.exists() and not _is_ours(target):
            target.replace(_kept(target))
        write_text(target, (SCRIPTS / name).read_text("utf-8"))
    return list(targets.values())


def uninstall(folder: str | Path) -> list[Path]:
    """Removes our scripts and restores the original files; files changed since are kept.

    Returns:
        The files removed or put back.
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
