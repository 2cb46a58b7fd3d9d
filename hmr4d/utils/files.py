"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LONGEST_STEM = 150  # bytes, of the 255 that file systems allow: endings and temporary names come on top


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Yields a temporary path beside `path`, with the same suffix; renamed to `path` on success, removed on error, with
    the folders that were made for it.

    A reader therefore never meets a half-written file under the final name, whatever kills the writer.
    """
    final = Path(path)
    made = [folder for folder in final.parents if not folder.exists()]
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{final.stem[:32]}.", suffix=final.suffix, dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else has put a file there
            for folder in made:
                folder.rmdir()
        raise


def is_shown(path: Path, root: Path) -> bool:
    """Whether neither a path nor a folder between it and `root` is hidden, as `._name` files and `__MACOSX` are."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)


def file_stem(name: str, *, longest: int = LONGEST_STEM) -> str:
    """A name as part of a file name, in any script; different names stay different.

    Letters, digits, blanks and signs stay. What some system takes for a path or a pattern becomes "_", and names of
    more than `longest` bytes are cut; a few characters of a hash of the whole name follow where either happened.
    """
    safe = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name)
    safe = safe.strip(" ").rstrip(".") if safe.strip(" .") else "_"
    safe = f"_{safe[1:]}" if safe[0] in ".-" else safe
    cut = safe.encode("utf-8", "surrogatepass")[:longest].decode("utf-8", "ignore")
    if cut == name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = cut.encode("utf-8", "ignore")[: longest - len(digest) - 1].decode("utf-8", "ignore")
    return f"{kept}_{digest}"


def cache_folder() -> Path:
    """Folder for what can be made again: HMR4D_CACHE, else `hmr4d` in XDG_CACHE_HOME or `~/.cache`."""
    if named := os.environ.get("HMR4D_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hmr4d"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
