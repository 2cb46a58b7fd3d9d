"""Metadata files beside BVH files, whose format has no place for them: `<name>.bvh.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hmr4d.utils.text_files import load_unique_json, read_text


def side_file(path: str | os.PathLike[str]) -> Path:
    """Path of the metadata file of a BVH file."""
    return Path(path).with_name(Path(path).name + ".json")


def read_side_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of the metadata file of a BVH file that this package wrote; empty without one.

    Raises:
        ValueError: it is no JSON; the message names it and what to do.
    """
    beside = side_file(path)
    if not beside.is_file():
        return {}
    try:
        metadata = load_unique_json(read_text(beside), str(beside))
    except ValueError as error:
        raise ValueError(f"{error} Write the motion again, or remove this file.") from error
    return metadata if isinstance(metadata, dict) else {}
