"""Reads TensorFlow Lite model files: the tables of the FlatBuffer, tensors and operators, sparse weights included.

Only the parts for `conversion` are read. Numbers of fields and of operators are those of TensorFlow's public schema
(tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3). Files are untrusted: every offset is checked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

IDENTIFIER = b"TFL3"
_TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}
_NAMES = {
    0: "add",
    2: "concatenation",
    3: "conv_2d",
    4: "depthwise_conv_2d",
    5: "depth_to_space",
    6: "dequantize",
    14: "logistic",
    17: "max_pool_2d",
    22: "reshape",
    23: "resize_bilinear",
    34: "pad",
    124: "densify",
}
_ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}
# Fields of the options of each operator: name -> (number, type, value where it is not stored).
_CONV = {
    "padding": (0, "b", 0),
    "stride_w": (1, "i", 0),
    "stride_h": (2, "i", 0),
    "activation": (3, "b", 0),
    "dilation_w": (4, "i", 1),
    "dilation_h": (5, "i", 1),
}
_DEPTHWISE = {
    "padding": (0, "b", 0),
    "stride_w": (1, "i", 0),
    "stride_h": (2, "i", 0),
    "multiplier": (3, "i", 0),
    "activation": (4, "b", 0),
    "dilation_w": (5, "i", 1),
    "dilation_h": (6, "i", 1),
}
_POOL = {
    "padding": (0, "b", 0),
    "stride_w": (1, "i", 0),
    "stride_h": (2, "i", 0),
    "width": (3, "i", 0),
    "height": (4, "i", 0),
    "activation": (5, "b", 0),
}
_OPTIONS: dict[str, dict[str, tuple[int, str, int]]] = {
    "add": {"activation": (0, "b", 0)},
    "concatenation": {"axis": (0, "i", 0), "activation": (1, "b", 0)},
    "conv_2d": _CONV,
    "depthwise_conv_2d": _DEPTHWISE,
    "depth_to_space": {"block": (0, "i", 0)},
    "max_pool_2d": _POOL,
    "resize_bilinear": {"align_corners": (2, "b", 0), "half_pixel_centers": (3, "b", 0)},
}


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor of the graph.

    Attributes:
        name: in the file.
        shape: NHWC for pictures.
        value: of a constant, sparse ones written out; None for what is computed.
    """

    name: str
    shape: tuple[int, ...]
    value: Array | None


@dataclass(frozen=True)
class TfliteOperator:
    """A step of the graph.

    Attributes:
        name: such as "conv_2d".
        inputs, outputs: numbers of tensors; -1 for an omitted input.
        options: of this operator, with "activation" and "padding" as words.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class TfliteModel:
    """The one graph of a file: tensors, operators in the order of computation, numbers of inputs and outputs."""

    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(data: bytes, name: str) -> TfliteModel:
    """The graph of a file.

    Args:
        data: content of the file.
        name: of the file, for messages.

    Raises:
        ValueError: it is damaged, no TFLite model, or has unsupported content.
    """
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"{name} is not a TensorFlow Lite model: it lacks the identifier {IDENTIFIER.decode()}.")
    try:
        return _model(_Table(data, _unpack("I", data, 0)))
    except (struct.error, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} is damaged ({error}). Download the file again.") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _unpack(kind: str, data: bytes, place: int) -> int:
    if place < 0:
        raise IndexError(f"offset {place}")
    return struct.unpack_from("<" + kind, data, place)[0]


class _Table:
    """A table of a FlatBuffer at a position: a signed offset to the list of its field offsets."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self._fields = place - _unpack("i", data, place)
        self._size = _unpack("H", data, self._fields)

    def _at(self, number: int) -> int:
        """Position of a field; 0 if it is not stored."""
        entry = 4 + 2 * number
        offset = _unpack("H", self.data, self._fields + entry) if entry < self._size else 0
        return self.place + offset if offset else 0

    def scalar(self, number: int, kind: str, default: int = 0) -> int:
        place = self._at(number)
        return _unpack(kind, self.data, place) if place else default

    def table(self, number: int) -> _Table | None:
        place = self._at(number)
        return _Table(self.data, place + _unpack("I", self.data, place)) if place else None

    def _vector(self, number: int) -> tuple[int, int]:
        """Position of the first element, and the number of elements."""
        place = self._at(number)
        if not place:
            return 0, 0
        start = place + _unpack("I", self.data, place)
        return start + 4, _unpack("I", self.data, start)

    def array(self, number: int, dtype: Any) -> Array:
        place, count = self._vector(number)
        if place + count * np.dtype(dtype).itemsize > len(self.data):
            raise IndexError(f"a list of {count} elements at {place} ends behind the file")
        return np.frombuffer(self.data, np.dtype(dtype).newbyteorder("<"), count, place if count else 0)

    def integers(self, number: int) -> tuple[int, ...]:
        return tuple(int(v) for v in self.array(number, np.int32))

    def text(self, number: int) -> str:
        return self.array(number, np.uint8).tobytes().decode("utf-8", "replace")

    def tables(self, number: int) -> list[_Table]:
        place, count = self._vector(number)
        if place + 4 * count > len(self.data):
            raise IndexError(f"a list of {count} tables at {place} ends behind the file")
        return [_Table(self.data, at + _unpack("I", self.data, at)) for at in range(place, place + 4 * count, 4)]


