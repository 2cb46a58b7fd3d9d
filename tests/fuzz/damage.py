"""Broken inputs for readers: structured content, text and bytes, changed at random in ways that files do get broken."""

from __future__ import annotations

import codecs
import json
import pickle
import re
from collections.abc import Callable
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, -(2**63), 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 0.5, "",
    "x", "-1", "nan", "1,6", "0x10", "12.jpg", "\x1b[31m\x07", "\x00", "ä\u202e", "9" * 500, [], {}, [[]], [{}], [None],
    {"x": 1}, {"": None}, [[[[[1]]]]], [1, 2], [1, 2, 3], [[1, 2, 3]] * 17, [0] * 51, "[1, 2", "{}", "2020-13-45",
    [1] * 3000,
)  # fmt: skip
_NUMBERS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1e308", b"1e30", b"1e8", b"1e-320", b"0", b"-0", b"-1", b"0,5", b"1.234,5",
    b"1_0", b"0x10", b"1..2", b"1e", b"+", b"99999999999999999999", b"9" * 400, "²".encode(), "١٢".encode(), b"-1.#IND",
)  # fmt: skip
_TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b"'", b"\n", b"\r", b"\t", b"\t: ", b",", b";", b"#", b"//", b":", b"- ", b"&a *a",
    b"*a", b"<<: *a", b"!!python/object:os.system", b"\\", b"\x00", b"\x1b[31m", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\x83\x7b", b"\xed\xa0\x80", "走".encode(), b"JOINT A", b"CHANNELS 6", b"End Site", b"MOTION", b"Frames: 9",
    b"Frame Time: 0", b":bonedata", b"begin", b"end", b"%YAML:1.0", b"null", b"true", b"{}", b"[]",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d[\d.eE+-]*")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z_0-9]+")
_CUT_WORD = 3  # letters that a renamed word keeps at least
_RECODED, _EMPTY = 0.06, 0.003  # shares of damaged files that come in another encoding, or empty


def changed(content: Any, rng: Random, others: tuple[Any, ...] = ()) -> Any:
    """A copy with one to four places replaced, removed, renamed, doubled, swapped, nested, or taken from other content.

    Args:
        content: lists, objects and values, as JSON and YAML hold them.
        rng: draws the changes.
        others: content of which parts may be taken.
    """
    content = [_copied(content)]
    for _ in range(rng.randint(1, 4)):
        holder, key = _place(content, rng)
        value = holder[key]
        kind = rng.randrange(9)
        if kind <= 1:
            holder[key] = _copied(rng.choice(ODD))
        elif kind == 2 and holder is not content:
            del holder[key]
        elif kind == 3:
            holder[key] = [value, _copied(value)]
        elif kind == 4:
            other, place = _place(content, rng)
            holder[key], other[place] = _copied(other[place]), _copied(value)
        elif kind == 5:
            holder[key] = json.dumps(value, default=str) if rng.random() < 0.5 else {"keypoints": value}
        elif kind == 6 and others:
            holder[key] = _copied(_any_node(rng.choice(others), rng))
        elif kind == 7 and isinstance(holder, dict) and isinstance(key, str):
            holder[_renamed(key.encode(), rng).decode("utf-8", "replace")] = holder.pop(key)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
            holder[key] = -value if rng.random() < 0.5 else value * 10.0 ** rng.randint(-3, 5)
    return content[0]


def _copied(content: Any) -> Any:
    """Faster than deepcopy."""
    return pickle.loads(pickle.dumps(content))


def damaged(content: bytes, rng: Random) -> bytes:
    """The content of a file after one to five changes of its bytes, words, numbers or lines.

    Some come out in another encoding or with other line ends, a few come out empty.
    """
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        if not data:
            break
        rng.choice(_CHANGES)(data, rng)
    if rng.random() < _EMPTY:
        return b""
    return _recoded(bytes(data), rng) if rng.random() < _RECODED else bytes(data)


def _span(data: bytearray, rng: Random) -> tuple[int, int]:
    """Two places, mostly near each other."""
    a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return a, min(b, a + rng.choice((1, 4, 40, 200, 4000)))


def _cut_out(data: bytearray, rng: Random) -> None:
    a, b = _span(data, rng)
    del data[a:b]


def _doubled(data: bytearray, rng: Random) -> None:
    a, b = _span(data, rng)
    data[a:a] = data[a:b]


def _noise(data: bytearray, rng: Random) -> None:
    a, b = _span(data, rng)
    data[a:b] = rng.randbytes(b - a) if rng.random() < 0.7 else bytes(b - a)


def _flipped(data: bytearray, rng: Random) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def _cut_short(data: bytearray, rng: Random) -> None:
    del data[rng.randrange(len(data)) :]


def _inserted(data: bytearray, rng: Random) -> None:
    a, b = _span(data, rng)
    data[a : b if rng.random() < 0.5 else a] = rng.choice(_TOKENS)


def _lines(data: bytearray, rng: Random) -> None:
    """Lines removed, doubled, swapped or moved to the right."""
    lines = bytes(data).split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = b"  " + lines[i]
    data[:] = b"\n".join(lines)


def _number(data: bytearray, rng: Random) -> None:
    if found := _NUMBER.search(data, rng.randrange(len(data))):
        kind = rng.randrange(4)
        if kind == 0:
            data[found.start() : found.start()] = b"-"
        elif kind == 1:
            data[found.end() : found.end()] = b"e3" if rng.random() < 0.5 else b"000"
        else:
            data[found.start() : found.end()] = rng.choice(_NUMBERS)


def _decimal_commas(data: bytearray, rng: Random) -> None:
    start = rng.randrange(len(data)) if rng.random() < 0.5 else 0
    data[start:] = re.sub(rb"(\d)\.(\d)", rb"\1,\2", data[start:])


def _name(data: bytearray, rng: Random) -> None:
    if found := _NAME.search(data, rng.randrange(len(data))):
        data[found.start() : found.end()] = _renamed(found[0], rng)


_CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (
    _cut_out, _doubled, _noise, _flipped, _cut_short, _inserted, _lines, _lines, _decimal_commas, _name,
    *[_number] * 6,
)  # fmt: skip


def _renamed(name: bytes, rng: Random) -> bytes:
    """A name in other letters, cut, or longer."""
    kind = rng.randrange(5)
    if kind == 0:
        return name.swapcase()
    if kind == 1 and len(name) > _CUT_WORD:
        return name[: rng.randrange(_CUT_WORD, len(name))]
    if kind == 2:
        return name + b"_1"
    if kind == 3:
        return b"mixamorig:" + name
    return name[::-1]


def _recoded(data: bytes, rng: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    kind = rng.randrange(8)
    if kind == 0:
        return text.encode("utf-16")
    if kind == 1:
        return codecs.BOM_UTF8 + data
    if kind == 2:
        return text.encode("cp1252", "replace")
    if kind == 3:
        return text.encode("utf-32")
    if kind == 4:
        return data.replace(b"\n", b"\r\n")
    if kind == 5:
        return data.replace(b"\n", b"\r")
    if kind == 6:
        return text.encode("utf-16-le")
    return data.replace(b" ", "\u00a0".encode())


def _place(content: Any, rng: Random) -> tuple[Any, Any]:
    """A container within the content and a key of it, at any depth."""
    holder, key = content, 0
    while isinstance(holder[key], (list, dict)) and len(holder[key]) and rng.random() < 0.8:
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = rng.choice(keys)
    return holder, key


def _any_node(content: Any, rng: Random) -> Any:
    holder, key = _place([content], rng)
    return holder[key]
