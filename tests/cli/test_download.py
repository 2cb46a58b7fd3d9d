"""The download command against a server in this process: broken transfers, wrong files, mirrors and manifests."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest

from hmr4d.cli.download import main
from hmr4d.data.download_items import DownloadItem, download, known_items
from hmr4d.utils.downloads import DownloadError, RemoteFile, fetch, unpack_zip

ROOT = Path(__file__).resolve().parents[2]
HOLDS = ("our_vab_data.npy", "our_vab_words.pkl", "our_vab_idx.pkl")


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


GLOVE = zipped({f"glove/{name}": os.urandom(100_000) for name in HOLDS} | {"__MACOSX/glove/._x": b"junk"})


class Server(ThreadingHTTPServer):
    """Serves `content`; breaks off after `cut` bytes as often as `breaks` says; remembers the ranges asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.kind, self.etag, self.status = GLOVE, "application/zip", '"1"', 200
        self.breaks, self.cut, self.knows_ranges = 0, 0, True
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/glove.zip"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.ranges.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if asked and server.knows_ranges and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        size = len(server.content)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.send_header("Content-Type", server.kind)
        self.send_header("ETag", server.etag)
        self.end_headers()
        body = server.content[start:]
        if server.breaks:
            server.breaks -= 1
            body = body[: server.cut]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server: Server, **facts: object) -> RemoteFile:
    return RemoteFile("glove.zip", (server.url,), **facts)  # type: ignore[arg-type]


def glove(server: Server | None = None, **facts: object) -> DownloadItem:
    urls = (server.url,) if server else ()
    file = RemoteFile("glove.zip", urls, **facts)  # type: ignore[arg-type]
    return DownloadItem("glove", "vectors", "https://example.org", file, "glove", HOLDS)


def test_broken_transfers_continue_where_they_were(server: Server, tmp_path: Path) -> None:
    server.breaks, server.cut = 3, 70_000
    path, url = fetch(remote(server, sha256=hashlib.sha256(GLOVE).hexdigest()), tmp_path, wait_s=0)
    assert path.read_bytes() == GLOVE and url == server.url
    assert server.ranges == [None, "bytes=70000-", "bytes=140000-", "bytes=210000-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["glove.zip"]


def test_a_stopped_run_continues_in_the_next(server: Server, tmp_path: Path) -> None:
    server.breaks, server.cut = 2, 50_000
    with pytest.raises(DownloadError, match="closed early, 2 times. The partial file is kept"):
        fetch(remote(server), tmp_path, tries=2, wait_s=0)
    assert not (tmp_path / "glove.zip").exists()
    path, _ = fetch(remote(server), tmp_path)
    assert path.read_bytes() == GLOVE and server.ranges[-1] == "bytes=100000-"
    assert fetch(remote(server), tmp_path)[1] == "" and len(server.ranges) == 3  # it is there now


def test_another_file_at_the_same_address_is_not_spliced(server: Server, tmp_path: Path) -> None:
    server.breaks, server.cut = 1, 50_000
    with pytest.raises(DownloadError):
        fetch(remote(server), tmp_path, tries=1)
    server.content, server.etag = zipped({f"glove/{n}": os.urandom(60_000) for n in HOLDS}), '"2"'
    assert fetch(remote(server), tmp_path)[0].read_bytes() == server.content


def test_servers_without_ranges_send_all_again(server: Server, tmp_path: Path) -> None:
    server.breaks, server.cut, server.knows_ranges = 1, 50_000, False
    assert fetch(remote(server), tmp_path, wait_s=0)[0].read_bytes() == GLOVE


def test_a_whole_part_needs_no_more(server: Server, tmp_path: Path) -> None:
    server.breaks, server.cut = 1, len(GLOVE) // 2
    with pytest.raises(DownloadError):
        fetch(remote(server), tmp_path, tries=1)
    (tmp_path / "glove.zip.part").write_bytes(GLOVE)
    assert fetch(remote(server), tmp_path)[0].read_bytes() == GLOVE
    assert server.ranges[-1] == f"bytes={len(GLOVE)}-"


def test_wrong_files_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"has sha256 [0-9a-f]{64}, expected 0{64}"):
        fetch(remote(server, sha256="0" * 64), tmp_path)
    with pytest.raises(DownloadError, match=r"has [\d,]+ bytes, expected 5"):
        fetch(remote(server, size=5), tmp_path)
    assert not list(tmp_path.iterdir())
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="sends a web page instead of the file"):
        fetch(remote(server), tmp_path)
    server.status = 404
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch(remote(server), tmp_path)
    server.status = 503
    with pytest.raises(DownloadError, match="503 Service Unavailable, 2 times"):
        fetch(remote(server), tmp_path, tries=2, wait_s=0)


def test_a_spoilt_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "glove.zip").write_bytes(b"corrupted")
    assert fetch(remote(server, size=len(GLOVE)), tmp_path)[0].read_bytes() == GLOVE


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/glove.zip"
    file = RemoteFile("glove.zip", (nowhere, server.url))
    assert fetch(file, tmp_path, tries=1)[1] == server.url


def test_no_network_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["glove", "--out", str(tmp_path), "--url", "http://127.0.0.1:9/glove.zip"]
    with mock.patch("time.sleep"):
        assert main(command) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: glove.zip could not be downloaded. http://127.0.0.1:9/glove.zip: ")
    assert "refused" in error and "--mirror <folder>" in error


