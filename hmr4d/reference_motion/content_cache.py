"""Results on disk under a key of all their dependencies, so that no result is stale or lost after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmr4d.utils.files import write_json


def content_key(*facts: Any) -> str:
    """A key of 64 hexadecimal digits for JSON-serializable data; hash files first, with `file_hash`."""
    text = json.dumps(facts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class ContentCache:
    """JSON objects by key, one file each, which is whole or absent.

    Args:
        folder: for the files; made when the first is written. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """The object under a key; None if it does not exist or its file is damaged."""
        if self.folder is None:
            return None
        try:
            kept = json.loads(self._file(self.folder, key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return kept if isinstance(kept, dict) else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keeps an object."""
        if self.folder is not None:
            write_json(self._file(self.folder, key), value)

    def below(self, name: str) -> ContentCache:
        """The cache in a folder below this one."""
        return ContentCache(None if self.folder is None else self.folder / name)

    @staticmethod
    def _file(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"
