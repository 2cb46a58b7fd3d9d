"""ASF/AMC motion files (Acclaim): a skeleton file, motion files that belong to it, and vectorised forward kinematics.

An ASF file names bones, each with a direction and a length in the rest pose, local axes and its degrees of freedom. An
AMC file gives, per frame, the values of these degrees of freedom. Both are read as the CMU motion capture database
writes them. The format is that of the Acclaim company, described by Jeff Lander, "Working with Motion Capture File
Formats", Game Developer, January 1998.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmr4d.motion_files.number_words import LARGEST, number_fault, number_or_none
from hmr4d.utils.text_files import decode_text, marked_encoding, printable

logger = logging.getLogger(__name__)

_AXES = "XYZ"
_IGNORED_BONE_WORDS = ("id", "limits", "bodymass", "cofmass")
_SECTIONS = ("version", "name", "units", "documentation", "root", "bonedata", "hierarchy", "skin")
ROOT = "root"
MOST_UNITS = 1e6  # of an inch in a unit of length, and of units in an inch


class AsfAmcError(ValueError):
    """An ASF or AMC file that cannot be read: one sentence with file, line and cause."""


@dataclass(frozen=True)
class Bone:
    """A bone of an ASF file.

    Attributes:
        name: of the bone.
        parent: name of the parent bone, or "root".
        offset: (3,) from its start to its end in the rest pose, in file units.
        axes: (3, 3) its local axes, as columns, in the rest pose.
        dofs: its degrees of freedom, "rx", "ry" or "rz", in the order of the values in the AMC file.
    """

    name: str
    parent: str
    offset: np.ndarray
    axes: np.ndarray
    dofs: tuple[str, ...]


@dataclass(frozen=True)
class AsfSkeleton:
    """One ASF file.

    Attributes:
        name: its origin, for messages. bones: a parent precedes its children.
        root_order: channels of the root, such as ("TX", "TY", "TZ", "RX", "RY", "RZ").
        root_axes: (3, 3) local axes of the root, as columns.
        root_position: (3,) added to the positions of the root, in file units.
        length_unit: file units in an inch; `meters_per_unit` follows from it.
        degrees: whether angles are degrees, else radians.
    """

    name: str
    bones: tuple[Bone, ...]
    root_order: tuple[str, ...]
    root_axes: np.ndarray
    root_position: np.ndarray
    length_unit: float
    degrees: bool

    @property
    def meters_per_unit(self) -> float:
        return 0.0254 / self.length_unit

    @property
    def joint_names(self) -> tuple[str, ...]:
        """ "root", then every bone; the position of a bone is that of its end."""
        return (ROOT, *(bone.name for bone in self.bones))


@dataclass(frozen=True)
class AmcClip:
    """One AMC file.

    Attributes:
        name: its origin, for messages. skeleton: its skeleton.
        motion: "root" or bone -> (T, dofs) values in the order of the skeleton; bones without values are missing and
            stay in their rest pose.
        degrees: whether angles are degrees, else radians.
        fps: frames per second, if the file contains them.
    """

    name: str
    skeleton: AsfSkeleton
    motion: Mapping[str, np.ndarray]
    degrees: bool
    fps: float | None = None

    @property
    def num_frames(self) -> int:
        return len(self.motion[ROOT])

    def forward_kinematics(self) -> np.ndarray:
        """(T, 1 + bones, 3) meters, file axes: the root, then the end of every bone, as `AsfSkeleton.joint_names`.

        A bone with rest axes C and rotation M about them turns by C M C^-1 relative to its parent; its end lies at
        parent's end + global rotation * offset. Rotations about the first named axis come first.
        """
        skeleton = self.skeleton
        root = self.motion[ROOT]
        turned = [i for i, word in enumerate(skeleton.root_order) if word.startswith("R")]
        position = np.repeat(skeleton.root_position[None], self.num_frames, axis=0)
        for column, word in enumerate(skeleton.root_order):
            if word.startswith("T"):
                position[:, _AXES.index(word[1])] += root[:, column]
        local = self._rotation([skeleton.root_order[i][1] for i in turned], root[:, turned])
        rotations = {ROOT: skeleton.root_axes @ local @ skeleton.root_axes.T}
        positions = {ROOT: position}
        for bone in skeleton.bones:
            rotation = rotations[bone.parent]
            values = self.motion.get(bone.name)
            if values is not None:
                local = self._rotation([dof[1].upper() for dof in bone.dofs], values)
                rotation = rotation @ (bone.axes @ local @ bone.axes.T)
            rotations[bone.name] = rotation
            positions[bone.name] = positions[bone.parent] + rotation @ bone.offset
        return np.stack([positions[name] for name in skeleton.joint_names], axis=1) * skeleton.meters_per_unit

    def _rotation(self, axes: Sequence[str], angles: np.ndarray) -> np.ndarray:
        return euler_matrices(axes, np.radians(angles) if self.degrees else angles)


def euler_matrices(axes: Sequence[str], angles: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations about fixed axes, the first named first: angles (T, len(axes)) in radians, axes of "XYZ"."""
    result = np.broadcast_to(np.eye(3), (len(angles), 3, 3))
    cosines, sines = np.cos(angles), np.sin(angles)
    for column, axis in enumerate(axes):
        i = _AXES.index(axis)
        a, b = (i + 1) % 3, (i + 2) % 3
        turn = np.zeros((len(angles), 3, 3))
        cos, sin = cosines[:, column], sines[:, column]
        turn[:, i, i] = 1
        turn[:, a, a] = turn[:, b, b] = cos
        turn[:, b, a], turn[:, a, b] = sin, -sin
        result = turn @ result
    return result


