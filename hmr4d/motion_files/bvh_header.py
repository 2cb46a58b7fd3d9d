"""The HIERARCHY of a BVH file: joints, end sites and channels out of its text."""

from __future__ import annotations

import locale
import re
from dataclasses import dataclass

import numpy as np

from hmr4d.motion_files.number_words import number_fault, number_or_none
from hmr4d.utils.remarks import Remark
from hmr4d.utils.text_files import printable

_CHANNEL_NAMES = {f"{axis}{kind}".lower(): f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}
_WORDS = re.compile(r"[{}]|[^ \t\r\f\v{}]+")
_END_WORDS = ("END", "END_SITE", "ENDSITE", "END-SITE")
_OTHER_KINDS = {  # first words of files that are called .bvh, but are not
    "kaydara": "an FBX file; import it in Blender and export BVH",
    ";": "an FBX file; import it in Blender and export BVH",
    "version": "a pointer of Git LFS; fetch the file itself: git lfs pull",
    "<": "a web page, not a BVH file; download the file itself",
    "\x1f": "a gzip archive; unpack it",
    "pk\x03": "a zip archive; unpack it",
}
_ASIAN_RUN = re.compile(r"[^\x00-\x7f]+")


class BvhError(ValueError):
    """A BVH file that cannot be read: one sentence with file, line and cause."""


@dataclass(frozen=True)
class BvhHeader:
    """The part before MOTION; for the fields see `BvhClip`."""

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    end_names: tuple[str, ...]
    end_parents: tuple[int, ...]
    end_offsets: np.ndarray
    remarks: tuple[Remark, ...]


def read_header(content: bytes, name: str) -> BvhHeader:
    """Joints, end sites and channels.

    Args:
        content: the file up to MOTION, comment lines blanked.
        name: name of the file in messages.

    Raises:
        BvhError: names the file, the line and the cause.
    """
    text, remarks = _decode_names(content)
    return _HeaderParser(text, name, remarks).parse()


def _decode_names(content: bytes) -> tuple[str, list[Remark]]:
    """Text of a header; if it is not UTF-8, in the first code page that fits, with a warning. Distinct names stay
    distinct."""
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    local = locale.getpreferredencoding(False)
    for encoding in dict.fromkeys(("cp932", local, "cp1252", "latin-1")):
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if encoding != "cp932" or _is_japanese(text):
            break
    shown = "Shift-JIS (cp932)" if encoding == "cp932" else encoding
    words = f"the joint names are not UTF-8 text and are read as {shown}; joint maps in UTF-8 can name them."
    return text, [Remark("encoding", words)]


def _kind(first_word: str) -> str:
    """What a file is that begins with a word other than HIERARCHY."""
    found = (kind for start, kind in _OTHER_KINDS.items() if first_word.lower().startswith(start))
    return next(found, "not a BVH file")


def _is_japanese(text: str) -> bool:
    """Whether non-ASCII characters form separate words, unlike umlauts within Latin words."""
    runs = list(_ASIAN_RUN.finditer(text))
    if any("\ue000" <= c <= "\uf8ff" for run in runs for c in run[0]):  # private use: another code page
        return False
    alone = sum(
        len(run[0]) > 1
        or not (text[run.start() - 1 : run.start()].isalpha() or text[run.end() : run.end() + 1].isalpha())
        for run in runs
    )
    return alone * 2 > len(runs)


