"""Backends of the judge: Gemini, OpenAI-compatible endpoints, and commands of the user."""

from __future__ import annotations

import base64
import io
import json
import os
import shlex
import signal
import subprocess
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from hmr4d.detection.video_pictures import read_video_metadata, video_pictures
from hmr4d.reference_motion.vlm import Question
from hmr4d.utils.services import (
    TIMEOUT_S,
    PermanentFailure,
    TemporaryFailure,
    checked_key,
    checked_timeout,
    checked_url,
    dig,
    post_json,
)

GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta"
GEMINI_MODEL = "gemini-2.5-flash"
GEMINI_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")  # environment variables
OPENAI_KEY = "OPENAI_API_KEY"
_LARGEST = 1 << 24  # bytes; largest reply
_LARGEST_CLIP = 20 << 20  # bytes; largest clip that services accept inline
_MOST_PICTURES = 32
_SHOWN = 200  # characters of a service's message that are shown


class GeminiBackend:
    """Google's Gemini; the clip is sent inline before the text.

    Args:
        key: API key; None: GEMINI_API_KEY or GOOGLE_API_KEY of the environment.
        model: name of the model.
        url: URL of the service.
        timeout: timeout of an answer, seconds.

    Raises:
        ValueError: the key is missing, or the URL is invalid.
    """

    def __init__(
        self, *, key: str | None = None, model: str = GEMINI_MODEL, url: str = GEMINI_URL, timeout: float = TIMEOUT_S
    ) -> None:
        name = next((name for name in GEMINI_KEYS if os.environ.get(name)), GEMINI_KEYS[0])
        self._key = checked_key(key or os.environ.get(name, ""), "key" if key else name)
        if not self._key:
            raise ValueError(f"Gemini needs a key: set {GEMINI_KEYS[0]} in the environment, or choose another judge.")
        self.model, self.url, self.timeout = model, checked_url(url), checked_timeout(timeout)

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
        candidates = dig(reply, "candidates")
        if not candidates and (blocked := dig(reply, "promptFeedback", "blockReason")):
            raise PermanentFailure(f"Gemini rejects this clip: {str(blocked)[:_SHOWN]}")
        texts = [dig(part, "text") for part in _items(dig(candidates, 0, "content", "parts"))]
        return _text_of([text for text in texts if isinstance(text, str)], reply)


class OpenAIBackend:
    """An endpoint with OpenAI's `/chat/completions`, also local.

    Args:
        url: URL including the version, for example `http://localhost:8000/v1`.
        model: name of the model.
        key: API key; None: OPENAI_API_KEY of the environment, or no key.
        send: "pictures": images at the sampling rate, which every endpoint with a vision model supports; "video": the
            whole clip as `video_url`.
        timeout: timeout of an answer, seconds.

    Raises:
        ValueError: the URL is invalid, or `send` is unknown.
    """

    def __init__(
        self, url: str, model: str, *, key: str | None = None, send: str = "pictures", timeout: float = TIMEOUT_S
    ) -> None:
        if send not in ("pictures", "video"):
            raise ValueError(f"send is '{send}'; known: pictures, video.")
        self.url, self.model, self.send, self.timeout = checked_url(url), model, send, checked_timeout(timeout)
        given = key is not None
        self._key = checked_key(key if given else os.environ.get(OPENAI_KEY, ""), "key" if given else OPENAI_KEY)

    @property
    def source(self) -> str:
        """Service, model and its input."""
        return f"openai {self.model} {self.url} {self.send}"

    def ask(self, prompt: str, question: Question) -> str:
        """See `Backend`."""
        reply = post_json(
            f"{self.url}/chat/completions",
            {"model": self.model, "messages": [{"role": "user", "content": self._content(prompt, question)}]},
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self.timeout,
        )
        content = dig(reply, "choices", 0, "message", "content")
        texts = [content] if isinstance(content, str) else [dig(part, "text") for part in _items(content)]
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
    """A program of the user: its output is the answer; an exit status other than 0 triggers a retry.

    Args:
        command: command line; `{video}`, `{description}`, `{prompt}` and `{fps}` are replaced. It is not run by a
            shell.
        timeout: timeout of an answer, seconds.

    Raises:
        ValueError: the command is empty, has unbalanced quotes, or lacks `{video}`.
    """

    def __init__(self, command: str, *, timeout: float = TIMEOUT_S) -> None:
        self.words, self.command, self.timeout = shlex.split(command), command, checked_timeout(timeout)
        if not self.words or not any("{video}" in word for word in self.words):
            raise ValueError(
                f"The command {command!r} does not receive the clip. Add {{video}}, for example: ask.py {{video}}."
            )

    @property
    def source(self) -> str:
        """The command."""
        return f"command {self.command}"

    def ask(self, prompt: str, question: Question) -> str:
        """See `Backend`."""
        values = {
            "{video}": str(_video(question)),
            "{description}": question.description,
            "{prompt}": prompt,
            "{fps}": f"{question.sampling_fps:g}",
        }
        words = [_filled(word, values) for word in self.words]
        try:
            status, output, errors = _run(words, self.timeout)
        except subprocess.TimeoutExpired as error:
            raise TemporaryFailure(f"{words[0]} gave no answer within {self.timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise PermanentFailure(f"{words[0]} cannot be run: {error}", concerns_all=True) from error
        if status:
            said = errors.decode("utf-8", "replace").strip().splitlines()
            last = f": {said[-1][:_SHOWN]}" if said else ""
            raise TemporaryFailure(f"{words[0]} ended with status {status}{last}")
        return output[:_LARGEST].decode("utf-8", "replace")


def _run(words: list[str], timeout: float) -> tuple[int, bytes, bytes]:
    """Exit status and output of a program. On timeout or interruption its child processes are ended, too."""
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
    """JPEG images of a clip, `fps` per second, at most 32, evenly spaced from the first to the last frame.

    Raises:
        PermanentFailure: the clip cannot be decoded.
    """
    try:
        metadata = read_video_metadata(video)
        total = len(metadata.times) or sum(1 for _ in video_pictures(video))
        seconds = total / metadata.fps if metadata.fps else total / fps
        count = min(max(round(seconds * fps), 1), total, _MOST_PICTURES)
        chosen = [round(i * (total - 1) / max(count - 1, 1)) for i in range(count)]
        return [_jpeg(picture) for picture in video_pictures(video, chosen)]
    except (OSError, ValueError) as error:
        raise PermanentFailure(str(error)) from error


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_of(texts: list[str], reply: Any) -> str:
    if not texts:
        shown = json.dumps(reply, ensure_ascii=False)[:_SHOWN]
        raise TemporaryFailure(f"the service answered without any text: {shown}")
    return "".join(texts)


def _video(question: Question) -> Path:
    assert question.video is not None  # checked by the judge
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
    """A word with its placeholders replaced once, without recursion."""
    parts, rest = [], word
    while rest:
        found = [(rest.find(name), name) for name in values if name in rest]
        if not found:
            return "".join([*parts, rest])
        place, name = min(found)
        parts += [rest[:place], values[name]]
        rest = rest[place + len(name) :]
    return "".join(parts)
