"""Files of the result dumper."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch

from hmr4d.engine.callbacks.result_dumper import ResultDumper
from hmr4d.motion.motion import MotionBatch
from tests.golden.vectors import arrays, assert_close, numbered, tensors


def test_dumped_files(tmp_path: Path) -> None:
    data, recorded = tensors("dumper.npz"), arrays("dumper.npz")
    clips = numbered(recorded, r"(\d+)/pred")
    output = MotionBatch(
        joints3d=data["pred_global_motion"],
        lengths=data["length"],
        fps=30.0,
        text=[str(recorded[f"{clip}/text"]) for clip in clips],
    )
    dumper = ResultDumper(str(tmp_path / "dumped"))
    dumper.on_predict_batch_end(SimpleNamespace(global_rank=0), None, output, None, 0)
    files = sorted((tmp_path / "dumped").iterdir())
    assert [path.name for path in files] == recorded["files"].tolist()
    for clip, path in zip(clips, files, strict=True):
        saved = torch.load(path, weights_only=True)
        assert set(saved) == {"pred", "text", "length"}
        assert_close("dumper file", saved["pred"], data[f"{clip}/pred"])
        assert saved["length"].ndim == 0
        assert int(saved["length"]) == int(data[f"{clip}/length"])
        assert saved["text"] == str(recorded[f"{clip}/text"])
