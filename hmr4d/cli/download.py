"""`download`: fetches the files of others that evaluation with the published networks needs.

hmr4d download glove t2m-evaluators
hmr4d download glove --mirror my_downloads
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.utils.downloads import DownloadError, RemoteFile, fetch, unpack_zip
from hmr4d.utils.files import file_hash, write_json
from hmr4d.utils.places import inputs_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """An item that can be downloaded by name, as listed in `resources/downloads.yaml`."""

    name: str
    about: str
    page: str
    file: RemoteFile
    folder: str
    holds: tuple[str, ...]


def known_items() -> dict[str, Item]:
    """The downloadable items by name."""
    text = (resources.files("hmr4d.data") / "resources" / "downloads.yaml").read_text(encoding="utf-8")
    return {
        name: Item(
            name,
            entry["about"],
            entry["page"],
            RemoteFile(entry["archive"], tuple(entry["urls"]), entry["size"], entry["sha256"]),
            entry["folder"],
            tuple(entry["holds"]),
        )
        for name, entry in yaml.safe_load(text).items()
    }


def build_parser() -> argparse.ArgumentParser:
    """Command line of `download`."""
    items = known_items()
    parser = argparse.ArgumentParser(
        prog="hmr4d download",
        description="Fetch files by name, check and unpack them.",
        epilog="Repeat the command to continue an interrupted download.",
    )
    parser.add_argument(
        "names",
        nargs="+",
        choices=sorted(items),
        metavar="NAME",
        help="; ".join(f"{item.name}: {item.about}" for item in items.values()),
    )
    parser.add_argument(
        "--out", type=Path, default=inputs_folder() / "checkpoints", help="folder of the folders unpacked"
    )
    parser.add_argument("--mirror", type=Path, help="folder that contains the archives; nothing is downloaded")
    parser.add_argument("--url", help="address to download from instead of the known ones; for one NAME")
    parser.add_argument("--verify", type=Path, help="manifest from another machine; downloaded files must match it")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this program did not make")
    parser.add_argument("--keep", action="store_true", help="keep the archives, in <out>/downloads")
    return parser


def download(
    item: Item,
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
    facts = {"name": file.name, "size": archive.stat().st_size, "sha256": digest, "source": source or "fetched before"}
    write_json(
        manifest_path,
        {"item": item.name, "date": datetime.date.today().isoformat(), "archive": facts, "files": _contents(folder)},
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `download`; returns the exit code: 0, or 2 with one sentence on stderr."""
    args = build_parser().parse_args(argv)
    setup_logging()

    def run() -> int:
        items = known_items()
        if len(args.names) > 1 and (args.url or args.verify):
            raise ValueError("--url and --verify are for one NAME. Pass the names one by one.")
        for name in args.names:
            folder = download(
                items[name],
                args.out,
                mirror=args.mirror,
                url=args.url,
                verify=args.verify,
                keep=args.keep,
                overwrite=args.overwrite,
            )
            sys.stdout.write(f"{name}: {folder}\n")
        return 0

    return run_guarded(run)
