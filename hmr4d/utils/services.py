"""HTTP requests to services: returns JSON, or raises a failure that states whether a retry makes sense."""

from __future__ import annotations

import email.utils
import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT_S = 120.0
_LARGEST = 1 << 24  # bytes of a reply
_TRY_LATER = (408, 409, 425, 429)
_REFUSES_ALL = (401, 403, 404)
_SHOWN = 200  # characters of a service's answer that are shown


class TemporaryFailure(Exception):
    """A failure after which a retry may succeed.

    Args:
        message: what happened.
        retry_after: seconds that the service asks to wait; None if it does not specify them.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentFailure(Exception):
    """A refusal that repeating does not change.

    Args:
        message: what happened.
        concerns_all: whether every other question would be refused as well, as with a wrong key.
    """

    def __init__(self, message: str, *, concerns_all: bool = False) -> None:
        super().__init__(message)
        self.concerns_all = concerns_all


def checked_url(url: str) -> str:
    """An address without a trailing slash; ValueError for an invalid one, and for one that contains a key."""
    wrong = f"{url!r} is no address of a service; expected something like http://localhost:8000/v1."
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # a port or an IPv6 address that is none
        raise ValueError(wrong) from error
    if not usable:
        raise ValueError(wrong)
    if "@" in parts.netloc or parts.query:
        raise ValueError("The address of the service contains a password or a query. Put keys into the environment.")
    return url.rstrip("/")


def checked_key(key: str, name: str) -> str:
    """A key without spaces around it; ValueError, which does not show the key, if no header can carry it.

    Args:
        key: of a service. name: where it comes from.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(f"{name} contains spaces, line breaks or letters that no key has. Set it again.")
    return key


def checked_timeout(seconds: float) -> float:
    """Seconds to wait for an answer; ValueError if that is no positive number."""
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"timeout is {seconds:g} s; expected a positive number of seconds.")
    return seconds


def post_json(
    url: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT_S
) -> Any:
    """`post` with JSON."""
    return post(url, json.dumps(body).encode("ascii"), "application/json", headers=headers, timeout=timeout)


def post(
    url: str, content: bytes, kind: str, *, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT_S
) -> Any:
    """The JSON answer of a service to a POST. Redirects are not followed, so a key is sent only to its service.

    Args:
        url: address of the service. content: request body. kind: media type of the body. headers: additional headers.
        timeout: seconds for the whole answer.

    Raises:
        TemporaryFailure: no connection, timeout, busy (429), server error (5xx), or an answer that is not JSON.
        PermanentFailure: the service refuses.
    """
    request = urllib.request.Request(url, content, {"Content-Type": kind, **(headers or {})}, method="POST")
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    end = time.monotonic() + timeout
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            answer = _read(response, end)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(host, error) from error
    except (TimeoutError, urllib.error.URLError, OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        slow = isinstance(cause, TimeoutError)
        said = (
            f"gave no answer within {timeout:g} s" if slow else f"cannot be reached ({cause or type(cause).__name__})"
        )
        raise TemporaryFailure(f"{host} {said}") from error
    try:
        return json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise TemporaryFailure(f"{host} answered with something that is no JSON: {_shown(answer)}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follows no redirect; its status becomes an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _read(response: Any, end: float) -> bytes:
    """The whole reply; TimeoutError if it takes too long, TemporaryFailure if it is too large."""
    content = bytearray()
    while block := response.read1(1 << 16):
        content += block
        if time.monotonic() > end:
            raise TimeoutError
        if len(content) > _LARGEST:
            raise TemporaryFailure(f"the answer has more than {_LARGEST >> 20} MiB")
    missing = response.length
    if missing:
        raise http.client.IncompleteRead(bytes(content[-_SHOWN:]), missing)
    return bytes(content)


def _refusal(host: str, error: urllib.error.HTTPError) -> TemporaryFailure | PermanentFailure:
    try:
        content = error.read(_LARGEST)
    except (OSError, http.client.HTTPException):
        content = b""
    try:
        said = dig(json.loads(content), "error", "message") or _shown(content)
    except (ValueError, RecursionError):
        said = _shown(content)
    message = f"{host} answered {error.code} {error.reason or ''}: {str(said)[:_SHOWN]}".rstrip(": ")
    if error.code in _TRY_LATER or error.code >= 500:
        return TemporaryFailure(message, _seconds(error.headers.get("Retry-After")))
    return PermanentFailure(message, concerns_all=error.code in _REFUSES_ALL or 300 <= error.code < 400)


def _seconds(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(content: bytes) -> str:
    return " ".join(content[:_SHOWN].decode("utf-8", "replace").split()) or "nothing"


def dig(value: Any, *path: str | int) -> Any:
    """The value under keys and indices; None if it does not exist or has another type."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and len(value) > step:
            value = value[step]
        else:
            return None
    return value
