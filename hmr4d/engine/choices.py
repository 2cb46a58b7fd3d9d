"""Names of the files of a configuration group, without reading their content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hmr4d.methods.registry import outside_methods
from hmr4d.utils.places import shipped_folder


def config_folders(folders: Sequence[Path] = ()) -> list[Path]:
    """All folders of configurations: the packaged one, those of external methods, and additional ones."""
    brought = [method.configs for method in outside_methods() if method.configs is not None]
    return [shipped_folder("configs"), *brought, *folders]


def choices(group: str, folders: Sequence[Path] = ()) -> list[str]:
    """Names of the files of a configuration group, such as "evaluator/matching" of "exp".

    Args:
        group: folder below `configs/`.
        folders: folders to search; empty: those of `config_folders`.
    """
    names: set[str] = set()
    for folder in folders or config_folders():
        names |= {p.relative_to(folder / group).with_suffix("").as_posix() for p in (folder / group).rglob("*.yaml")}
    return sorted(names)


def described(group: str) -> Iterator[tuple[str, str]]:
    """(name, first sentence of its comment) of every packaged file of a group."""
    for name in choices(group):
        lines = (shipped_folder("configs") / group / f"{name}.yaml").read_text("utf-8").splitlines()
        comments = [line.removeprefix("# ") for line in lines if line.startswith("# ") and "@package" not in line]
        yield name, re.split(r"(?<=\.) ", " ".join(comments))[0]
