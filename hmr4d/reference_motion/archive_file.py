"""Archives of motions: JSON lists of entries, which are read as untrusted input and written atomically to a new file.

Unknown keys and unusable entries are kept. Relative paths in an archive start at the nearest parent folder with a
README.md or, without one, at the folder of the archive. Files that exist only next to the archive are found, too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hmr4d.utils.files import LONGEST_STEM, file_stem, write_json
from hmr4d.utils.text_files import load_unique_json, read_text

MARKER = "README.md"
PATH_KEYS = ("motion_path", "video_path", "mbench_eval_path")
PATH_ENDINGS = ("_embed_path",)
ID_KEYS = ("global_id", "id")
_STEM = LONGEST_STEM - 20  # bytes; leaves room for a number and a suffix


@dataclass(frozen=True)
class Archive:
    """The content of an archive.

    Attributes:
        path: path of the JSON file.
        root: base folder of relative paths.
        entries: unchanged entries of the file; an entry may be another value than an object.
    """

    path: Path
    root: Path
    entries: tuple[Any, ...]

    def path_of(self, index: int, key: str) -> Path | None:
        """The path under a key of the entry with index `index`, or None.

        Raises:
            ValueError: the entry is no object, or the value is no path.
        """
        value = self.entry(index).get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"{key} is {value!r}; expected the path of a file.")
        return self.located(value)

    def located(self, value: str) -> Path:
        """The file of a path in the archive: below `root`, or in the folder of the archive if it exists only there."""
        path, beside = self.root / value, self.path.parent / value
        try:
            return beside if not path.exists() and beside.exists() else path
        except OSError:  # an invalid file name
            return path

    def entry(self, index: int) -> Mapping[str, Any]:
        """The entry with index `index`. Raises ValueError if it is not an object."""
        entry = self.entries[index]
        if not isinstance(entry, Mapping):
            raise ValueError(f"the entry is {type(entry).__name__}; expected a JSON object.")
        return entry

    @cached_property
    def ids(self) -> tuple[Any, ...]:
        """The `entry_id` of each entry."""
        return tuple(entry_id(entry) for entry in self.entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A unique file name without suffix for each entry: its id, or the name of its motion file.

        If two names would be equal, also ignoring case, the index of the entry is appended.
        """
        wanted = [file_stem(self._label(index), longest=_STEM) for index in range(len(self.entries))]
        folded = [name.casefold() for name in wanted]
        counts = Counter(folded)
        taken = {name for name in folded if counts[name] == 1}
        names = []
        for index, name in enumerate(wanted):
            while counts[folded[index]] > 1 and (name := f"{name}_{index}").casefold() in taken:
                pass
            taken.add(name.casefold())
            names.append(name)
        return tuple(names)

    @cached_property
    def handles(self) -> tuple[str, ...]:
        """Names of the entries for users: the id or, if several entries share an id, those of `names`."""
        counts = Counter(str(found) for found in self.ids if found is not None)
        return tuple(
            str(found) if counts[str(found)] == 1 and found is not None else name
            for found, name in zip(self.ids, self.names, strict=True)
        )

    def label(self, index: int) -> str:
        """Name of an entry in messages: its index, and its id if it has one."""
        name = self.ids[index]
        return f"entry {index}" if name is None else f"entry {index} (id {name!r})"

    def _label(self, index: int) -> str:
        if self.ids[index] is not None:
            return str(self.ids[index])
        entry = self.entries[index]
        motion = entry.get("motion_path") if isinstance(entry, Mapping) else None
        return Path(motion).stem if isinstance(motion, str) and Path(motion).stem else f"entry_{index}"


def entry_id(entry: Any) -> Any:
    """Id of an entry: `global_id`, otherwise `id`, of any type, or None."""
    if not isinstance(entry, Mapping):
        return None
    return next((entry[key] for key in ID_KEYS if entry.get(key) is not None), None)


def archive_root(path: str | os.PathLike[str]) -> Path:
    """The base folder of relative paths in an archive."""
    folder = Path(path).absolute().parent
    return next((place for place in (folder, *folder.parents) if (place / MARKER).is_file()), folder)


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Reads an archive.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a JSON list.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Archive not found: {path}. Give a JSON file with a list of entries.")
    content = load_unique_json(read_text(path), str(path))
    if not isinstance(content, list):
        raise ValueError(f"{path} contains {type(content).__name__}; expected a JSON list of entries.")
    return Archive(path, archive_root(path), tuple(content))


def check_new_archive(archive: Archive, out: str | os.PathLike[str]) -> None:
    """Checks that writing to `out` overwrites no other data.

    Raises:
        ValueError: `out` is the archive itself, or a file other than an earlier result for the same entries.
    """
    out = Path(out)
    if not out.exists():
        return
    if out.samefile(archive.path):
        raise ValueError(f"{out} is the input archive, which is never overwritten. Choose another name.")
    advice = "Choose another name, or remove it."
    try:
        old = read_archive(out)
    except (OSError, ValueError) as error:
        raise ValueError(f"{out} exists and is not an archive. {advice}") from error
    if old.ids != archive.ids:
        raise ValueError(f"{out} exists and contains other entries ({len(old.ids)}) than {archive.path}. {advice}")


def write_archive(archive: Archive, entries: Sequence[Any], out: str | os.PathLike[str]) -> None:
    """Writes entries as a new archive, atomically.

    If the new archive has another base folder, known relative paths are rewritten to point to the same files.

    Args:
        archive: source of the entries.
        entries: entries, equal in number and order.
        out: file to write.

    Raises:
        ValueError: see `check_new_archive`; also for another number of entries.
    """
    if len(entries) != len(archive.entries):
        raise ValueError(f"{len(entries)} entries to write but {archive.path} has {len(archive.entries)}.")
    check_new_archive(archive, out)
    root = archive_root(out)
    write_json(out, [_rebased(entry, archive, root) for entry in entries])


def portable(path: str | os.PathLike[str], root: Path) -> str:
    """A path for an archive with base folder `root`: relative for files below it, otherwise absolute."""
    whole = Path(os.path.abspath(path))
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


def _rebased(entry: Any, archive: Archive, root: Path) -> Any:
    """An entry with relative paths rewritten for another base folder; paths that already point to the same file are
    kept."""
    if not isinstance(entry, Mapping):
        return entry
    changed = {}
    for key, value in entry.items():
        if _is_path(key) and isinstance(value, str) and value and (path := archive.located(value)) != root / value:
            changed[key] = portable(path, root)
    return {**entry, **changed}


def _is_path(key: str) -> bool:
    return key in PATH_KEYS or key.endswith(PATH_ENDINGS)
