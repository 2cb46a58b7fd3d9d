"""Files of others that can be downloaded by name: fetched, checked and unpacked, with a manifest of their hashes."""

from __future__ import annotations

import datetime
import json
import logging
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from hmr4d.utils.downloads import DownloadError, RemoteFile, fetch, unpack_zip
from hmr4d.utils.files import file_hash, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadItem:
    """An item that can be downloaded by name, as listed in `resources/downloads.yaml`.

    Attributes:
        name: name on the command line.
        about: its content, for the help.
        page: page that describes the files and their terms.
        file: the archive.
        folder: name of the unpacked folder.
        holds: files that the folder must contain.
    """

    name: str
    about: str
    page: str
    file: RemoteFile
    folder: str
    holds: tuple[str, ...]


def known_items() -> dict[str, DownloadItem]:
    """The downloadable items by name."""
    text = (resources.files("hmr4d.data") / "resources" / "downloads.yaml").read_text(encoding="utf-8")
    return {
        name: DownloadItem(
            name,
            entry["about"],
            entry["page"],
            RemoteFile(entry["archive"], tuple(entry["urls"]), entry["size"], entry["sha256"]),
            entry["folder"],
            tuple(entry["holds"]),
        )
        for name, entry in yaml.safe_load(text).items()
    }


def download(
    item: DownloadItem,
    out: Path,
    *,
    mirror: Path | None = None,
    url: str | None = None,
    verify: Path | None = None,
    keep: bool = False,
    overwrite: bool = False,
) -> Path:
    """Downloads, checks and unpacks one item, unless it is already complete.

    Args:
        item: item to download.
        out: parent of its folder and its manifest (names, sizes and hashes of the archive and of its files).
        mirror: folder that contains the archive; a manifest in it is verified like `verify`.
        url: address instead of the known ones.
        verify: manifest that the downloaded files must match.
        keep: keep a downloaded archive in `<out>/downloads`.
        overwrite: replace a folder of that name that has no manifest.

    Returns:
        The folder.

    Raises:
        DownloadError: the archive cannot be downloaded, or is not the expected one.
        ValueError: the archive is damaged or has other content, or the folder exists without a manifest.
    """
    folder, manifest_path = out / item.folder, out / f"{item.name}.manifest.json"
    if verify is None and mirror is not None and (mirror / manifest_path.name).is_file():
        verify = mirror / manifest_path.name
    expected = read_manifest(verify) if verify is not None else None
    if manifest_path.is_file():
        known = read_manifest(manifest_path)
        if known["files"] == (expected or known)["files"] and known["files"] == _contents(folder):
            logger.info("%s is there and whole.", folder)
            return folder
    elif folder.exists() and not overwrite:
        raise ValueError(f"{folder} exists, but this program did not create it. Use it unchanged, or pass --overwrite.")
    stated = (expected or {}).get("archive", {})
    file = RemoteFile(
        item.file.name,
        (url,) if url else item.file.urls,
        item.file.size or stated.get("size"),
        item.file.sha256 or stated.get("sha256"),
    )
    archive, source = _archive_of(file, item.page, out / "downloads", mirror)
    digest = file.check(archive)
    unpack_zip(archive, folder, item.holds)
    metadata = {
        "name": file.name,
        "size": archive.stat().st_size,
        "sha256": digest,
        "source": source or "fetched before",
    }
    write_json(
        manifest_path,
        {"item": item.name, "date": datetime.date.today().isoformat(), "archive": metadata, "files": _contents(folder)},
    )
    if file.sha256 is None:
        logger.info(
            "No hash of %s is published; the downloaded file has sha256 %s, see %s.", file.name, digest, manifest_path
        )
    if mirror is None and not keep:
        archive.unlink()
    return folder


def _archive_of(file: RemoteFile, page: str, folder: Path, mirror: Path | None) -> tuple[Path, str]:
    """The archive, from the mirror or downloaded into a folder, and its source."""
    if mirror is not None:
        archive = mirror / file.name
        if not archive.is_file():
            raise DownloadError(f"{archive} does not exist. Put {file.name} there; {page} lists its source.")
        return archive, str(archive)
    try:
        return fetch(file, folder)
    except DownloadError as error:
        raise DownloadError(
            f"{error} Without network: download {file.name} elsewhere ({page}), put it into a folder and pass "
            "--mirror <folder>."
        ) from error


def _contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and hash of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": file_hash(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """Content of a manifest.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: the file is not a manifest.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Manifest not found: {path}.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(manifest["files"], dict) and isinstance(manifest["archive"], dict):
            return manifest
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path} is no manifest of this program; delete it, or give another.")
