"""Archives of motions: JSON lists of entries, read as untrusted input and written completely, as a new file.

Keys that this package does not know are kept, and so are entries that it cannot use. Relative paths in an archive start
at the nearest folder above it that holds a README.md, or at its own folder where there is none; files that are only
beside the archive are found, too.
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
_STEM = LONGEST_STEM - 20  # bytes; a number of the entry and an ending follow


@dataclass(frozen=True)
class Archive:
    """An archive as read.

    Attributes:
        path: of the JSON file.
        root: folder that relative paths start from.
        entries: as they stand in the file; an entry may be something else than an object.
    """

    path: Path
    root: Path
    entries: tuple[Any, ...]

    def path_of(self, index: int, key: str) -> Path | None:
        """The path under a key of entry number `index`, or None.

        Raises:
            ValueError: the entry is no object, or the value is no path.
        """
        value = self.entry(index).get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"{key} is {value!r} but must be the path of a file.")
        return self.located(value)

    def located(self, value: str) -> Path:
        """The file of a path in the archive: below `root`, or in the folder of the archive if only that exists."""
        path, beside = self.root / value, self.path.parent / value
        try:
            return beside if not path.exists() and beside.exists() else path
        except OSError:  # a name that no file can have
            return path

    def entry(self, index: int) -> Mapping[str, Any]:
        """Entry number `index`; ValueError if it is not an object."""
        entry = self.entries[index]
        if not isinstance(entry, Mapping):
            raise ValueError(f"the entry is {type(entry).__name__} but must be a JSON object.")
        return entry

    @cached_property
    def ids(self) -> tuple[Any, ...]:
        """The `entry_id` of each entry."""
        return tuple(entry_id(entry) for entry in self.entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A file name without ending for each entry, all different: its id, or the name of its motion file.

        Where two would be the same, also on a file system without upper and lower case, the place of the entry in the
        archive follows.
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
        """How people name the entries: by id, or where several have the same one, by `names`."""
        counts = Counter(str(found) for found in self.ids if found is not None)
        return tuple(
            str(found) if counts[str(found)] == 1 and found is not None else name
            for found, name in zip(self.ids, self.names, strict=True)
        )

    def label(self, index: int) -> str:
        """Name of an entry in messages: its index, and its id if it has one."""
        found = self.ids[index]
        return f"entry {index}" if found is None else f"entry {index} (id {found!r})"

    def _label(self, index: int) -> str:
        if self.ids[index] is not None:
            return str(self.ids[index])
        entry = self.entries[index]
        motion = entry.get("motion_path") if isinstance(entry, Mapping) else None
        return Path(motion).stem if isinstance(motion, str) and Path(motion).stem else f"entry_{index}"


def entry_id(entry: Any) -> Any:
    """Id of an entry: `global_id`, else `id`, of any type, or None."""
    if not isinstance(entry, Mapping):
        return None
    return next((entry[key] for key in ID_KEYS if entry.get(key) is not None), None)


def archive_root(path: str | os.PathLike[str]) -> Path:
    """The folder that relative paths of an archive start from."""
    folder = Path(path).absolute().parent
    return next((place for place in (folder, *folder.parents) if (place / MARKER).is_file()), folder)


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Reads an archive.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or no list.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Archive not found: {path}. Give a JSON file with a list of entries.")
    content = load_unique_json(read_text(path), str(path))
    if not isinstance(content, list):
        raise ValueError(f"{path} holds {type(content).__name__} but an archive is a JSON list of entries.")
    return Archive(path, archive_root(path), tuple(content))


def check_new_archive(archive: Archive, out: str | os.PathLike[str]) -> None:
    """Checks that writing to `out` overwrites nothing else.

    Raises:
        ValueError: `out` is the archive itself, or holds something else than an earlier result for the same entries.
    """
    out = Path(out)
    if not out.exists():
        return
    if out.samefile(archive.path):
        raise ValueError(f"{out} is the archive that is read; it is never overwritten. Choose another name.")
    advice = "Choose another name, or remove it."
    try:
        old = read_archive(out)
    except (OSError, ValueError) as error:
        raise ValueError(f"{out} exists and is no archive. {advice}") from error
    if old.ids != archive.ids:
        raise ValueError(f"{out} exists and holds other entries ({len(old.ids)}) than {archive.path}. {advice}")


def write_archive(archive: Archive, entries: Sequence[Any], out: str | os.PathLike[str]) -> None:
    """Writes entries as a new archive; the file appears once it is whole.

    Where relative paths of the new archive start from another folder, the paths that this package knows are rewritten
    so that they name the same files.

    Args:
        archive: that the entries come from.
        entries: as many, in the same order.
        out: file to write.

    Raises:
        ValueError: see `check_new_archive`, or another number of entries.
    """
    if len(entries) != len(archive.entries):
        raise ValueError(f"{len(entries)} entries to write but {archive.path} has {len(archive.entries)}.")
    check_new_archive(archive, out)
    root = archive_root(out)
    write_json(out, [_rebased(entry, archive, root) for entry in entries])


def portable(path: str | os.PathLike[str], root: Path) -> str:
    """A path for an archive with that root: relative for files below the root, else absolute."""
    whole = Path(os.path.abspath(path))
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


def _rebased(entry: Any, archive: Archive, root: Path) -> Any:
    """An entry whose relative paths start from another root; those that name the same file are not changed."""
    if not isinstance(entry, Mapping):
        return entry
    changed = {}
    for key, value in entry.items():
        if _is_path(key) and isinstance(value, str) and value and (path := archive.located(value)) != root / value:
            changed[key] = portable(path, root)
    return {**entry, **changed}


def _is_path(key: str) -> bool:
    return key in PATH_KEYS or key.endswith(PATH_ENDINGS)
