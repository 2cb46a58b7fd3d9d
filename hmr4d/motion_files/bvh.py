"""BVH motion files: a reader that follows each file's own header, and vectorised forward kinematics."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from hmr4d.motion_files.bvh_header import BvhError, read_header
from hmr4d.motion_files.number_words import LARGEST, number_fault, number_or_none
from hmr4d.utils.remarks import Remark
from hmr4d.utils.text_files import decode_text, marked_encoding, printable

__all__ = ["BvhClip", "BvhError", "read_bvh"]

_LEAST = 1e-9  # seconds of a frame, and frames; a rate of less is infinite
_NO_LENGTH = 0.01  # of the OFFSET; position channels of bones are not smaller
_AXES = {"X": 0, "Y": 1, "Z": 2}
_MOTION_LINE = re.compile(rb"^[ \t]*MOTION[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_COMMENT_LINE = re.compile(rb"^[ \t]*(?:#|//)[^\r\n]*", re.MULTILINE)
_FRAMES_LINE = re.compile(rb"\s*Frames[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_FRAME_TIME_LINE = re.compile(rb"\s*Frame[ \t]*Time[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True)
class BvhClip:
    """One BVH file.

    Attributes:
        name: origin of the clip, for messages.
        joint_names: J names in file order, without end sites; duplicates become NAME.001.
        parents: parent index per joint, -1 for a root; a parent precedes its children.
        offsets: (J, 3) OFFSET of each joint from its parent, in file units.
        channels: per joint, its channel names in listed order, such as "Xposition" or "Zrotation".
        frame_time: seconds between two frames, as written.
        motion: (T, C) channel values, C in header order; positions in file units, rotations in degrees.
        end_names: E names of the end sites, JOINT_End.
        end_parents: joint that each end site belongs to.
        end_offsets: (E, 3) OFFSET of each end site from its joint, in file units.
        remarks: warnings about the file.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    frame_time: float
    motion: np.ndarray
    end_names: tuple[str, ...] = ()
    end_parents: tuple[int, ...] = ()
    end_offsets: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    remarks: tuple[Remark, ...] = ()

    @property
    def num_frames(self) -> int:
        return len(self.motion)

    @property
    def fps(self) -> float:
        """Frames per second; a whole number where 1 / frame_time is one up to the digits people write (.0083333)."""
        rate = 1.0 / self.frame_time
        return float(round(rate)) if round(rate) and abs(rate - round(rate)) < 1e-3 * rate else rate

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of joints and end sites, in the order of `forward_kinematics(end_sites=True)`."""
        return (*self.joint_names, *self.end_names)

    @property
    def end_site_of(self) -> dict[str, str]:
        """Joint name -> name of its end site."""
        return {self.joint_names[j]: name for j, name in zip(self.end_parents, self.end_names, strict=True)}

    @cached_property
    def first_channel(self) -> tuple[int, ...]:
        """Column of `motion` where each joint's channels start."""
        counts = [len(c) for c in self.channels]
        return tuple(int(n) for n in np.cumsum([0, *counts[:-1]]))

    @cached_property
    def counts_from_offset(self) -> bool:
        """Whether the position channels of most joints below a root are nearly 0 although their OFFSET is not, so that
        bones only have a length if OFFSET is added."""
        lengths = np.linalg.norm(self.offsets, axis=1)
        is_zero: list[bool] = []
        for joint, (parent, names) in enumerate(zip(self.parents, self.channels, strict=True)):
            columns = [self.first_channel[joint] + i for i, name in enumerate(names) if name.endswith("position")]
            if parent >= 0 and len(columns) == 3 and lengths[joint] > 0:
                is_zero.append(float(np.abs(self.motion[:, columns]).max()) < _NO_LENGTH * lengths[joint])
        return sum(is_zero) * 2 > len(is_zero)

    def forward_kinematics(self, *, add_offset_to_positions: bool = False, end_sites: bool = False) -> np.ndarray:
        """Joint positions in file units and file axes.

        Local rotation: product of the rotation channels in listed order (column vectors); global = parent * local.

        Args:
            add_offset_to_positions: False: position channels replace OFFSET; True: they are added to OFFSET.
            end_sites: also return the end sites, after the joints.

        Returns:
            (T, J, 3) float64 positions, or (T, J + E, 3) with end sites.
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
        if end_sites:
            ends = [
                positions[joint] + sum(column * value for column, value in zip(bases[joint], offset, strict=True))
                for joint, offset in zip(self.end_parents, self.end_offsets, strict=True)
            ]
            positions = np.concatenate([positions, np.array(ends).reshape(-1, 3, num_frames)])
        return np.ascontiguousarray(positions.transpose(2, 0, 1))


def read_bvh(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> BvhClip:
    """Reads one BVH file.

    Any channel order and number per joint, tabs, CR/LF line ends, exponents, named end sites, names in other code
    pages, lines of comment (# or //) and UTF-16 are supported. Rows beyond the announced number, and the complete rows
    of a truncated file, are read with a warning.

    Args:
        source: a path, or the content of the file.
        name: how messages call the file; the path by default.

    Raises:
        FileNotFoundError: the path does not exist.
        BvhError: the file is malformed; the message names the file, the line and the cause.
    """
    if isinstance(source, bytes):
        content, name = source, name or "<bytes>"
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"BVH file not found: {path}.")
        content, name = path.read_bytes(), name or str(path)
    if marked_encoding(content):
        try:
            content = decode_text(content, name).encode("utf-8")
        except ValueError as error:
            if not content.startswith(b"\xef\xbb\xbf"):
                raise BvhError(str(error)) from error
            content = content[3:]
    if not content.strip():
        raise BvhError(f"{name}, line 1: the file is empty.")
    if b"\n" not in content:  # the line end of old Macs
        content = content.replace(b"\r", b"\n")
    content = _COMMENT_LINE.sub(b"", content)  # the lines stay, for their numbers
    match = _MOTION_LINE.search(content)
    header = read_header(content[: match.start()] if match else content, name)
    if match is None:
        lines = content.count(b"\n") + 1
        raise BvhError(
            f"{name}, line {lines}: the file ends without a MOTION section; it is truncated or not a BVH file."
        )
    num_channels = sum(len(c) for c in header.channels)
    if not num_channels:
        raise BvhError(f"{name}, line {_line_number(content, match.start())}: no joint has CHANNELS, so nothing moves.")
    num_frames, frame_time, start = _read_motion_header(content, match.end(), name)
    motion, remarks = _read_rows(content, start, num_frames, num_channels, name)
    return BvhClip(
        name,
        header.joint_names,
        header.parents,
        header.offsets,
        header.channels,
        frame_time,
        motion,
        header.end_names,
        header.end_parents,
        header.end_offsets,
        (*header.remarks, *remarks),
    )


def _line_number(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _read_motion_header(content: bytes, position: int, name: str) -> tuple[int, float, int]:
    """(number of frames, frame time in seconds, start of the numbers)."""
    values: list[float] = []
    for label, pattern in (("Frames:", _FRAMES_LINE), ("Frame Time:", _FRAME_TIME_LINE)):
        match = pattern.match(content, position)
        if match is None:
            line = _line_number(content, position) + 1
            raise BvhError(f"{name}, line {line}: expected '{label}' after MOTION.")
        word = match[1].decode("utf-8", errors="replace").strip()
        value = number_or_none(word)
        if value is None or value < _LEAST or (label == "Frames:" and value != int(value)):
            line = _line_number(content, match.start(1))
            fault = number_fault(word)
            why = f", but {fault}" if "comma" in fault else f", found '{printable(word[:40])}'"
            raise BvhError(f"{name}, line {line}: '{label}' needs a positive number{why}.")
        values.append(value)
        position = match.end()
    return int(values[0]), values[1], position


def _read_rows(
    content: bytes, start: int, num_frames: int, num_channels: int, name: str
) -> tuple[np.ndarray, list[Remark]]:
    """(T, C) float64 and the warnings; the fast path reads all numbers at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # older NumPy warns, newer raises, on words among numbers
        try:
            numbers = np.fromstring(content[start:], dtype=np.float64, sep=" ")
        except ValueError:
            numbers = np.empty(0)
    if numbers.size == num_frames * num_channels and np.abs(numbers).max() <= LARGEST:  # NaN fails
        return numbers.reshape(num_frames, num_channels), []
    rows, cut_line = _whole_rows(content, start, num_channels, name)
    if not rows:
        line = _line_number(content, start)
        raise BvhError(
            f"{name}, line {line}: expected {num_frames} frames, found no complete one; the file is truncated."
        )
    if len(rows) == num_frames and not cut_line:
        return np.array(rows), []
    cut = f" and the last row, line {cut_line}, is cut off" if cut_line else ""
    words = f"the header announces {num_frames} frames, {len(rows)} whole rows follow{cut}; these {len(rows)} are read."
    return np.array(rows), [Remark("number of frames", words)]


def _whole_rows(content: bytes, start: int, num_channels: int, name: str) -> tuple[list[list[float]], int | None]:
    """Rows with a number for every channel, and the line of a truncated last row.

    Raises:
        BvhError: a word is not a number, or a row before the last has another length.
    """
    first_line = _line_number(content, start)
    lines = [(n, line.split()) for n, line in enumerate(content[start:].split(b"\n"), start=first_line)]
    lines = [(n, words) for n, words in lines if words]
    ends_open = not content.endswith((b"\n", b"\r"))
    rows: list[list[float]] = []
    for place, (line, words) in enumerate(lines):
        is_last = place == len(lines) - 1
        values = [number_or_none(word) for word in words]
        if None in values and not (is_last and ends_open and values.index(None) == len(values) - 1):
            fault = number_fault(words[values.index(None)].decode("utf-8", errors="replace"))
            raise BvhError(f"{name}, line {line}: {fault}.")
        is_whole = len(words) == num_channels and not (is_last and ends_open and _is_cut(lines, values))
        if is_last and not is_whole and len(words) <= num_channels:
            return rows, line
        if len(words) != num_channels:
            raise BvhError(
                f"{name}, line {line}: expected {num_channels} numbers in frame {len(rows) + 1}, found {len(words)}."
            )
        rows.append([value for value in values if value is not None])
    return rows, None


def _is_cut(lines: list[tuple[int, list[bytes]]], values: list[float | None]) -> bool:
    """Whether the last number of a file without a last line end has lost digits: fewer than that above it."""
    if values[-1] is None:
        return True
    above = lines[-2][1][-1] if len(lines) > 1 else b""
    return len(lines[-1][1][-1].partition(b".")[2]) < len(above.partition(b".")[2])