def test_items_unpack_and_leave_a_manifest(server: Server, tmp_path: Path) -> None:
    folder = download(glove(server), tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == sorted(HOLDS)
    manifest = json.loads((tmp_path / "glove.manifest.json").read_text())
    assert manifest["archive"]["sha256"] == hashlib.sha256(GLOVE).hexdigest()
    assert manifest["archive"]["size"] == len(GLOVE) and manifest["archive"]["source"] == server.url
    data = (folder / HOLDS[0]).read_bytes()
    assert manifest["files"][HOLDS[0]] == {"size": 100_000, "sha256": hashlib.sha256(data).hexdigest()}
    assert not list((tmp_path / "downloads").iterdir())

    download(glove(server), tmp_path)
    assert len(server.ranges) == 1  # there and whole
    (folder / HOLDS[0]).write_bytes(b"corrupted")
    assert (download(glove(server), tmp_path, keep=True) / HOLDS[0]).read_bytes() == data
    assert (tmp_path / "downloads" / "glove.zip").read_bytes() == GLOVE


def test_a_second_machine_verifies(server: Server, tmp_path: Path) -> None:
    download(glove(server), tmp_path / "one")
    manifest = tmp_path / "one" / "glove.manifest.json"
    download(glove(server), tmp_path / "two", verify=manifest)
    server.content = zipped({f"glove/{name}": os.urandom(100_000) for name in HOLDS})
    with pytest.raises(DownloadError, match=r"has [\d,]+ bytes, expected"):
        download(glove(server), tmp_path / "three", verify=manifest)
    assert not (tmp_path / "three" / "glove").exists()
    with pytest.raises(FileNotFoundError, match="Manifest not found"):
        download(glove(server), tmp_path / "three", verify=tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(ValueError, match="is no manifest of this program"):
        download(glove(server), tmp_path / "three", verify=tmp_path / "bad.json")


def test_mirror_folder(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with pytest.raises(DownloadError, match=r"glove\.zip does not exist. Put glove\.zip there; https://example\.org"):
        download(glove(), tmp_path / "out", mirror=mirror)
    (mirror / "glove.zip").write_bytes(GLOVE)
    download(glove(), tmp_path / "out", mirror=mirror)
    assert (mirror / "glove.zip").is_file()
    shutil.copy(tmp_path / "out" / "glove.manifest.json", mirror)
    (mirror / "glove.zip").write_bytes(zipped({f"glove/{name}": b"other" for name in HOLDS}))
    with pytest.raises(DownloadError, match="expected"):
        download(glove(), tmp_path / "elsewhere", mirror=mirror)


def test_a_folder_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "glove.zip").write_bytes(GLOVE)
    (tmp_path / "glove").mkdir()
    (tmp_path / "glove" / "mine").write_text("x")
    with pytest.raises(ValueError, match="this program did not create it"):
        download(glove(), tmp_path, mirror=tmp_path)
    assert (tmp_path / "glove" / "mine").is_file()
    download(glove(), tmp_path, mirror=tmp_path, overwrite=True)
    assert sorted(p.name for p in (tmp_path / "glove").iterdir()) == sorted(HOLDS)


def link_entry() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("glove/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize("name", ["../evil", "glove/../../evil", "/evil", "glove/..\\evil", "C:/evil", link_entry()])
def test_archives_that_write_elsewhere_are_refused(tmp_path: Path, name: str | zipfile.ZipInfo) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for held in HOLDS:
            archive.writestr(f"glove/{held}", b"x")
        archive.writestr(name, b"evil")
    with pytest.raises(ValueError, match="the archive is not safe"):
        unpack_zip(path, tmp_path / "out" / "glove", HOLDS)
    assert not list(tmp_path.rglob("evil")) and not list((tmp_path / "out").iterdir())


def test_archives_of_something_else_leave_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "glove").mkdir()
    (tmp_path / "glove" / "mine").write_text("x")
    path = tmp_path / "a.zip"
    for content, reason in (
        (zipped({"kit/model": b"x"}), "contains no our_vab_data.npy, our_vab_words.pkl, our_vab_idx.pkl"),
        (GLOVE[:-50], "damaged or no zip file"),
        (GLOVE[:1000] + bytes(1000) + GLOVE[2000:], "damaged or no zip file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            unpack_zip(path, tmp_path / "glove", HOLDS)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "glove"]
        assert (tmp_path / "glove" / "mine").is_file()


def test_outer_folders_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for outer in ("", "glove/", "download/glove/"):
        path.write_bytes(zipped({f"{outer}{name}": b"x" for name in HOLDS}))
        assert sorted(unpack_zip(path, tmp_path / "glove", HOLDS)) == sorted(HOLDS)


def test_known_items() -> None:
    items = known_items()
    assert set(items) == {"glove", "t2m-evaluators"}
    assert all(item.file.urls and item.holds and item.page.startswith("https://") for item in items.values())


def test_shell_script_is_the_same_program(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "glove.zip").write_bytes(GLOVE)
    done = subprocess.run(
        [ROOT / "tools" / "download_glove.sh", "--mirror", mirror, "--out", tmp_path / "out"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"glove: {tmp_path / 'out' / 'glove'}\n"
    assert (tmp_path / "out" / "glove" / "our_vab_data.npy").is_file()