def _model(root: _Table) -> TfliteModel:
    graphs = root.tables(2)
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs; expected one.")
    codes = [max(code.scalar(0, "b"), code.scalar(3, "i")) for code in root.tables(1)]
    if unknown := [code for code in codes if code not in _NAMES]:
        raise ValueError(f"it has operators of the numbers {unknown}; known are {_NAMES}.")
    buffers = [buffer.array(0, np.uint8) for buffer in root.tables(4)]
    graph = graphs[0]
    tensors = tuple(_tensor(tensor, buffers) for tensor in graph.tables(0))
    operators = tuple(_operator(operator, codes) for operator in graph.tables(3))
    return TfliteModel(tensors, operators, graph.integers(1), graph.integers(2))


def _tensor(table: _Table, buffers: list[Array]) -> TfliteTensor:
    shape, kind, name = table.integers(0), table.scalar(1, "b"), table.text(3)
    data = buffers[table.scalar(2, "I")]
    if not len(data):
        return TfliteTensor(name, shape, None)
    if kind not in _TYPES:
        raise ValueError(f"tensor '{name}' has type {kind}; known are {sorted(_TYPES)}.")
    stored = data.view(np.dtype(_TYPES[kind]).newbyteorder("<"))
    sparsity = table.table(6)
    value = stored.reshape(shape) if sparsity is None else _dense(sparsity, stored, shape)
    return TfliteTensor(name, shape, value)


def _dense(sparsity: _Table, stored: Array, shape: tuple[int, ...]) -> Array:
    """A sparse tensor written out.

    Its dimensions, and those of the blocks that it is cut into, are walked in `order`; each is stored whole, or as the
    indices that are there (compressed rows).
    """
    order, blocks = sparsity.integers(0), sparsity.integers(1)
    levels = [_level(table) for table in sparsity.tables(2)]
    sizes = [1] * len(blocks)
    for level, axis in enumerate(order):
        if axis >= len(shape):
            sizes[axis - len(shape)] = levels[level][0]
    dense = np.zeros(shape, stored.dtype)
    places = np.zeros((1, len(order)), np.int64)  # index along every axis of `order`
    rows = np.zeros(1, np.int64)  # of what is stored at this level
    for axis, (size, segments, indices) in zip(order, levels, strict=True):
        if segments is None:
            index = np.tile(np.arange(size), len(rows))
            counts = np.full(len(rows), size)
            rows = np.repeat(rows * size, size) + index
        else:
            counts = segments[rows + 1] - segments[rows]
            starts = np.repeat(segments[rows], counts)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            rows = starts + within
            index = indices[rows]
        places = np.repeat(places, counts, axis=0)
        places[:, axis] = index
    index = places[:, : len(shape)].copy()
    for block, axis in enumerate(blocks):
        index[:, axis] = index[:, axis] * sizes[block] + places[:, len(shape) + block]
    dense[tuple(index.T)] = stored[rows]
    return dense


def _level(table: _Table) -> tuple[int, Array | None, Array]:
    """Size of a dimension; where its rows start and their indices, None where it is stored whole."""
    none = np.zeros(0, np.int64)
    if table.scalar(0, "b") == 0:
        return table.scalar(1, "i"), None, none
    kinds = {1: np.int32, 2: np.uint16, 3: np.uint8}
    lists: list[Array] = []
    for number in (2, 4):
        vector, kind = table.table(number + 1), table.scalar(number, "B")
        if vector is None or kind not in kinds:
            raise ValueError("a sparse tensor lacks its indices.")
        lists.append(vector.array(0, kinds[kind]).astype(np.int64))
    return len(lists[1]), lists[0], lists[1]


def _operator(table: _Table, codes: list[int]) -> TfliteOperator:
    name = _NAMES[codes[table.scalar(0, "I")]]
    stored = table.table(4)
    known = _OPTIONS.get(name, {})
    options: dict[str, Any] = {
        key: default if stored is None else stored.scalar(number, kind, default)
        for key, (number, kind, default) in known.items()
    }
    if "activation" in options:
        if options["activation"] not in _ACTIVATIONS:
            raise ValueError(f"{name} has activation {options['activation']}; known are {_ACTIVATIONS}.")
        options["activation"] = _ACTIVATIONS[options["activation"]]
    if "padding" in options:
        options["padding"] = ("same", "valid")[options["padding"]]
    return TfliteOperator(name, table.integers(1), table.integers(2), options)
