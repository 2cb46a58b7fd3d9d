"""Small TensorFlow Lite files, written by hand: a FlatBuffer of nested tables."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A field is (kind, value): a format of `struct` and a number; "table" and a mapping; "tables" and a list of them;
# "array" and an array of numbers.
Table = Mapping[int, tuple[str, Any]]
ADD, CONCATENATION, CONV, DEPTHWISE, DEPTH_TO_SPACE, DEQUANTIZE = 0, 2, 3, 4, 5, 6
LOGISTIC, MAX_POOL, RESHAPE, RESIZE, PAD, DENSIFY = 14, 17, 22, 23, 34, 124
_TYPES = {"float32": 0, "float16": 1, "int32": 2}


def tensor(name: str, shape: Sequence[int], kind: str = "float32", buffer: int = 0, sparsity: Any = None) -> Table:
    table: dict[int, tuple[str, Any]] = {
        0: ("array", np.array(shape, np.int32)),
        1: ("b", _TYPES[kind]),
        2: ("I", buffer),
        3: ("array", np.frombuffer(name.encode(), np.uint8)),
    }
    return table if sparsity is None else table | {6: ("table", sparsity)}


def operator(code: int, inputs: Sequence[int], outputs: Sequence[int], options: Table | None = None) -> Table:
    table = {
        0: ("I", code),
        1: ("array", np.array(inputs, np.int32)),
        2: ("array", np.array(outputs, np.int32)),
    }
    return table if options is None else table | {4: ("table", options)}


def integers(**fields: int) -> Table:
    """Options of an operator: `i0=2, b3=1` are field 0 of four bytes and field 3 of one."""
    return {int(name[1:]): (name[0], value) for name, value in fields.items()}


def tflite_file(
    codes: Sequence[int],
    tensors: Sequence[Table],
    operators: Sequence[Table],
    buffers: Sequence[NDArray[Any]],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> bytes:
    """A model of one graph; buffer 0 is the empty one and is added in front."""
    graph = {
        0: ("tables", tensors),
        1: ("array", np.array(inputs, np.int32)),
        2: ("array", np.array(outputs, np.int32)),
        3: ("tables", operators),
    }
    stored = [{}, *({0: ("array", np.frombuffer(b.tobytes(), np.uint8))} for b in buffers)]
    root = {
        0: ("I", 3),
        1: ("tables", [{0: ("b", code), 3: ("i", code)} for code in codes]),
        2: ("tables", [graph]),
        4: ("tables", stored),
    }
    data = bytearray(b"\0\0\0\0TFL3")
    struct.pack_into("<I", data, 0, _write_table(data, root))
    return bytes(data)


def _write_table(data: bytearray, table: Table) -> int:
    """Appends a table and what it holds; its place."""
    count = max(table, default=-1) + 1
    while len(data) % 4:
        data.append(0)
    fields = len(data)
    data += struct.pack("<HH", 4 + 2 * count, 4 + 4 * count) + bytes(2 * count)
    while len(data) % 4:
        data.append(0)
    place = len(data)
    data += struct.pack("<i", place - fields) + bytes(4 * count)
    for number, (kind, value) in table.items():
        at = 4 + 4 * number
        struct.pack_into("<H", data, fields + 4 + 2 * number, at)
        if kind in ("table", "tables", "array"):
            there = _write_table(data, value) if kind == "table" else _write_vector(data, kind, value)
            struct.pack_into("<I", data, place + at, there - place - at)
        else:
            struct.pack_into("<" + kind, data, place + at, value)
    return place


def _write_vector(data: bytearray, kind: str, value: Any) -> int:
    while len(data) % 4:
        data.append(0)
    place = len(data)
    data += struct.pack("<I", len(value))
    if kind == "array":
        data += value.tobytes()
        return place
    data += bytes(4 * len(value))
    for i, table in enumerate(value):
        at = place + 4 + 4 * i
        struct.pack_into("<I", data, at, _write_table(data, table) - at)
    return place
