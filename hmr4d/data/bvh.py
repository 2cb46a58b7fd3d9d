"""BVH motion files: a reader that follows each file's own header, and vectorised forward kinematics."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

_AXES = {"X": 0, "Y": 1, "Z": 2}
_CHANNEL_NAMES = {f"{axis}{kind}".lower(): f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}
_MOTION_LINE = re.compile(rb"^[ \t]*MOTION[ \t]*\r?$", re.MULTILINE)


class BvhError(ValueError):
    """A BVH file that cannot be read: one sentence with file, line and cause."""


@dataclass(frozen=True)
class BvhClip:
    """One BVH file.

    Attributes:
        name: where the clip came from, for messages.
        joint_names: J names in file order; end sites are left out, or come last, see `read_bvh`.
        parents: parent index per joint, -1 for a root; a parent precedes its children.
        offsets: (J, 3) OFFSET of each joint from its parent, in file units.
        channels: per joint, its channel names in listed order, such as "Xposition" or "Zrotation".
        frame_time: seconds between two frames, as written.
        motion: (T, C) channel values, C in header order; positions in file units, rotations in degrees.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    frame_time: float
    motion: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.motion)

    @property
    def fps(self) -> float:
        """Frames per second; a whole number where 1 / frame_time is one up to the digits people write (.0083333)."""
        rate = 1.0 / self.frame_time
        return float(round(rate)) if round(rate) and abs(rate - round(rate)) < 1e-3 * rate else rate

    @cached_property
    def first_channel(self) -> tuple[int, ...]:
        """Column of `motion` where each joint's channels start."""
        counts = [len(c) for c in self.channels]
        return tuple(int(n) for n in np.cumsum([0, *counts[:-1]]))

    def forward_kinematics(self, *, add_offset_to_positions: bool = False) -> np.ndarray:
        """Joint positions in file units and file axes.

        Local rotation: product of the rotation channels in listed order (column vectors); global = parent * local.

        Args:
            add_offset_to_positions: False reads position channels as the joint's full local translation, which takes
                the place of OFFSET; True adds them to OFFSET.

        Returns:
            (T, J, 3) float64 positions.
        """
        num_frames, num_joints = len(self.motion), len(self.joint_names)
        columns = np.ascontiguousarray(self.motion.T)
        is_rotation = np.array([c.endswith("rotation") for names in self.channels for c in names], dtype=bool)
        angles = np.radians(columns[is_rotation])
        cosines, sines = np.zeros_like(columns), np.zeros_like(columns)
        cosines[is_rotation], sines[is_rotation] = np.cos(angles), np.sin(angles)
        positions = np.empty((num_joints, 3, num_frames))
        # bases[j] holds the three columns of the global rotation of joint j, each (3, T).
        bases: list[list[np.ndarray]] = []
        identity = [np.repeat(row[:, None], num_frames, axis=1) for row in np.eye(3)]
        for j, parent in enumerate(self.parents):
            parent_basis = identity if parent < 0 else bases[parent]
            basis = parent_basis.copy()
            translation: list[np.ndarray | float] = list(self.offsets[j])
            for row, channel in enumerate(self.channels[j], start=self.first_channel[j]):
                axis = _AXES[channel[0]]
                if is_rotation[row]:
                    a, b = (axis + 1) % 3, (axis + 2) % 3
                    cos, sin = cosines[row], sines[row]
                    basis[a], basis[b] = cos * basis[a] + sin * basis[b], cos * basis[b] - sin * basis[a]
                else:
                    translation[axis] = columns[row] + (self.offsets[j, axis] if add_offset_to_positions else 0.0)
            bases.append(basis)
            positions[j] = sum(column * value for column, value in zip(parent_basis, translation, strict=True))
            if parent >= 0:
                positions[j] += positions[parent]
        return np.ascontiguousarray(positions.transpose(2, 0, 1))


