"""Sources of curation: videos and keypoint files of a folder or a table; a `VideoSource` can add other places."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hmr4d.curation.records import SOURCE, Record, source_key
from hmr4d.utils.files import is_shown
from hmr4d.utils.text_files import TextError, read_text

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
KEYPOINT_FILES = (".json", ".npz", ".npy", ".csv")
METADATA = "sources.csv"  # columns file, url, licence: metadata of the sources of a folder
_WHOLE = 64 << 20  # bytes; of larger files only both ends are hashed
_END = 1 << 20


@dataclass(frozen=True)
class Source:
    """One video, or one keypoint file without video.

    Attributes:
        id: permanent id; the path below the folder.
        kind: type of its origin.
        path: the file.
        keypoints: keypoint file next to the video, or None.
        url, licence: origin and license; empty if unknown.
    """

    id: str
    kind: str
    path: Path
    keypoints: Path | None = None
    url: str = ""
    licence: str = ""

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS

    def about(self) -> dict[str, str]:
        """Metadata of the source in every clip."""
        return {"kind": self.kind, "id": self.id, "url": self.url, "licence": self.licence}

    def record(self) -> Record:
        """The input record of the first stage; it changes with the content of the files."""
        files = [self.path] if self.keypoints is None else [self.path, self.keypoints]
        meta = {"source": self.about(), "fingerprints": [fingerprint(file) for file in files]}
        return Record(source_key(self.id), meta, kind=SOURCE)


class VideoSource(Protocol):
    """Interface of an origin of videos.

    Attributes:
        place: folder or file; a data set has one place.
    """

    @property
    def place(self) -> Path: ...

    def list(self) -> Iterator[Source]:
        """All sources, each with a file on this machine."""
        ...


class LocalFolder:
    """Videos and keypoint files below a folder. A keypoint file with the name of a video in the same folder belongs to
    it.

    `sources.csv` in the folder may list url and license of files: columns file, url, licence.

    Args:
        root: folder.

    Raises:
        FileNotFoundError: the folder does not exist or contains no sources.
    """

    kind = "folder"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root} is not a folder. Give the folder of the videos or keypoint files.")

    @property
    def place(self) -> Path:
        return self.root

    def list(self) -> Iterator[Source]:
        by_file = read_source_metadata(self.root / METADATA)
        files = [
            p
            for p in sorted(self.root.rglob("*"))
            if (p.is_file() or (p.is_symlink() and not p.exists()))  # a dead link becomes a dead letter
            and is_shown(p, self.root)
            and p.name != METADATA
        ]
        videos = [p for p in files if p.suffix.lower() in VIDEOS]
        keypoints = {p.with_suffix(""): p for p in files if p.suffix.lower() in KEYPOINT_FILES}
        beside = {video: keypoints.pop(video.with_suffix(""), None) for video in videos}
        alone = set(keypoints.values())  # `a.json` and `a.npz` without a video are two sources
        alone |= {p for p in files if p.suffix.lower() in KEYPOINT_FILES and p.with_suffix("") in keypoints}
        names = [*videos, *alone]
        if not names:
            raise FileNotFoundError(
                f"{self.root} contains neither videos ({', '.join(VIDEOS)}) nor keypoint files "
                f"({', '.join(KEYPOINT_FILES)})."
            )
        for path in sorted(names):
            name = _text_of(path.relative_to(self.root).as_posix())
            metadata = by_file.get(name, {})
            yield Source(name, self.kind, path, beside.get(path), metadata.get("url", ""), metadata.get("licence", ""))


class SourceTable:
    """Videos and keypoint files at any path, one per line of a CSV file: columns file, url, licence, keypoints.

    Paths are absolute or relative to the folder of the table; as written, they are the ids of the sources. The column
    `keypoints` may contain the keypoint file of a video.

    Args:
        path: path of the table.

    Raises:
        FileNotFoundError: the table or listed files do not exist.
    """

    kind = "table"

    def __init__(self, path: str | Path) -> None:
        self.place = Path(path)
        if not self.place.is_file():
            raise FileNotFoundError(f"{self.place} is not a file. Give a CSV file with the columns file, url, licence.")

    def list(self) -> Iterator[Source]:
        rows = list(csv.DictReader(io.StringIO(read_text(self.place), newline="")))
        if not rows or "file" not in rows[0]:
            raise TextError(f"{self.place} has no line, or no column 'file'; expected file, url, licence, keypoints.")
        named = [row[column] for row in rows for column in ("file", "keypoints") if row.get(column)]
        if missing := [name for name in named if not (self.place.parent / name).is_file()]:
            shown = ", ".join(missing[:3])
            raise FileNotFoundError(f"{self.place} lists {len(missing)} missing files, such as {shown}.")
        if len({row["file"] for row in rows}) < len(rows):
            raise TextError(f"{self.place} lists a file twice.")
        for row in sorted(rows, key=lambda row: row["file"]):
            path, beside = self.place.parent / row["file"], row.get("keypoints")
            if path.suffix.lower() not in (*VIDEOS, *KEYPOINT_FILES):
                raise TextError(f"{self.place} lists {row['file']}, which is neither a video nor a keypoint file.")
            keypoints = self.place.parent / beside if beside else None
            yield Source(row["file"], self.kind, path, keypoints, row.get("url") or "", row.get("licence") or "")


SOURCES: dict[str, Callable[[str], VideoSource]] = {"folder": LocalFolder, "table": SourceTable}


def open_sources(spec: str) -> VideoSource:
    """The sources of a place: a folder, or `name:place` with a name of SOURCES, such as `table:videos.csv`."""
    name, mark, place = spec.partition(":")
    return SOURCES[name](place) if mark and name in SOURCES else LocalFolder(spec)


def _text_of(name: str) -> str:
    """A file name as text; bytes that are not UTF-8 are written out, as `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_source_metadata(path: Path) -> dict[str, dict[str, str]]:
    """file -> {url, licence} of a table; {} without table. Raises TextError for a table without a column `file`."""
    if not path.is_file():
        return {}
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    if rows and "file" not in rows[0]:
        raise TextError(f"{path}: the columns are {', '.join(map(str, rows[0]))}; expected file, url, licence.")
    return {row["file"]: {k: row.get(k) or "" for k in ("url", "licence")} for row in rows}


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's size and content; of large files only size, first and last megabyte."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
        else:
            digest.update(file.read(_END))
            file.seek(-_END, 2)
            digest.update(file.read(_END))
    return digest.hexdigest()