def _content(source: str | os.PathLike[str] | bytes, name: str | None, kind: str) -> tuple[str, str]:
    """(text, name for messages)."""
    if isinstance(source, bytes):
        content, name = source, name or "<bytes>"
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"{kind} file not found: {path}.")
        content, name = path.read_bytes(), name or str(path)
    if marked_encoding(content):
        try:
            return decode_text(content, name), name
        except ValueError as error:
            raise AsfAmcError(str(error)) from error
    return content.decode("utf-8", errors="replace"), name


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, words) of every line that is neither empty nor a comment."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def read_asf(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> AsfSkeleton:
    """Reads one ASF file. Limits of joints and masses are ignored.

    Args:
        source: a path, or the content of the file.
        name: how messages call the file; the path by default.

    Raises:
        FileNotFoundError: the path does not exist.
        AsfAmcError: the file is malformed; the message names the file, the line and the cause.
    """
    text, name = _content(source, name, "ASF")
    return _AsfParser(text, name).parse()


class _AsfParser:
    """Reads section by section; knows the line of everything for messages."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.sections: dict[str, list[tuple[int, list[str]]]] = {}
        self.section_lines: dict[str, int] = {}
        section, self.last = None, 1
        for line, words in _lines(text):
            self.last = line
            if words[0].startswith(":"):
                section = words[0][1:].lower()
                if section not in _SECTIONS:
                    raise self.fail(
                        line, f"unknown section '{words[0][:40]}'; this is not an ASF file, or it is damaged"
                    )
                self.sections[section], self.section_lines[section] = [], line
            elif section is None:
                raise self.fail(
                    line, f"expected a section such as :units, found '{words[0][:40]}'; this is not an ASF file"
                )
            else:
                self.sections[section].append((line, words))

    def fail(self, line: int, cause: str) -> AsfAmcError:
        return AsfAmcError(f"{self.name}, line {line}: {printable(cause)}.")

    def section(self, section: str) -> list[tuple[int, list[str]]]:
        if section not in self.sections:
            raise self.fail(self.last, f"the file ends without :{section}; it is cut short or no ASF file")
        return self.sections[section]

    def numbers(self, line: int, words: Sequence[str], count: int, what: str) -> np.ndarray:
        values = [number_or_none(word) for word in words[:count]]
        if len(values) != count or None in values:
            why = f"; {number_fault(words[values.index(None)])}" if None in values else ""
            raise self.fail(
                line, f"{what} needs {count} finite number{'s' * (count > 1)}, found '{' '.join(words)[:60]}'{why}"
            )
        return np.array(values, dtype=np.float64)

    def axes(self, line: int, angles: np.ndarray, order: str) -> np.ndarray:
        """(3, 3) local axes from the angles of an axis line."""
        if sorted(order.upper()) != sorted(_AXES):
            raise self.fail(line, f"the order of axes is '{order[:40]}', expected one such as XYZ")
        radians = np.radians(angles) if self.degrees else angles
        return euler_matrices(order.upper(), radians[None, ["XYZ".index(axis) for axis in order.upper()]])[0]

    def parse(self) -> AsfSkeleton:
        self.degrees, length_unit = True, 1.0
        for line, words in self.section("units"):
            if words[0] == "length":
                length_unit = float(self.numbers(line, words[1:], 1, "length")[0])
                if not 1 / MOST_UNITS <= length_unit <= MOST_UNITS:
                    limits = f"between {1 / MOST_UNITS:g} and {MOST_UNITS:g}"
                    raise self.fail(line, f"the unit of length must be {limits}, found {length_unit:g}")
            elif words[0] == "angle":
                if words[1:] not in (["deg"], ["rad"]):
                    raise self.fail(line, f"angle must be deg or rad, found '{' '.join(words[1:])[:40]}'")
                self.degrees = words[1] == "deg"
        order, root_axes, position = self.root()
        bones = self.bones()
        parents = self.parents(bones)
        ordered = tuple(Bone(bone, parent, *bones[bone]) for bone, parent in parents.items())
        return AsfSkeleton(self.name, ordered, order, root_axes, position, length_unit, self.degrees)

    def root(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        found: dict[str, tuple[int, list[str]]] = {}
        for line, words in self.section("root"):
            found[words[0].lower()] = (line, words[1:])
        start = self.section_lines["root"]
        if missing := {"order", "axis", "position", "orientation"} - found.keys():
            raise self.fail(start, f":root lacks {', '.join(sorted(missing))}")
        line, words = found["order"]
        order = tuple(word.upper() for word in words)
        if len(set(order)) != len(order) or not set(order) <= {t + a for t in "TR" for a in _AXES}:
            raise self.fail(
                line, f"the order of the root is '{' '.join(words)[:60]}', expected TX TY TZ RX RY RZ in some order"
            )
        position = self.numbers(*found["position"], 3, "position")
        angles = self.numbers(*found["orientation"], 3, "orientation")
        axis_line, axis = found["axis"]
        return order, self.axes(axis_line, angles, axis[0] if axis else ""), position

    def bones(self) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[str, ...]]]:
        """Name -> (offset, axes, dofs)."""
        bones: dict[str, tuple[np.ndarray, np.ndarray, tuple[str, ...]]] = {}
        found: dict[str, tuple[int, list[str]]] | None = None
        begin = self.section_lines.get("bonedata", 1)
        for line, words in self.section("bonedata"):
            keyword = words[0].lower()
            if keyword == "begin":
                found, begin = {}, line
            elif found is None:
                raise self.fail(line, f"expected begin, found '{words[0][:40]}'")
            elif keyword == "end":
                bone, value = self.bone(begin, found)
                if bone in bones or bone == ROOT:
                    raise self.fail(begin, f"bone '{bone[:40]}' is given twice")
                bones[bone], found = value, None
            elif keyword in ("name", "direction", "length", "axis", "dof"):
                found[keyword] = (line, words[1:])
            elif keyword not in _IGNORED_BONE_WORDS and not keyword.startswith("("):  # limits continue over lines
                raise self.fail(line, f"unknown word '{words[0][:40]}' in a bone")
        if found is not None:
            raise self.fail(begin, "the bone that begins here has no end; the file is cut short")
        return bones

    def bone(
        self, begin: int, found: dict[str, tuple[int, list[str]]]
    ) -> tuple[str, tuple[np.ndarray, np.ndarray, tuple[str, ...]]]:
        if missing := {"name", "direction", "length", "axis"} - found.keys():
            raise self.fail(begin, f"the bone that begins here lacks {', '.join(sorted(missing))}")
        line, names = found["name"]
        if len(names) != 1:
            raise self.fail(line, f"a bone needs one name, found '{' '.join(names)[:40]}'")
        direction = self.numbers(*found["direction"], 3, "direction")
        norm = float(np.linalg.norm(direction))
        length = float(self.numbers(*found["length"], 1, "length")[0])
        if norm == 0 and length != 0:
            raise self.fail(found["direction"][0], f"bone '{names[0][:40]}' has a length but no direction")
        axis_line, axis = found["axis"]
        angles = self.numbers(axis_line, axis, 3, "axis")
        axes = self.axes(axis_line, angles, axis[3] if len(axis) > 3 else "")
        dof_line, dofs = found.get("dof", (begin, []))
        lowered = tuple(dof.lower() for dof in dofs)
        if not set(lowered) <= {"rx", "ry", "rz"} or len(set(lowered)) != len(lowered):
            raise self.fail(
                dof_line, f"dof is '{' '.join(dofs)[:40]}', expected some of rx ry rz; others are not supported"
            )
        return names[0], (direction / max(norm, 1e-12) * length, axes, lowered)

    def parents(self, bones: Mapping[str, object]) -> dict[str, str]:
        """Bone -> parent, parents first."""
        parents: dict[str, str] = {}
        for line, words in self.section("hierarchy"):
            if words[0].lower() in ("begin", "end") and len(words) == 1:
                continue
            parent, *children = words
            for word in words:
                if word not in bones and word != ROOT:
                    raise self.fail(line, f"bone '{word[:40]}' of the hierarchy is not in :bonedata")
            if parent != ROOT and parent not in parents:
                raise self.fail(line, f"bone '{parent}' has children before it has a parent")
            for child in children:
                if child in parents or child == ROOT:
                    raise self.fail(line, f"bone '{child}' has two parents")
                parents[child] = parent
        if loose := [bone for bone in bones if bone not in parents]:
            raise self.fail(self.section_lines["hierarchy"], f"the hierarchy lacks {', '.join(loose)[:60]}")
        return parents


def read_amc(source: str | os.PathLike[str] | bytes, skeleton: AsfSkeleton, *, name: str | None = None) -> AmcClip:
    """Reads one AMC file.

    A truncated last frame, as after a broken download, is skipped with a warning.

    Args:
        source: a path, or the content of the file.
        skeleton: skeleton of the subject, from its ASF file.
        name: how messages call the file; the path by default.

    Raises:
        FileNotFoundError: the path does not exist.
        AsfAmcError: the file is malformed or belongs to another skeleton; the message names the file, the line and the
            cause.
    """
    text, name = _content(source, name, "AMC")
    rows = _AmcRows(name, skeleton)
    for line, words in _lines(text):
        rows.take(line, words)
    rows.drop_cut_frame()
    if absent := [bone.name for bone in skeleton.bones if bone.dofs and bone.name not in rows.values]:
        logger.warning("%s: no values of %s; they stay in their rest pose.", name, ", ".join(absent))
    return AmcClip(name, skeleton, {bone: rows.numbers(bone) for bone in rows.values}, rows.degrees, rows.fps)


class _AmcRows:
    """Words of an AMC file by bone, checked line by line."""

    def __init__(self, name: str, skeleton: AsfSkeleton) -> None:
        self.name, self.skeleton = name, skeleton
        self.wanted = {ROOT: len(skeleton.root_order)} | {bone.name: len(bone.dofs) for bone in skeleton.bones}
        self.degrees, self.fps = skeleton.degrees, None
        self.values: dict[str, list[list[str]]] = {}
        self.starts: list[int] = []  # line of every frame's number
        self.line = 1
        self.short: AsfAmcError | None = None  # a line with too few values: an error unless the file ends there

    def fail(self, cause: str) -> AsfAmcError:
        return AsfAmcError(f"{self.name}, line {self.line}: {printable(cause)}.")

    def take(self, line: int, words: list[str]) -> None:
        """One line: an option, the number of a frame, or a bone with its values."""
        if self.short is not None:
            raise self.short
        self.line = line
        if words[0].startswith(":"):
            self._option(words[0].lower(), words[1:])
        elif len(words) == 1 and words[0].isdigit():
            self.starts.append(line)
        else:
            self._bone(words[0], words[1:])

    def _option(self, option: str, words: Sequence[str]) -> None:
        if option in (":degrees", ":radians"):
            self.degrees = option == ":degrees"
        elif option == ":samples-per-second":
            self.fps = number_or_none(words[0]) if words else None
            if self.fps is None or self.fps <= 0:
                raise self.fail(f"SAMPLES-PER-SECOND needs a number above 0, found '{' '.join(words)[:40]}'")

    def _bone(self, bone: str, words: list[str]) -> None:
        if bone not in self.wanted:
            raise self.fail(f"bone '{bone[:40]}' is not in {self.skeleton.name}")
        if not self.starts:
            raise self.fail(f"expected the number of a frame before '{bone}'")
        if len(words) != self.wanted[bone]:
            error = self.fail(f"'{bone}' needs {self.wanted[bone]} values, found {len(words)}")
            if len(words) > self.wanted[bone]:
                raise error
            self.short = error
            return
        rows = self.values.setdefault(bone, [])
        if len(rows) >= len(self.starts):
            raise self.fail(f"'{bone}' is given twice in frame {len(self.starts)}")
        if len(rows) < len(self.starts) - 1:
            raise self.fail(f"'{bone}' is given in frame {len(self.starts)}, but not in frame {len(rows) + 1}")
        rows.append(words)

    def drop_cut_frame(self) -> None:
        """Skips an incomplete last frame; AsfAmcError if a bone is missing in another frame."""
        if not self.values.get(ROOT):
            raise self.fail("the file contains no frame with a root; it is truncated or not an AMC file")
        num_frames = len(self.starts)
        whole = num_frames if all(len(rows) == num_frames for rows in self.values.values()) else num_frames - 1
        for bone, rows in self.values.items():
            if len(rows) < whole:
                self.line = self.starts[len(rows)]
                raise self.fail(f"'{bone}' is missing from frame {len(rows) + 1} on")
        if not whole:
            raise self.fail("the only frame is truncated")
        if whole < num_frames:
            logger.warning(
                "%s, line %d: the last of %d frames is truncated and skipped.", self.name, self.line, num_frames
            )
            self.values = {bone: rows[:whole] for bone, rows in self.values.items()}

    def numbers(self, bone: str) -> np.ndarray:
        """(T, dofs) float64 of the words of a bone."""
        rows = self.values[bone]
        try:
            numbers = np.array([[float(word) for word in row] for row in rows], dtype=np.float64)
            if (np.abs(numbers) <= LARGEST).all() and not any("_" in word for row in rows for word in row):
                return numbers
        except ValueError:
            pass
        frame, word = next((i, w) for i, row in enumerate(rows) for w in row if number_or_none(w) is None)
        self.line = self.starts[frame]
        raise self.fail(
            f"in the frame that begins here, '{bone}' is '{' '.join(rows[frame])[:60]}', no finite numbers; "
            f"{number_fault(word)}"
        )