def read_bvh(source: str | os.PathLike[str] | bytes, *, name: str | None = None, end_sites: bool = False) -> BvhClip:
    """Reads one BVH file.

    Any channel order and number per joint, tabs, CR/LF line ends, exponents and named end sites are understood.

    Args:
        source: a path, or the content of the file.
        name: how messages call the file; the path by default.
        end_sites: keep end sites as joints without channels, called "<joint>_end".

    Raises:
        FileNotFoundError: the path does not exist.
        BvhError: the file is malformed or cut short; the message names the file, the line and the cause.
    """
    if isinstance(source, bytes):
        content, name = source, name or "<bytes>"
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"BVH file not found: {path}.")
        content, name = path.read_bytes(), name or str(path)
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    if b"\n" not in content:  # the line end of old Macs
        content = content.replace(b"\r", b"\n")
    match = _MOTION_LINE.search(content)
    header = content[: match.start()] if match else content
    parser = _HeaderParser(header, name)
    joint_names, parents, offsets, channels = parser.parse()
    if end_sites:
        ends = {joint: end for joint, end in parser.ends.items() if f"{joint_names[joint]}_end" not in joint_names}
        joint_names += tuple(f"{joint_names[joint]}_end" for joint in ends)
        parents, channels = (*parents, *ends), (*channels, *(() for _ in ends))
        offsets = np.concatenate([offsets, np.array([*ends.values()], dtype=np.float64).reshape(-1, 3)])
    if match is None:
        lines = content.count(b"\n") + 1
        raise BvhError(f"{name}, line {lines}: the file ends without a MOTION section; it is cut short or no BVH file.")
    num_channels = sum(len(c) for c in channels)
    num_frames, frame_time, start = _read_motion_header(content, match.end(), name)
    motion = _read_numbers(content, start, num_frames, num_channels, name)
    return BvhClip(name, joint_names, parents, offsets, channels, frame_time, motion)


class _HeaderParser:
    """Recursive structure read with an explicit stack; knows the line of every token for messages."""

    def __init__(self, header: bytes, name: str) -> None:
        text = header.decode("utf-8", errors="replace")
        self.tokens = [(token, n) for n, line in enumerate(text.splitlines(), start=1) for token in line.split()]
        self.name = name
        self.at = 0
        self.ends: dict[int, list[float]] = {}  # joint -> OFFSET of its first end site

    def fail(self, cause: str) -> BvhError:
        line = self.tokens[min(self.at, len(self.tokens)) - 1][1] if self.tokens else 1
        return BvhError(f"{self.name}, line {line}: {cause}.")

    def next(self, expected: str) -> str:
        if self.at >= len(self.tokens):
            raise self.fail(f"the header ends where {expected} was expected")
        self.at += 1
        return self.tokens[self.at - 1][0]

    def numbers(self, count: int, what: str) -> list[float]:
        values = []
        for found in range(count):
            token = self.next(f"a number of {what}")
            try:
                values.append(float(token))
            except ValueError:
                raise self.fail(f"{what} needs {count} numbers, found {found} and then '{token}'") from None
        if not np.isfinite(values).all():
            raise self.fail(f"{what} has a value that is not finite")
        return values

    def block_name(self, keyword: str) -> str:
        """Words up to the opening brace."""
        words: list[str] = []
        while (token := self.next("'{'")) != "{":
            words.append(token)
            if len(words) > 16:
                raise self.fail(f"no '{{' follows {keyword}")
        return " ".join(words)

    def parse(self) -> tuple[tuple[str, ...], tuple[int, ...], np.ndarray, tuple[tuple[str, ...], ...]]:
        if self.next("HIERARCHY").upper() != "HIERARCHY":
            raise self.fail(f"expected HIERARCHY, found '{self.tokens[self.at - 1][0][:40]}'; this is no BVH file")
        names: list[str] = []
        parents: list[int] = []
        offsets: list[list[float] | None] = []
        channels: list[tuple[str, ...]] = []
        stack: list[int] = []  # joint index per open brace, -1 for an end site
        while self.at < len(self.tokens) or stack:
            keyword = self.next("'}'")
            upper = keyword.upper()
            if upper in ("ROOT", "JOINT"):
                if (upper == "ROOT") != (not stack) or (stack and stack[-1] < 0):
                    raise self.fail(f"{upper} in the wrong place")
                joint = self.block_name(upper)
                if not joint or joint in names:
                    raise self.fail(f"joint name '{joint}' is {'given twice' if joint else 'empty'}")
                parents.append(stack[-1] if stack else -1)
                names.append(joint)
                offsets.append(None)
                channels.append(())
                stack.append(len(names) - 1)
            elif upper == "END" and stack and stack[-1] >= 0:
                self.block_name("End Site")
                stack.append(-1)
            elif upper == "OFFSET" and stack:
                values = self.numbers(3, "OFFSET")
                if stack[-1] >= 0:
                    offsets[stack[-1]] = values
                else:
                    self.ends.setdefault(stack[-2], values)
            elif upper == "CHANNELS" and stack and stack[-1] >= 0:
                channels[stack[-1]] = self.channel_list(names[stack[-1]])
            elif keyword == "}" and stack:
                joint_index = stack.pop()
                if joint_index >= 0 and offsets[joint_index] is None:
                    raise self.fail(f"joint '{names[joint_index]}' has no OFFSET")
            else:
                raise self.fail(f"unexpected '{keyword[:40]}' in the hierarchy")
        if not names:
            raise self.fail("the hierarchy holds no joint")
        return tuple(names), tuple(parents), np.array(offsets, dtype=np.float64), tuple(channels)

    def channel_list(self, joint: str) -> tuple[str, ...]:
        token = self.next("the number of channels")
        if not token.isdigit():
            raise self.fail(f"CHANNELS of '{joint}' needs a count, found '{token[:40]}'")
        found: list[str] = []
        for _ in range(int(token)):
            word = self.next(f"channel {len(found) + 1} of {token} of '{joint}'")
            if word.lower() not in _CHANNEL_NAMES:
                raise self.fail(f"'{joint}' announces {token} channels, but number {len(found) + 1} is '{word[:40]}'")
            found.append(_CHANNEL_NAMES[word.lower()])
        return tuple(found)


