"""Access to motion files: unpacked below a folder, or inside tar and zip archives without unpacking them."""

from __future__ import annotations

import json
import logging
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from hmr4d.utils.files import write_json
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

Key = Callable[[PurePosixPath], str | None]
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError)


def archive_name(path: Path) -> str | None:
    """Name of an archive without its suffix, "KIT" for "KIT.tar.bz2"; None: the file is not an archive."""
    endings = sorted((*_TAR_ENDINGS, ".zip"), key=len, reverse=True)
    ending = next((e for e in endings if path.name.lower().endswith(e)), None)
    return path.name[: -len(ending)] if ending else None


class SourceFiles:
    """Files and archive members by keys that do not depend on their location.

    Args:
        key_of: key of a path, or None for other files. ending: suffix of the files, for example ".npz". listings: JSON
            file that caches the members of tar archives, which are slow to list; None: no cache.
    """

    def __init__(self, key_of: Key, ending: str, *, listings: Path | None = None) -> None:
        self._key_of = key_of
        self._ending = ending
        self._listings = listings
        self._files: dict[str, Path] = {}
        self._members: dict[Path, dict[str, str]] = {}  # archive -> member -> key

    def keys(self) -> set[str]:
        """All keys that are there."""
        return set(self._files).union(*(members.values() for members in self._members.values()))

    def add_folder(self, folder: Path) -> None:
        """Takes in the files at any depth; links to folders are followed."""
        for place, _, names in os.walk(folder, followlinks=True):
            for name in names:
                path = Path(place) / name
                if key := self._wanted(PurePosixPath(path.relative_to(folder).as_posix())):
                    self._files.setdefault(key, path)

    def add_archive(self, path: Path) -> None:
        """Takes in the members of a tar or zip archive.

        Raises:
            ValueError: the archive is damaged or cut short.
        """
        try:
            names = _zip_names(path) if path.suffix.lower() == ".zip" else self._tar_names(path)
        except _ARCHIVE_ERRORS as error:
            raise ValueError(f"{path} is damaged or cut short: {error}. Fetch it again.") from error
        found = {name: self._wanted(PurePosixPath(name)) for name in names}
        self._members[path] = {name: key for name, key in found.items() if key is not None and key not in self._files}

    def read(self, keys: Collection[str]) -> Iterator[tuple[str, Path | bytes]]:
        """Yields (key, file) for unpacked files, then (key, content) for members, each archive in one pass.

        Raises:
            ValueError: an archive is damaged.
        """
        wanted = set(keys)
        for key in sorted(wanted & self._files.keys()):
            yield key, self._files[key]
        wanted -= self._files.keys()
        for path, members in self._members.items():
            chosen = {name: key for name, key in members.items() if key in wanted}
            wanted -= set(chosen.values())
            if not chosen:
                continue
            try:
                yield from _read_zip(path, chosen) if path.suffix.lower() == ".zip" else _read_tar(path, chosen)
            except _ARCHIVE_ERRORS as error:
                raise ValueError(f"{path} is damaged or cut short: {error}. Fetch it again.") from error

    def _wanted(self, path: PurePosixPath) -> str | None:
        is_wanted = path.name.endswith(self._ending) and not path.name.startswith(".") and "__MACOSX" not in path.parts
        return self._key_of(path) if is_wanted else None

    def _tar_names(self, path: Path) -> list[str]:
        """Names of all members; those of an archive listed before come from the memory."""
        memory = {}
        if self._listings is not None and self._listings.is_file():
            memory = json.loads(self._listings.read_text(encoding="utf-8"))
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = memory.get(str(path.resolve()))
        if entry is not None and entry["stamp"] == stamp:
            return entry["names"]
        logger.info("Listing %s, which takes as long as unpacking it.", path)
        with tarfile.open(path, mode="r|*") as archive:
            names = [m.name for m in progress(archive, path.name, unit="file") if m.isfile()]
        if self._listings is not None:
            memory[str(path.resolve())] = {"stamp": stamp, "names": names}
            write_json(self._listings, memory)
        return names


def _zip_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [entry.filename for entry in archive.infolist() if not entry.is_dir()]


def _read_zip(path: Path, chosen: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name, key in chosen.items():
            yield key, archive.read(name)


def _read_tar(path: Path, chosen: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Content of members as they come by; the archive is left when all are read."""
    left = set(chosen)
    with tarfile.open(path, mode="r|*") as archive:
        for member in archive:
            if member.name in left and member.isfile():
                content = archive.extractfile(member)
                assert content is not None  # it is a regular file
                yield chosen[member.name], content.read()
                left.discard(member.name)
                if not left:
                    return
