"""Downloads of files: resumable, checked, and unpacked safely from untrusted archives."""

from __future__ import annotations

import http.client
import json
import logging
import shutil
import stat
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hmr4d.utils.files import file_hash, write_json
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

TRIES = 5  # per address; an interrupted transfer is resumed
WAIT_S = 2.0  # before the second try; twice as long before each next one
TIMEOUT_S = 60.0  # seconds without a byte
MAX_UNPACKED = 16 << 30  # bytes; an archive that claims more is refused
_BLOCK = 1 << 20
_BROKEN = (OSError, http.client.HTTPException)


class DownloadError(OSError):
    """A file that could not be fetched, or that is not the one expected."""


class _Refused(DownloadError):
    """An answer that another try at the same address will not change."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        name: file name.
        urls: addresses, tried in order.
        size: bytes, None: not known.
        sha256: in hexadecimal, None: not known.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None

    def check(self, path: Path) -> str:
        """SHA-256 of a file that should be this one.

        Raises:
            DownloadError: size or hash differ.
        """
        size, digest = path.stat().st_size, file_hash(path)
        if self.size is not None and size != self.size:
            raise DownloadError(f"{path} has {size:,} bytes, expected {self.size:,}. Fetch it again.")
        if self.sha256 is not None and digest != self.sha256.lower():
            raise DownloadError(f"{path} has sha256 {digest}, expected {self.sha256.lower()}. Fetch it again.")
        return digest


def fetch(file: RemoteFile, folder: Path, *, tries: int = TRIES, wait_s: float = WAIT_S) -> tuple[Path, str]:
    """Downloads a file to `<folder>/<name>`; continues the partial file of an interrupted run.

    Returns:
        The checked file and its address; the address is empty if the file existed already.

    Raises:
        DownloadError: no address returned the file; the message lists their answers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.is_file():
        try:
            file.check(target)
            return target, ""
        except DownloadError as error:
            logger.warning("%s", error)
            target.unlink()
    answers = []
    for url in file.urls:
        try:
            _fetch_from(url, part, tries, wait_s)
            try:
                file.check(part)
            except DownloadError:
                _forget(part)
                raise
            part.replace(target)
            _forget(part)
            return target, url
        except DownloadError as error:
            answers.append(f"{url}: {error}")
    raise DownloadError(f"{file.name} could not be downloaded. {' '.join(answers) or 'No address is known.'}")


def _progress_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _progress_file(part).unlink(missing_ok=True)


def _fetch_from(url: str, part: Path, tries: int, wait_s: float) -> None:
    """Completes `part` from one address; transfers that break are taken up again."""
    reason = ""
    for number in range(tries):
        if number:
            logger.info("%s broke off (%s); trying again.", part.stem, reason)
            time.sleep(wait_s * 2 ** (number - 1))
        try:
            if _transfer(url, part):
                return
            reason = "the connection was closed early"
        except _Refused:
            raise
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise DownloadError(f"the server answers {error.code} {error.reason}.") from error
            reason = f"{error.code} {error.reason}"
        except _BROKEN as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
    raise DownloadError(f"{reason}, {tries} times. The partial file is kept; repeat the command to continue.")


def _transfer(url: str, part: Path) -> bool:
    """One request for what `part` still lacks; returns whether it is whole now."""
    state = json.loads(_progress_file(part).read_text(encoding="utf-8")) if _progress_file(part).is_file() else {}
    if state.get("url") != url:
        _forget(part)
        state = {}
    got = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "hmr4d"}
    if got:
        headers["Range"] = f"bytes={got}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]  # the server sends the whole file if it has changed
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and got:
            if error.headers.get("Content-Range") == f"bytes */{got}":
                return True
            _forget(part)
            return False
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _Refused("the server sends a web page instead of the file; open it in a browser to see why.")
        is_rest = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if is_rest and not (response.headers.get("Content-Range") or "").startswith(f"bytes {got}-"):
            _forget(part)
            return False
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (got if is_rest else 0)
        strong = response.headers.get("ETag")
        validator = strong if strong and not strong.startswith("W/") else response.headers.get("Last-Modified")
        write_json(_progress_file(part), {"url": url, "validator": validator})
        with part.open("ab" if is_rest else "wb") as file:
            blocks = iter(lambda: response.read(_BLOCK), b"")
            for block in progress(blocks, part.stem, total=length and int(length) // _BLOCK + 1, unit="MB"):
                file.write(block)
    return total is None or part.stat().st_size == total


def unpack_zip(archive: Path, folder: Path, holds: Sequence[str]) -> dict[str, Path]:
    """Unpacks the part of a zip archive that contains given files; `folder` is replaced completely or not at all.

    Args:
        archive: zip file; outer folders around the requested files are ignored.
        folder: target folder; existing content is replaced.
        holds: paths below `folder` that must exist afterward.

    Returns:
        Every unpacked file, by its path below `folder`.

    Raises:
        ValueError: damaged archive, files missing in it, or members that would be written elsewhere.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry, path in _members(opened, archive, holds):
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{archive} is damaged or no zip file: {error}. Fetch it again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _members(
    opened: zipfile.ZipFile, archive: Path, holds: Sequence[str]
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Archive members to extract and their paths below the folder, after checks that all are safe."""
    entries = [e for e in opened.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
    for entry in entries:
        path = PurePosixPath(entry.filename)
        is_link = stat.S_ISLNK(entry.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename or is_link:
            raise ValueError(
                f"{archive} contains '{entry.filename}', which points outside the folder; the archive is not safe."
            )
    if (size := sum(entry.file_size for entry in entries)) > MAX_UNPACKED:
        raise ValueError(f"{archive} would unpack to {size:,} bytes, at most {MAX_UNPACKED:,} are expected.")
    names = [entry.filename for entry in entries]
    outer = sorted((n[: -len(holds[0])] for n in names if f"/{n}".endswith(f"/{holds[0]}")), key=len)
    missing = [h for h in holds if not outer or f"{outer[0]}{h}" not in names]
    if missing:
        raise ValueError(f"{archive} contains no {', '.join(missing)}. Check that it is the right file.")
    for entry in entries:
        if entry.filename.startswith(outer[0]):
            yield entry, PurePosixPath(entry.filename[len(outer[0]) :])
