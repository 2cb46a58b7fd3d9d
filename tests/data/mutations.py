"""Broken inputs for readers: structured content and bytes, changed at random in ways that files do get broken."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, -(2**63), 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 0.5, "",
    "x", "-1", "nan", "1,6", "0x10", "12.jpg", "\x1b[31m\x07", "\x00", "ä\u202e", "9" * 500, [], {}, [[]], [{}], [None],
    {"x": 1}, {"": None}, [[[[[1]]]]], [1, 2], [1, 2, 3], [[1, 2, 3]] * 17, [0] * 51, "[1, 2", "{}", "2020-13-45",
    [1] * 3000,
)  # fmt: skip
INSERTED = (b"\xff\xfe", b"{", b"[", b"]", b'"', b"\n", b",", b"\t: ", b"- ", b"&a *a", b"1e999")


def mutated(content: Any, rng: np.random.Generator, others: tuple[Any, ...] = ()) -> Any:
    """A copy with one to four places replaced, removed, doubled, swapped, wrapped, or taken from other content."""
    content = [copy.deepcopy(content)]
    for _ in range(int(rng.integers(1, 5))):
        holder, key = _place(content, rng)
        value = holder[key]
        kind = int(rng.integers(8))
        if kind <= 1:
            holder[key] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
        elif kind == 2 and holder is not content:
            del holder[key]
        elif kind == 3:
            holder[key] = [value, copy.deepcopy(value)]
        elif kind == 4:
            other, place = _place(content, rng)
            holder[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(value)
        elif kind == 5:
            holder[key] = json.dumps(value, default=str) if rng.random() < 0.5 else {"keypoints": value}
        elif kind == 6 and others:
            holder[key] = copy.deepcopy(_any_node(others[int(rng.integers(len(others)))], rng))
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
            holder[key] = -value if rng.random() < 0.5 else value * 10.0 ** float(rng.integers(-3, 6))
    return content[0]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that are cut, flipped, doubled, moved or in another encoding."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        a, b = sorted(int(i) for i in rng.integers(0, len(data) + 1, 2))
        b = min(b, a + int(rng.integers(1, 200)))
        kind = int(rng.integers(6))
        if kind == 0:
            data[a:b] = rng.bytes(b - a)
        elif kind == 1:
            del data[a:b]
        elif kind == 2:
            data[a:a] = data[a:b]
        elif kind == 3:
            data[a:b] = b"\x00" * (b - a)
        elif kind == 4:
            data[a:a] = INSERTED[int(rng.integers(len(INSERTED)))]
        else:
            data = data[:b]
    result = bytes(data)
    return result.decode("utf-8", "replace").encode("utf-16") if rng.random() < 0.05 else result


def _place(content: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """A container within the content and a key of it, at any depth."""
    holder, key = content, 0
    while isinstance(holder[key], (list, dict)) and len(holder[key]) and rng.random() < 0.8:
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[int(rng.integers(len(keys)))]
    return holder, key


def _any_node(content: Any, rng: np.random.Generator) -> Any:
    holder, key = _place([content], rng)
    return holder[key]
