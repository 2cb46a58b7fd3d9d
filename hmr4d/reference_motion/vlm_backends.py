"""Who can be asked about a clip: Gemini, any endpoint that speaks like OpenAI's, a command of the user."""

from __future__ import annotations

import base64
import email.utils
import http.client
import io
import json
import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from hmr4d.detection.video_pictures import read_video_metadata, video_pictures
from hmr4d.reference_motion.vlm import PermanentFailure, Question, TemporaryFailure

GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta"
GEMINI_MODEL = "gemini-2.5-flash"
GEMINI_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")  # environment
OPENAI_KEY = "OPENAI_API_KEY"
TIMEOUT_S = 120.0
_LARGEST = 1 << 24  # bytes of a reply
_LARGEST_CLIP = 20 << 20  # bytes that services take inline
_MOST_PICTURES = 32
_TRY_LATER = (408, 409, 425, 429)
_REFUSES_ALL = (401, 403, 404)
_SHOWN = 200  # characters of what a service says


class GeminiBackend:
    """Google's Gemini, with the clip inline before the text.

    Args:
        key: of the service; None takes GEMINI_API_KEY or GOOGLE_API_KEY of the environment.
        model: name of the model.
        url: of the service.
        timeout: seconds for one answer.

    Raises:
        ValueError: there is no key, or a bad URL.
    """

    def __init__(
        self, *, key: str | None = None, model: str = GEMINI_MODEL, url: str = GEMINI_URL, timeout: float = TIMEOUT_S
    ) -> None:
        self._key = key or next((os.environ[name] for name in GEMINI_KEYS if os.environ.get(name)), "")
        if not self._key:
            raise ValueError(f"Gemini needs a key: set {GEMINI_KEYS[0]} in the environment, or choose another judge.")
        self.model, self.url, self.timeout = model, _checked_url(url), timeout

    @property
    def source(self) -> str:
        """Service and model."""
        return f"gemini {self.model} {self.url}"

    def ask(self, prompt: str, question: Question) -> str:
        """See `Backend`."""
        fps = max(1, round(question.sampling_fps))
        clip = {"mime_type": "video/mp4", "data": _inline(_video(question))}
        parts = [{"inline_data": clip, "video_metadata": {"fps": fps}}, {"text": prompt}]
        model = urllib.parse.quote(self.model, safe="-._")
        reply = post_json(
            f"{self.url}/models/{model}:generateContent",
            {"contents": [{"role": "user", "parts": parts}]},
            headers={"x-goog-api-key": self._key},
            timeout=self.timeout,
        )
        candidates = _dig(reply, "candidates")
        if not candidates and (blocked := _dig(reply, "promptFeedback", "blockReason")):
            raise PermanentFailure(f"Gemini refuses this clip: {str(blocked)[:_SHOWN]}")
        texts = [_dig(part, "text") for part in _items(_dig(candidates, 0, "content", "parts"))]
        return _text_of([text for text in texts if isinstance(text, str)], reply)


class OpenAIBackend:
    """An endpoint with `/chat/completions` as OpenAI's; also local ones.

    Args:
        url: up to and with the version, for instance `http://localhost:8000/v1`.
        model: name of the model.
        key: of the service; None takes OPENAI_API_KEY of the environment, or sends none.
        send: "pictures" sends stills at the sampling rate, which every such endpoint with a vision model takes; "video"
            the whole clip as `video_url`.
        timeout: seconds for one answer.

    Raises:
        ValueError: a bad URL or an unknown way to send.
    """

    def __init__(
        self, url: str, model: str, *, key: str | None = None, send: str = "pictures", timeout: float = TIMEOUT_S
    ) -> None:
        if send not in ("pictures", "video"):
            raise ValueError(f"send is '{send}'; known: pictures, video.")
        self.url, self.model, self.send, self.timeout = _checked_url(url), model, send, timeout
        self._key = key if key is not None else os.environ.get(OPENAI_KEY, "")

    @property
    def source(self) -> str:
        """Service, model and what it is shown."""
        return f"openai {self.model} {self.url} {self.send}"

    def ask(self, prompt: str, question: Question) -> str:
        """See `Backend`."""
        reply = post_json(
            f"{self.url}/chat/completions",
            {"model": self.model, "messages": [{"role": "user", "content": self._content(prompt, question)}]},
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self.timeout,
        )
        content = _dig(reply, "choices", 0, "message", "content")
        texts = [content] if isinstance(content, str) else [_dig(part, "text") for part in _items(content)]
        return _text_of([text for text in texts if isinstance(text, str)], reply)

    def _content(self, prompt: str, question: Question) -> list[dict[str, Any]]:
        video = _video(question)
        if self.send == "video":
            shown = [{"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{_inline(video)}"}}]
        else:
            pictures = sampled_pictures(video, question.sampling_fps)
            links = [f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}" for jpeg in pictures]
            shown = [{"type": "image_url", "image_url": {"url": link}} for link in links]
            prompt = f"The {len(pictures)} pictures are the clip in order, evenly spaced in time.\n{prompt}"
        return [*shown, {"type": "text", "text": prompt}]