def _line_number(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _read_motion_header(content: bytes, position: int, name: str) -> tuple[int, float, int]:
    """(number of frames, frame time in seconds, where the numbers start)."""
    values: list[float] = []
    for label, pattern in (
        ("Frames:", rb"\s*Frames:[ \t]*([^\r\n]*)"),
        ("Frame Time:", rb"\s*Frame Time:[ \t]*([^\r\n]*)"),
    ):
        match = re.compile(pattern, re.IGNORECASE).match(content, position)
        if match is None:
            line = _line_number(content, position) + 1
            raise BvhError(f"{name}, line {line}: expected '{label}' after MOTION.")
        try:
            value = float(match[1])
        except ValueError:
            value = -1.0
        if not (np.isfinite(value) and value > 0) or (label == "Frames:" and value != int(value)):
            shown = match[1].decode("utf-8", errors="replace").strip()[:40]
            line = _line_number(content, match.start(1))
            raise BvhError(f"{name}, line {line}: '{label}' needs a positive number, found '{shown}'.")
        values.append(value)
        position = match.end()
    return int(values[0]), values[1], position


def _read_numbers(content: bytes, start: int, num_frames: int, num_channels: int, name: str) -> np.ndarray:
    """(num_frames, num_channels) float64; the fast path reads all numbers at once, errors are looked for afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # older NumPy warns, newer raises, on words among numbers
        try:
            numbers = np.fromstring(content[start:], dtype=np.float64, sep=" ")
        except ValueError:
            numbers = np.empty(0)
    if numbers.size != num_frames * num_channels or not np.isfinite(numbers).all():
        raise _locate_number_error(content, start, num_frames, num_channels, name)
    return numbers.reshape(num_frames, num_channels)


def _locate_number_error(content: bytes, start: int, num_frames: int, num_channels: int, name: str) -> BvhError:
    first_line = _line_number(content, start)
    frames = 0
    line_number = first_line
    for line_number, line in enumerate(content[start:].rstrip().split(b"\n"), start=first_line):
        words = line.split()
        for word in words:
            try:
                finite = bool(np.isfinite(float(word)))
            except ValueError:
                finite = False
            if not finite:
                shown = word.decode("utf-8", errors="replace")[:40]
                return BvhError(f"{name}, line {line_number}: '{shown}' is not a finite number.")
        if words and len(words) != num_channels:
            return BvhError(
                f"{name}, line {line_number}: expected {num_channels} numbers in frame {frames + 1}, "
                f"found {len(words)}."
            )
        frames += bool(words)
    return BvhError(f"{name}, line {line_number}: expected {num_frames} frames, found {frames}.")
