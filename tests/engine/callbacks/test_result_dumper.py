"""The published `.pth` files."""

from pathlib import Path
from types import SimpleNamespace

import torch

from hmr4d.engine.callbacks.result_dumper import ResultDumper, dump_name
from hmr4d.motion.motion import MotionBatch


def test_a_prompt_with_a_slash_does_not_break_the_path() -> None:
    name = dump_name(0, 7, "a person walks and/or runs in a very large circle")
    assert name == "0_00007_lks_and_or_runs_in_a_very_lar.pth"


def test_files_hold_pred_text_and_length(tmp_path: Path) -> None:
    joints3d, lengths = torch.rand(1, 5, 22, 3), torch.tensor([3])
    motion = MotionBatch(joints3d=joints3d, lengths=lengths, fps=30.0, text=["a person bows low"])
    ResultDumper(str(tmp_path)).on_predict_batch_end(SimpleNamespace(global_rank=0), None, motion, {}, 0)  # type: ignore[arg-type]
    (path,) = tmp_path.glob("*.pth")
    saved = torch.load(path, weights_only=True)
    assert path.name == "0_00000_ws_low.pth"
    assert saved["pred"].shape == (5, 22, 3)
    assert saved["text"] == "a person bows low"
    assert int(saved["length"]) == 3
    assert saved["length"].ndim == 0
    torch.testing.assert_close(saved["pred"][4], saved["pred"][2])
