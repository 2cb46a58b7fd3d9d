"""Reading of users' text files: detection of the encoding, and YAML and JSON without duplicate keys."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_START = 512  # bytes that are looked at
_ZEROS = 0.8  # share of zero bytes at every second place


class TextError(ValueError):
    """A file that is no text, or no text of its format: one sentence with the file and, where known, the line."""


def printable(text: str) -> str:
    """Text for a terminal: control characters are written out, as `\\x00`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def plain_key(key: object) -> str:
    """A key in lower case without signs: Camera_Matrix and cameraMatrix are cameramatrix."""
    return re.sub(r"[\W_]", "", str(key)).lower()


def marked_encoding(content: bytes) -> str | None:
    """The encoding that a byte-order mark names, or that the zero bytes of UTF-16 without one show; None otherwise."""
    if marked := next((encoding for mark, encoding in _MARKS if content.startswith(mark)), None):
        return marked
    start = content[:_START] if len(content) % 2 == 0 else b""
    zeros = [start[first::2].count(0) / max(len(start) / 2, 1) for first in (0, 1)]
    if min(zeros) == 0 and max(zeros) > _ZEROS:  # the higher bytes of Latin letters are 0, the lower ones never
        return "utf-16-be" if zeros[0] else "utf-16-le"
    return None


def decode_text(content: bytes, name: str) -> str:
    """Text of a file in UTF-8, or in UTF-16 or UTF-32 according to a byte-order mark or its zero bytes.

    Args:
        content: the bytes of the file.
        name: how messages call it.

    Raises:
        TextError: other bytes; the first is named with its line.
    """
    encoding = marked_encoding(content)
    try:
        return content.decode(encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if encoding:
            raise TextError(
                f"{name} starts as {encoding.upper()} text but has other bytes later. Save it as UTF-8."
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise TextError(
            f"{name} is not UTF-8 text: byte {content[error.start]:#04x} in line {line}. Save it as UTF-8."
        ) from error


def read_text(path: str | os.PathLike[str]) -> str:
    """Text of a user's file, see `decode_text`.

    Raises:
        OSError: it cannot be read.
        TextError: it is no text.
    """
    return decode_text(Path(path).read_bytes(), str(path))


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the former is several times faster


class _UniqueKeyLoader(_SafeLoader):
    """PyYAML's safe loader, but a key that is given twice in one mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is given twice, in lines {seen[key]} and {line}", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen[key] = line
        return super().construct_mapping(node, deep)


def load_unique_yaml(text: str, name: str) -> Any:
    """Content of YAML text; a key that one mapping has twice is refused, where YAML readers keep the last value.

    Args:
        text: YAML.
        name: how messages call the file.

    Raises:
        TextError: no YAML, or a key is given twice; names the file and the line.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # a safe loader
    except yaml.constructor.ConstructorError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TextError(f"{name}{line}: {printable(str(error.problem))}.") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise TextError(f"{name} is no YAML: {printable(' '.join(str(error).split()))}.") from error


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Content of a user's YAML file.

    Raises:
        OSError: it cannot be read.
        TextError: no text, no YAML, or a key is given twice; names the file and the line.
    """
    return load_unique_yaml(read_text(path), str(path))


def load_unique_json(text: str, name: str) -> Any:
    """Content of JSON text; a key that one object has twice is refused, where JSON readers keep the last value.

    Raises:
        TextError: no JSON, or a key is given twice; names the file.
    """

    def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise TextError(f"{name}{_second_line(text, key)}: key '{printable(key)}' is given twice.")
            table[key] = value
        return table

    try:
        return json.loads(text, object_pairs_hook=once)
    except TextError:
        raise
    except (ValueError, RecursionError) as error:
        raise TextError(f"{name} is no JSON: {error}.") from error


def _second_line(text: str, key: str) -> str:
    """ ", line 3" of the second place where a key is written; empty where the file writes it with escapes."""
    for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
        first = text.find(written)
        second = text.find(written, first + 1) if first >= 0 else -1
        if second >= 0:
            return f", line {text.count(chr(10), 0, second) + 1}"
    return ""
