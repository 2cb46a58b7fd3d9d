"""Outputs of the reference runtime of TFLite files for made-up pictures: `reference.npz`.

    python -m tests.detection.reference mediapipe.whl pose.tgz

writes them anew. It needs ai-edge-litert, and the packages that docs/detect.md names.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.detection.conversion import SOURCES, read_archive
from tests.detection.pictures import draw_person, room

FILE = Path(__file__).parent / "reference.npz"
SIDES = {"people": 224, "full": 256, "heavy": 256}
TOPS = ((0.5, 0.12, 0.78), (0.3, 0.3, 0.5), (0.62, -0.1, 1.1))  # u, v and height of a person, shares of the side


def made_pictures(network: str) -> NDArray[np.float32]:
    """(3, side, side, 3) as the network wants them: from 0 to 1, or from -1 to 1."""
    side, made = SIDES[network], []
    for seed, (u, v, height) in enumerate(TOPS):
        values = room((side, side), seed)
        draw_person(values, (u * side, v * side), height * side)
        made.append(np.clip(values / 255, 0, 1))
    pictures = np.stack(made).astype(np.float32)
    return pictures * 2 - 1 if network == "people" else pictures


def reference_outputs(model: bytes, pictures: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Every output tensor by its name, for pictures (B, H, W, 3)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    rows: dict[str, list[NDArray[Any]]] = {}
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
        interpreter.invoke()
        for tensor in interpreter.get_output_details():
            rows.setdefault(tensor["name"], []).append(interpreter.get_tensor(tensor["index"])[0].copy())
    return {name: np.stack(values) for name, values in rows.items()}


def main(archives: Sequence[str]) -> None:
    files: dict[str, bytes] = {}
    for archive in archives:
        files |= read_archive(Path(archive), {source.file for source in SOURCES.values()})
    kept: dict[str, NDArray[Any]] = {}
    for network, source in SOURCES.items():
        outputs = reference_outputs(files[source.file], made_pictures(network))
        for name, tensor in source.outputs.items():
            if name == "heatmap":
                continue  # large; landmarks and heat come from the same features
            rows = outputs[tensor]
            if network == "people":  # the places where somebody may be
                best = np.argsort(-outputs[source.outputs["scores"]][..., 0], axis=1)[:, :20]
                kept["people/rows"] = best
                rows = np.take_along_axis(rows, best[..., None], 1)
            kept[f"{network}/{name}"] = rows.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE.name
        np.savez_compressed(path, **kept)
        FILE.write_bytes(path.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