class CommandBackend:
    """A program of the user: what it prints is the answer, an exit status other than 0 means try again.

    Args:
        command: its words; `{video}`, `{description}`, `{prompt}` and `{fps}` in them are replaced. No shell reads
            them.
        timeout: seconds for one answer.

    Raises:
        ValueError: no word, open quotes, or the clip is never handed over.
    """

    def __init__(self, command: str, *, timeout: float = TIMEOUT_S) -> None:
        self.words, self.command, self.timeout = shlex.split(command), command, timeout
        if not self.words or not any("{video}" in word for word in self.words):
            raise ValueError(f"The command {command!r} must say where the clip goes, for instance: ask.py {{video}}.")

    @property
    def source(self) -> str:
        """The command."""
        return f"command {self.command}"

    def ask(self, prompt: str, question: Question) -> str:
        """See `Backend`."""
        values = {
            "{video}": str(_video(question)), "{description}": question.description, "{prompt}": prompt,
            "{fps}": f"{question.sampling_fps:g}",
        }  # fmt: skip
        words = [_filled(word, values) for word in self.words]
        try:
            status, output, errors = _run(words, self.timeout)
        except subprocess.TimeoutExpired as error:
            raise TemporaryFailure(f"{words[0]} gave no answer within {self.timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise PermanentFailure(f"{words[0]} cannot be run: {error}", concerns_all=True) from error
        if status:
            said = errors.decode("utf-8", "replace").strip().splitlines()
            raise TemporaryFailure(f"{words[0]} ended with status {status}: {(said or [''])[-1][:_SHOWN]}")
        return output[:_LARGEST].decode("utf-8", "replace")


def _run(words: list[str], timeout: float) -> tuple[int, bytes, bytes]:
    """Exit status and what a program printed; when it is too slow, or we are stopped, its own children end with it."""
    own_group = hasattr(os, "killpg")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=own_group
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            if own_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            raise
    return process.returncode, output, errors


def sampled_pictures(video: Path, fps: float) -> list[bytes]:
    """JPEG pictures of a clip, `fps` a second, at most 32, evenly spaced from its first to its last one.

    Raises:
        PermanentFailure: it cannot be decoded.
    """
    try:
        facts = read_video_metadata(video)
        total = len(facts.times) or sum(1 for _ in video_pictures(video))
        seconds = total / facts.fps if facts.fps else total / fps
        count = min(max(round(seconds * fps), 1), total, _MOST_PICTURES)
        chosen = [round(i * (total - 1) / max(count - 1, 1)) for i in range(count)]
        return [_jpeg(picture) for picture in video_pictures(video, chosen)]
    except (OSError, ValueError) as error:
        raise PermanentFailure(str(error)) from error


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def post_json(url: str, body: Mapping[str, Any], *, headers: Mapping[str, str], timeout: float) -> Any:
    """The JSON that a service answers to a POST of JSON. No redirect is followed, so that a key stays with its service.

    Raises:
        TemporaryFailure: no connection, too slow, busy (429), broken (5xx), or an answer that is no JSON.
        PermanentFailure: the service refuses.
    """
    request = urllib.request.Request(
        url, json.dumps(body).encode("ascii"), {"Content-Type": "application/json", **headers}, method="POST"
    )
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    end = time.monotonic() + timeout
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            content = _read(response, end)
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
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TemporaryFailure(f"{host} answered with something that is no JSON: {_shown(content)}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follows none; the status of the redirection becomes an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _read(response: Any, end: float) -> bytes:
    """All of a reply; TimeoutError where it drips in for too long, TemporaryFailure where it never ends."""
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
        said = _dig(json.loads(content), "error", "message") or _shown(content)
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


def _dig(value: Any, *path: str | int) -> Any:
    """What lies under keys and numbers; None where there is nothing, or something of another kind."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and len(value) > step:
            value = value[step]
        else:
            return None
    return value


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_of(texts: list[str], reply: Any) -> str:
    if not texts:
        said = json.dumps(reply, ensure_ascii=False)[:_SHOWN]
        raise TemporaryFailure(f"the service answered without any text: {said}")
    return "".join(texts)


def _video(question: Question) -> Path:
    assert question.video is not None  # the judge has looked
    return question.video


def _inline(video: Path) -> str:
    try:
        content = video.read_bytes()
    except OSError as error:
        raise PermanentFailure(f"{video} cannot be read: {error}") from error
    if len(content) > _LARGEST_CLIP:
        raise PermanentFailure(f"{video} has {len(content) >> 20} MiB; at most {_LARGEST_CLIP >> 20} can be sent")
    return base64.b64encode(content).decode("ascii")


def _filled(word: str, values: Mapping[str, str]) -> str:
    """A word with its place-holders replaced once; what is put in is not looked at again."""
    parts, rest = [], word
    while rest:
        found = [(rest.find(name), name) for name in values if name in rest]
        if not found:
            return "".join([*parts, rest])
        place, name = min(found)
        parts += [rest[:place], values[name]]
        rest = rest[place + len(name) :]
    return "".join(parts)


def _checked_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is no address of a service; expected something like http://localhost:8000/v1.")
    if "@" in parts.netloc or parts.query:
        raise ValueError("The address of the service holds a password or a query. Keys belong into the environment.")
    return url.rstrip("/")
