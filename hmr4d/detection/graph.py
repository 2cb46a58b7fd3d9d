"""A convolutional network described by a list of steps, the result of `conversion` from a TFLite graph.

Images are (B, C, H, W). A step is a JSON object: `op`, the numbers of its `inputs`, the number of its `output`, and the
options of the operation. Number 0 is the input.

    conv              weight (file key), stride, pads (left, right, top, bottom), dilation, groups, activation
    add               two inputs, activation
    concatenate       axis, of (B, N, K) rows
    depth_to_space    block
    max_pool          size, stride, pads
    pad               pads of width, height and channels: (left, right, top, bottom, front, back)
    resize            size (height, width): bilinear, centers of pixels at halves
    rows              channels K: (B, C, H, W) to (B, H * W * C / K, K), the channels of a place side by side
    sigmoid
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmr4d.utils.weights import read_state, short_reason

GRAPH_FORMAT = "hmr4d-graph-1"
OPERATIONS = ("conv", "add", "concatenate", "depth_to_space", "max_pool", "pad", "resize", "rows", "sigmoid")


class GraphNetwork(nn.Module):
    """Computes the steps of a graph in order; results are freed after their last use.

    Args:
        steps: as above.
        outputs: name -> number of a result.
        shapes: name of a weight -> its shape (out, in / groups, kh, kw).

    Raises:
        ValueError: an unknown operation, or a step with an input that is not computed before.
    """

    def __init__(
        self, steps: Sequence[Mapping[str, Any]], outputs: Mapping[str, int], shapes: Mapping[str, Sequence[int]]
    ) -> None:
        super().__init__()
        self.steps, self.outputs = [dict(step) for step in steps], dict(outputs)
        known = {0}
        for step in self.steps:
            if step["op"] not in OPERATIONS:
                raise ValueError(f"A graph has the operation '{step['op']}'; known: {', '.join(OPERATIONS)}.")
            if missing := set(step["inputs"]) - known:
                raise ValueError(f"A {step['op']} of a graph uses results {sorted(missing)} that no earlier step has.")
            known.add(step["output"])
        if missing := set(self.outputs.values()) - known:
            raise ValueError(f"A graph gives out results {sorted(missing)} that no step has.")
        last = {number: place for place, step in enumerate(self.steps) for number in step["inputs"]}
        kept = set(self.outputs.values())
        self._let_go = [
            [n for n in set(step["inputs"]) if last[n] == place and n not in kept]
            for place, step in enumerate(self.steps)
        ]
        for name, shape in shapes.items():
            self.register_parameter(f"{name}_weight", nn.Parameter(torch.zeros(*shape), requires_grad=False))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(shape[0]), requires_grad=False))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Results by name, for images (B, 3, H, W) with values from 0 to 1 or in the range of the network."""
        results: dict[int, Tensor] = {0: pictures}
        for step, done in zip(self.steps, self._let_go, strict=True):
            results[step["output"]] = self._step(step, [results[number] for number in step["inputs"]])
            for number in done:
                del results[number]
        return {name: results[number] for name, number in self.outputs.items()}

    def _step(self, step: Mapping[str, Any], inputs: list[Tensor]) -> Tensor:
        x = inputs[0]
        match step["op"]:
            case "conv":
                return self._conv(step, x)
            case "add":
                return _activated(x + inputs[1], step["activation"])
            case "concatenate":
                return torch.cat(inputs, step["axis"])
            case "depth_to_space":
                return _depth_to_space(x, step["block"])
            case "max_pool":
                lowest = torch.finfo(x.dtype).min
                padded = functional.pad(x, step["pads"], value=lowest) if any(step["pads"]) else x
                return functional.max_pool2d(padded, step["size"], step["stride"])
            case "pad":
                return functional.pad(x, step["pads"])
            case "resize":
                return functional.interpolate(x, step["size"], mode="bilinear", align_corners=False)
            case "rows":
                return x.permute(0, 2, 3, 1).reshape(len(x), -1, step["channels"])
            case _:
                return torch.sigmoid(x)

    def _conv(self, step: Mapping[str, Any], x: Tensor) -> Tensor:
        left, right, top, bottom = step["pads"]
        padding = (top, left)
        if left != right or top != bottom:
            x, padding = functional.pad(x, step["pads"]), (0, 0)
        weight, bias = getattr(self, f"{step['weight']}_weight"), getattr(self, f"{step['weight']}_bias")
        x = functional.conv2d(x, weight, bias, step["stride"], padding, step["dilation"], step["groups"])
        return _activated(x, step["activation"])


def _activated(x: Tensor, activation: str) -> Tensor:
    """A fresh result after its activation, in place."""
    if activation == "relu6":
        return x.clamp_(0.0, 6.0)
    return x.relu_() if activation == "relu" else x


def _depth_to_space(x: Tensor, block: int) -> Tensor:
    """(B, b b C, H, W) to (B, C, H b, W b); the block's rows and columns are the slow axes of the channels."""
    B, channels, H, W = x.shape
    blocks = x.view(B, block, block, channels // block**2, H, W).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(B, channels // block**2, H * block, W * block)


def load_graph(folder: Path, name: str) -> GraphNetwork:
    """A network from `<name>.json` and `<name>.safetensors`, float32, in evaluation mode.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: they are damaged or inconsistent.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"Network not found: {path}. Restore the folder from the repository.")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != GRAPH_FORMAT:
            raise ValueError(f"its format is {about['format']!r}, expected {GRAPH_FORMAT!r}")
        network = GraphNetwork(about["steps"], about["outputs"], about["shapes"])
        network.load_state_dict(read_state(folder / f"{name}.safetensors"))
    except (ValueError, LookupError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({short_reason(error)}). Restore it from the repository.") from error
    return network.eval()
