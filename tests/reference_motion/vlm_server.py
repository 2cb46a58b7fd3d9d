"""A service on this machine that misbehaves as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Service:
    """What was asked of the service, and what it will say.

    Attributes:
        url: with `/v1`, for OpenAI's kind; Gemini's paths work as well.
        replies: one per request, the last one again and again.
        requests: path, headers and body of each request.
    """

    url: str
    replies: list[Reply]
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


def says(content: bytes | str, status: int = 200, headers: dict[str, str] | None = None, length: int = 0) -> Reply:
    """These bytes, in this status; `length` claims more of them than there are."""
    body = content.encode() if isinstance(content, str) else content

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(length or len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def answers(text: Any) -> Reply:
    """A whole reply of OpenAI's kind with this text."""
    return says(json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}))


def gemini_answers(text: Any) -> Reply:
    """A whole reply of Gemini's kind with this text."""
    return says(json.dumps({"candidates": [{"content": {"parts": [{"text": text}]}}]}))


def hangs(released: threading.Event) -> Reply:
    """Nothing, until the event."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        released.wait(10)

    return reply


def drips(released: threading.Event) -> Reply:
    """Byte after byte, so that no single wait is long."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not released.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    return reply


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """Closes the connection without a word."""
    handler.close_connection = True


@contextmanager
def service(*replies: Reply) -> Iterator[Service]:
    """A running service on a free port."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                known.requests.append((self.path, dict(self.headers), body))
                reply = known.replies.pop(0) if len(known.replies) > 1 else known.replies[0]
            with suppress(OSError):  # the other side has gone
                reply(self)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    known = Service(f"http://127.0.0.1:{server.server_address[1]}/v1", list(replies))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