class _HeaderParser:
    """Recursive structure read with an explicit stack; knows the line of every token for messages."""

    def __init__(self, text: str, name: str, remarks: list[Remark]) -> None:
        lines = text.replace("\r\n", "\n").split("\n")
        self.tokens = [(token, n) for n, line in enumerate(lines, start=1) for token in _WORDS.findall(line)]
        self.name = name
        self.remarks = remarks
        self.at = 0
        self.names: list[str] = []
        self.taken: dict[str, int] = {}  # name -> last number added to it
        self.parents: list[int] = []
        self.offsets: list[list[float] | None] = []
        self.channels: list[tuple[str, ...]] = []
        self.ends: list[tuple[int, list[float]]] = []  # joint, offset

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
            value = number_or_none(token)
            if value is None:
                fault = number_fault(token)
                raise self.fail(f"{what} needs {count} numbers, found {found} and then {fault}")
            values.append(value)
        return values

    def block_name(self, keyword: str) -> str:
        """Words up to the opening brace."""
        words: list[str] = []
        while (token := self.next("'{'")) != "{":
            words.append(token)
            if len(words) > 16 or token == "}":
                raise self.fail(f"no '{{' follows {keyword}")
        return " ".join(words)

    def unique(self, name: str) -> str:
        """A unique joint name: duplicates get .001 appended, as in Blender."""
        free, number = name, self.taken.get(name, 0)
        while free in self.taken:
            number += 1
            free = f"{name}.{number:03d}"
        self.taken[name] = number
        self.taken.setdefault(free, 0)
        return free

    def parse(self) -> BvhHeader:
        if self.next("HIERARCHY").upper() != "HIERARCHY":
            found = self.tokens[self.at - 1][0]
            raise self.fail(f"expected HIERARCHY, found '{printable(found[:40])}'; this is {_kind(found)}")
        stack: list[int] = []  # joint index per open brace, -1 for an end site
        while self.at < len(self.tokens) or stack:
            keyword = self.next("'}'")
            upper = keyword.upper()
            if upper in ("ROOT", "JOINT"):
                if (upper == "ROOT") != (not stack) or (stack and stack[-1] < 0):
                    raise self.fail(f"{upper} in the wrong place")
                self.add_joint(upper, stack)
            elif upper in _END_WORDS and stack and stack[-1] >= 0:
                self.block_name("End Site")
                self.ends.append((stack[-1], [0.0, 0.0, 0.0]))
                stack.append(-1)
            elif upper == "OFFSET" and stack:
                values = self.numbers(3, "OFFSET")
                if stack[-1] >= 0:
                    self.offsets[stack[-1]] = values
                else:
                    self.ends[-1] = (self.ends[-1][0], values)
            elif upper == "CHANNELS" and stack:
                self.add_channels(stack[-1])
            elif keyword == "}" and stack:
                joint = stack.pop()
                if joint >= 0 and self.offsets[joint] is None:
                    raise self.fail(f"joint '{printable(self.names[joint])}' has no OFFSET")
            else:
                raise self.fail(f"unexpected '{printable(keyword[:40])}' in the hierarchy")
        if not self.names:
            raise self.fail("the hierarchy contains no joint")
        if len(roots := [name for name, parent in zip(self.names, self.parents, strict=True) if parent < 0]) > 1:
            shown = ", ".join(f"'{printable(name)}'" for name in roots)
            words = f"the file has {len(roots)} figures, {shown}; one figure is read, that with the names of the map."
            self.remarks.append(Remark("figures", words))
        return self.header()

    def add_joint(self, keyword: str, stack: list[int]) -> None:
        written = self.block_name(keyword)
        if not written:
            raise self.fail("joint name '' is empty")
        name = self.unique(written)
        if name != written:
            self.remarks.append(
                Remark(
                    "doubled name",
                    f"the joint name '{printable(written)}' occurs twice; the second is named "
                    f"'{printable(name)}', as Blender does.",
                )
            )
        self.parents.append(stack[-1] if stack else -1)
        self.names.append(name)
        self.offsets.append(None)
        self.channels.append(())
        stack.append(len(self.names) - 1)

    def add_channels(self, joint: int) -> None:
        if joint >= 0:
            self.channels[joint] = self.channel_list(self.names[joint])
        elif (count := self.next("the number of channels")) != "0":
            raise self.fail(f"an End Site has no channels, found '{printable(count[:40])}'")

    def channel_list(self, joint: str) -> tuple[str, ...]:
        joint = printable(joint)
        token = self.next("the number of channels")
        if not (token.isdecimal() and len(token) < 4):
            raise self.fail(f"CHANNELS of '{joint}' needs a count, found '{printable(token[:40])}'")
        found: list[str] = []
        for _ in range(int(token)):
            word = self.next(f"channel {len(found) + 1} of {token} of '{joint}'")
            if word.lower() not in _CHANNEL_NAMES:
                shown = printable(word[:40])
                raise self.fail(
                    f"'{joint}' announces {token} channels, but number {len(found) + 1} is '{shown}'; known "
                    "are Xposition to Zposition and Xrotation to Zrotation"
                )
            if _CHANNEL_NAMES[word.lower()] in found:
                raise self.fail(f"'{joint}' has the channel {_CHANNEL_NAMES[word.lower()]} twice")
            found.append(_CHANNEL_NAMES[word.lower()])
        return tuple(found)

    def header(self) -> BvhHeader:
        end_names = tuple(self.unique(f"{self.names[joint]}_End") for joint, _ in self.ends)
        return BvhHeader(
            tuple(self.names),
            tuple(self.parents),
            np.array(self.offsets, dtype=np.float64),
            tuple(self.channels),
            end_names,
            tuple(joint for joint, _ in self.ends),
            np.array([offset for _, offset in self.ends], dtype=np.float64).reshape(-1, 3),
            tuple(self.remarks),
        )
