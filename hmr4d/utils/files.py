"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
LONGEST_STEM = 150  # bytes, of the 255 that file systems allow: endings and temporary names come on top


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Yields a temporary path in the folder of `path`, with the same suffix; on success it is renamed to `path`, on
    error it is removed together with newly created folders.

    The final name therefore never contains a partially written file, even if the writer is killed.
    """
    final = Path(path)
    made = [folder for folder in final.parents if not folder.exists()]
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"{final.parent} is no folder, or lies in a file. Choose another place.") from error
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
        with suppress(OSError):  # another process has created a file there
            for folder in made:
                folder.rmdir()
        raise


def is_shown(path: Path, root: Path) -> bool:
    """Whether a path is visible: neither it nor a folder between it and `root` is hidden, like `._name` files and
    `__MACOSX`."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)


def check_names(paths: Iterable[Path]) -> None:
    """ValueError for a file whose name is not text, such as one in another encoding; it cannot name a result."""
    odd = next((path for path in paths if _SURROGATE.search(str(path))), None)
    if odd is not None:
        shown = _SURROGATE.sub("\ufffd", str(odd))
        raise ValueError(f"{shown}: the name of this file is not UTF-8 text. Rename it.")


def file_stem(name: str, *, longest: int = LONGEST_STEM) -> str:
    """Converts a name, in any script, to a part of a file name; different names remain different.

    Letters, digits, blanks and most signs are kept. Characters with a meaning in paths or patterns become "_", and
    names of more than `longest` bytes are shortened; in both cases a short hash of the whole name is appended.
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
    """Folder for reproducible files: HMR4D_CACHE, else `hmr4d` in XDG_CACHE_HOME or `~/.cache`."""
    if named := os.environ.get("HMR4D_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hmr4d"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes indented JSON atomically; halves of surrogate pairs, which UTF-8 has no bytes for, stay escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_text(path, _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text))


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
