"""Cache of results on disk; the key covers all dependencies, so entries are never stale and survive interruptions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmr4d.utils.files import write_json


def content_key(*values: Any) -> str:
    """A key of 64 hexadecimal digits for JSON-serializable data; pass files as hashes (`file_hash`)."""
    text = json.dumps(values, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class ContentCache:
    """Key -> JSON object, one atomically written file per key.

    Args:
        folder: folder of the files; created when the first is written. None: no caching.
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
        """Saves an object under a key."""
        if self.folder is not None:
            write_json(self._file(self.folder, key), value)

    def below(self, name: str) -> ContentCache:
        """The cache in a folder below this one."""
        return ContentCache(None if self.folder is None else self.folder / name)

    @staticmethod
    def _file(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"
