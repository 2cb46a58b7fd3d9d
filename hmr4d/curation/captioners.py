"""Captioners: a captions file, phrases from speed and direction, a command, or an OpenAI-compatible server."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hmr4d.curation.clip_statistics import VIEWPOINTS, viewpoints
from hmr4d.curation.detectors import build, checked_command, run_command
from hmr4d.curation.records import Record, Rejected
from hmr4d.curation.video_frames import nearest_pictures, probe
from hmr4d.data.importers.caption_tables import CaptionTable, read_captions_file
from hmr4d.utils.services import TemporaryFailure, checked_key, checked_url, dig, post_json

PROMPT_ID = "boxed_person_1"
PROMPT = (
    "A red box marks one person in this video. Describe in one or two short sentences how that person moves, in the "
    "order of time. Say nothing of clothes, looks or surroundings."
)
_CLIP_ID = re.compile("[0-9a-f]{16}")
PICTURES = 8  # images per clip for a server
KEY = "HMR4D_CAPTIONER_KEY"  # environment variable of a server's key
_SLOW, _FAST = 0.15, 0.6  # limits of slow and fast motion, body heights per second
_TURNED = 0.3  # body heights; smallest sideways displacement with a named direction


@dataclass(frozen=True)
class Clip:
    """Input of a captioner.

    Attributes:
        record: record of the clip.
        video: mp4 of the clip with the person in a red box; None without video.
    """

    record: Record
    video: Path | None


class Captioner(Protocol):
    """Interface: describes clips.

    Attributes:
        name: model name in captions.
        needs_video: whether the captioner needs video frames.
    """

    name: str
    needs_video: bool

    def caption(self, clip: Clip, prompt: str) -> list[str]:
        """Sentences about a clip, each a separate caption."""
        ...


class FileCaptions:
    """Captions from a file, by clip id or source name; clips without caption are excluded.

    Args:
        path: see `read_captions_file`.
    """

    name, needs_video = "file", False

    def __init__(self, path: str) -> None:
        self.table: CaptionTable = read_captions_file(path)

    def strangers(self, sources: Iterable[str]) -> list[str]:
        """Names in the file that match no source and cannot be a clip id."""
        known = {name for source in sources for name in _names_of(source)}
        return [name for name in self.table.captions if name not in known and not _CLIP_ID.fullmatch(name)]

    def caption(self, clip: Clip, prompt: str) -> list[str]:
        source = str(clip.record.meta["source"]["id"])
        texts = next(
            (self.table.captions[n] for n in (clip.record.key, *_names_of(source)) if n in self.table.captions), []
        )
        if not texts:
            raise Rejected("no_caption", f"the captions file has neither {clip.record.key} nor {source}.")
        return texts

    def check_sources(self, sources: Iterable[str]) -> None:
        """Raises ValueError if a name in the file is ambiguous."""
        meant: dict[str, str] = {}
        for source in sources:
            name = next((n for n in _names_of(source) if n in self.table.captions), source)
            if meant.setdefault(name, source) != source:
                raise ValueError(
                    f"'{name}' in the captions file may be {meant[name]} or {source}. Write the path below --root."
                )


def _names_of(source: str) -> tuple[str, ...]:
    """Possible names of a source in a captions file, the simplest first."""
    path = Path(source)
    return source, path.with_suffix("").as_posix(), path.name, path.stem


class TemplateCaptions:
    """Captions from viewpoint, speed and direction, for tests and trials without a model."""

    name, needs_video = "template", False

    def caption(self, clip: Clip, prompt: str) -> list[str]:
        keypoints, meta = clip.record.arrays["kpts"][:, :17], clip.record.meta
        view = VIEWPOINTS[int(np.bincount(viewpoints(keypoints)).argmax())]
        boxes = clip.record.arrays["bbox_xyxy"]
        height = max(float(np.median(boxes[:, 3] - boxes[:, 1])), 1.0)
        middle = boxes[:, [0, 2]].mean(1)
        across = float(middle[-1] - middle[0]) / height
        speed = float(meta["mean_speed"])
        how = "slowly" if speed < _SLOW else "fast" if speed > _FAST else "steadily"
        where = "" if abs(across) < _TURNED else f" to the {'right' if across > 0 else 'left'} of the picture"
        seen = {"front": "seen from the front", "back": "seen from behind"}.get(view, f"seen from the {view} side")
        return [f"a person {seen} moves {how}{where}"]


class CommandCaptions:
    """A command that prints captions, one per line.

    Args:
        command: command line with {video} and, optionally, {prompt}.
    """

    name, needs_video = "command", True

    def __init__(self, command: str) -> None:
        self.words = checked_command(command, ("{video}",))

    def caption(self, clip: Clip, prompt: str) -> list[str]:
        words = [w.replace("{video}", str(clip.video)).replace("{prompt}", prompt) for w in self.words]
        return run_command(words).splitlines()


class EndpointCaptions:
    """A server with OpenAI's chat completions; it gets PICTURES frames of a clip.

    Args:
        address: `URL` or `URL#MODEL`, such as http://localhost:8000/v1#my-model. The environment variable
            HMR4D_CAPTIONER_KEY may contain a key.
    """

    name, needs_video = "openai", True

    def __init__(self, address: str) -> None:
        url, _, model = address.partition("#")
        self.url, self.model = f"{checked_url(url)}/chat/completions", model or "default"
        self.name = f"openai:{self.model}"

    def caption(self, clip: Clip, prompt: str) -> list[str]:
        assert clip.video is not None  # `needs_video`
        images = [{"type": "image_url", "image_url": {"url": url}} for url in _pictures(clip.video)]
        content = [{"type": "text", "text": prompt}, *images]
        body = {"model": self.model, "temperature": 0, "messages": [{"role": "user", "content": content}]}
        key = checked_key(os.environ.get(KEY, ""), KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        said = dig(post_json(self.url, body, headers=headers), "choices", 0, "message", "content")
        if not isinstance(said, str):
            raise TemporaryFailure(f"{self.url} answered without choices[0].message.content")
        return [said]


class NoCaptions:
    """Adds no captions."""

    name, needs_video = "none", False

    def caption(self, clip: Clip, prompt: str) -> list[str]:
        return []


CAPTIONERS: dict[str, Callable[..., Any]] = {
    "file": FileCaptions,
    "template": TemplateCaptions,
    "command": CommandCaptions,
    "openai": EndpointCaptions,
    "none": NoCaptions,
}


def build_captioner(spec: str) -> Captioner:
    """The captioner for `name` or `name:argument`. Raises ValueError with the known names if it is unknown."""
    return build(spec, CAPTIONERS, "captioner")


def captions_of(captioner: Captioner, clip: Clip, prompt: str = PROMPT) -> list[dict[str, str]]:
    """Captions of a clip in the format of its JSON.

    Raises:
        Rejected: the captioner needs video frames but there are none, or it returned no caption.
    """
    if captioner.needs_video and clip.video is None:
        raise Rejected(
            "no_pictures", f"the captioner '{captioner.name}' needs a video, but the source has only keypoints."
        )
    texts = [" ".join(text.split()) for text in captioner.caption(clip, prompt)]
    texts = [text for text in texts if text]
    if not texts and not isinstance(captioner, NoCaptions):
        raise Rejected("no_caption", f"the captioner '{captioner.name}' returned no caption.")
    prompt_id = PROMPT_ID if captioner.needs_video else ""
    return [{"text": text, "model": captioner.name, "prompt_id": prompt_id} for text in texts]


def _pictures(video: Path) -> Sequence[str]:
    """PICTURES evenly spaced frames of a clip, as data URLs."""
    _, times = probe(video)
    return [_data_url(picture) for picture in nearest_pictures(video, times, np.linspace(0, times[-1], PICTURES))]


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.thumbnail((640, 640))
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
