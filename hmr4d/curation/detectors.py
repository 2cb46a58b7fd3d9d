"""Detectors of people: existing keypoint files, a command, a server, or the packaged detector.

A frame detector (`PoseEstimator`) returns the people in each image. A track detector (`TrackDetector`) returns the
tracks of all people in a source. Keypoint files may have any layout that `hmr4d.keypoint_files` reads. `name:argument`
selects a detector, such as `command:my_tool {video} {out}`.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hmr4d.curation.records import Rejected
from hmr4d.curation.sources import Source
from hmr4d.keypoint_files.reading import KeypointTrack, NobodyError, read_keypoints
from hmr4d.utils.services import checked_url, post
from hmr4d.utils.text_files import printable

COMMAND_SECONDS = 3600.0


class Person(TypedDict):
    """One person in one image."""

    bbox: Sequence[float]  # left, top, right, bottom, pixels
    score: float
    kpts: Any  # (17, 3) COCO-17 x, y, confidence


class PoseEstimator(Protocol):
    """Detects people in images."""

    name: str
    version: str

    def infer(self, frames: NDArray[np.uint8], boxes: NDArray[np.floating] | None = None) -> list[list[Person]]:
        """The people of each frame.

        Args:
            frames: (T, H, W, 3) RGB.
            boxes: (T, 4) search regions; None: the whole image.
        """
        ...


@dataclass(frozen=True)
class Reading:
    """Values that keypoint files may lack.

    Attributes:
        skeleton: skeleton; None: from the file or detected from the limbs.
        size: width and height of the images; required for relative coordinates.
    """

    skeleton: str | None = None
    size: tuple[int, int] | None = None


@runtime_checkable
class TrackDetector(Protocol):
    """Interface: returns the tracks of all people in a source."""

    name: str
    version: str

    def tracks(self, source: Source, reading: Reading) -> list[KeypointTrack]:
        """The tracks of a source. Raises Rejected if they cannot be determined."""
        ...


class Precomputed:
    """Existing keypoint files: the source itself, or the file of the same name next to a video."""

    name, version = "precomputed", "1"

    def tracks(self, source: Source, reading: Reading) -> list[KeypointTrack]:
        file = source.keypoints if source.is_video else source.path
        if file is None:
            raise Rejected(
                "no_keypoints", f"there is no keypoint file next to {source.id}, such as {Path(source.id).stem}.json."
            )
        return tracks_of_file(file, reading)


class CommandDetector:
    """A command that writes a keypoint file; sources that are keypoint files are read directly.

    Args:
        command: words with {video} and {out}; {out} is a .json file to write.
    """

    name, version = "command", "1"

    def __init__(self, command: str) -> None:
        self.words = checked_command(command, ("{video}", "{out}"))

    def tracks(self, source: Source, reading: Reading) -> list[KeypointTrack]:
        if not source.is_video:
            return tracks_of_file(source.path, reading)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "keypoints.json"
            run_command([w.replace("{video}", str(source.path)).replace("{out}", str(out)) for w in self.words])
            if not out.is_file():
                raise RuntimeError(f"the command {self.words[0]} succeeded but wrote no {out.name}.")
            return tracks_of_file(out, reading)


class Packaged:
    """The detector of this package. Raises ImportError if it is not installed."""

    name, version = "packaged", "1"

    def __init__(self) -> None:
        try:
            from hmr4d.detection.people_in_video import detect_people  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "This installation has no detector. Choose one: --detector 'command:TOOL {video} {out}' or --detector "
                "http://HOST/PATH, or put keypoint files next to the videos (--detector precomputed)."
            ) from error
        self._detect = detect_people

    def tracks(self, source: Source, reading: Reading) -> list[KeypointTrack]:
        return self._detect(source.path).tracks if source.is_video else tracks_of_file(source.path, reading)


def tracks_of_file(path: Path, reading: Reading) -> list[KeypointTrack]:
    """The tracks in a keypoint file. Raises Rejected if it cannot be read."""
    try:
        tracks = read_keypoints(path, person="all", skeleton=reading.skeleton, size=reading.size)
    except NobodyError as error:
        raise Rejected("person", str(error)) from error
    except (ValueError, OSError) as error:
        raise Rejected("unreadable", str(error)) from error
    assert isinstance(tracks, list)
    return tracks


class HttpDetector:
    """A server that detects people in frames.

    It gets a POST with a .npy file, (T, H, W, 3) uint8 RGB, and answers JSON: a list of {"bbox", "score", "kpts"} per
    frame.

    Args:
        url: URL of the server.
    """

    name, version = "http", "1"

    def __init__(self, url: str) -> None:
        checked_url(url)
        self.url = url  # keeps a final slash, which some servers need

    def infer(self, frames: NDArray[np.uint8], boxes: NDArray[np.floating] | None = None) -> list[list[Person]]:
        with tempfile.SpooledTemporaryFile() as file:
            np.lib.format.write_array(file, np.ascontiguousarray(frames), allow_pickle=False)  # type: ignore[arg-type]
            file.seek(0)
            answer = post(self.url, file.read(), "application/octet-stream")
        if not isinstance(answer, list) or len(answer) != len(frames) or not all(isinstance(p, list) for p in answer):
            raise ValueError(
                f"{self.url} answered {_shown(answer)}; expected one list for each of {len(frames)} frames."
            )
        if faulty := [person for people in answer for person in people if not _is_person(person)]:
            raise ValueError(
                f"{self.url} answered the person {_shown(faulty[0])}; expected 'bbox' with 4 finite numbers and 'kpts' "
                "with 17 x 3."
            )
        return answer


DETECTORS: dict[str, Callable[..., Any]] = {
    "precomputed": Precomputed,
    "command": CommandDetector,
    "http": HttpDetector,
    "packaged": Packaged,
}


def build_detector(spec: str) -> PoseEstimator | TrackDetector:
    """The detector for `name` or `name:argument`. Raises ValueError with the known names if it is unknown."""
    return build(spec, DETECTORS, "detector")


def build(spec: str, known: dict[str, Callable[..., Any]], what: str) -> Any:
    """Builds the object for `name` or `name:argument` from a table of constructors."""
    name, colon, argument = spec.partition(":")
    if name == "https" or (name == "http" and argument.startswith("//")):
        name, argument, colon = "http", spec, ":"
    if name not in known:
        raise ValueError(f"Unknown {what} '{name}'; known: {', '.join(known)}.")
    try:
        return known[name](argument) if colon else known[name]()
    except TypeError as error:
        needs = "needs an argument" if not colon else "takes no argument"
        raise ValueError(f"The {what} '{name}' {needs}; got '{spec}'.") from error


def checked_command(command: str, marks: Sequence[str]) -> list[str]:
    """Words of a command. Raises ValueError if a placeholder is missing."""
    words = shlex.split(command)
    if missing := [mark for mark in marks if not any(mark in word for word in words)]:
        raise ValueError(f"The command '{command}' lacks {' and '.join(missing)}. Write: tool {' '.join(marks)}.")
    return words


def run_command(words: Sequence[str]) -> str:
    """The output of a command. Raises RuntimeError if it fails."""
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"the command {words[0]} did not run ({printable(str(error))[:200]}).") from error
    if done.returncode:
        message = printable(done.stderr.decode("utf-8", "replace").strip())[-200:]
        raise RuntimeError(f"the command {words[0]} ended with status {done.returncode}: {message or 'no message'}.")
    return done.stdout.decode("utf-8", "replace")


def _is_person(person: Any) -> bool:
    """Whether an answer has the form of `Person`, with finite numbers."""
    try:
        box, points = (np.asarray(person[name], np.float64) for name in ("bbox", "kpts"))
    except (TypeError, KeyError, ValueError, OverflowError):
        return False
    return box.shape == (4,) and points.shape == (17, 3) and bool(np.isfinite(box).all() and np.isfinite(points).all())


def _shown(value: Any) -> str:
    return printable(repr(value))[:100]
