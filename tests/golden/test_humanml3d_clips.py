"""Trimming, cropping and mirroring of HumanML3D clips, and the frame of joints3d.pth, against golden vectors."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch

from hmr4d.data.importers.humanml3d_release import IndexRow, crop_clip, mirror_clip
from hmr4d.motion.canonical import face_first_frame
from tests.golden.vectors import golden_file, golden_root, read_json

FOLDER = "humanml3d"


def clips() -> list[tuple[str, dict[str, np.ndarray]]]:
    """(name, arrays) of every recorded clip: one a file, or several with their names before two underscores."""
    folder = (golden_root() or Path()) / FOLDER
    found: list[tuple[str, dict[str, np.ndarray]]] = []
    for path in sorted(folder.glob("rep_*.npz")):
        with np.load(path, allow_pickle=False) as data:
            for prefix in sorted({key.rpartition("__")[0] for key in data.files}):
                start = f"{prefix}__" if prefix else ""
                own = {k.removeprefix(start): data[k] for k in data.files if k.startswith(start)}
                found += [(prefix or path.stem, own)] if "m2t3_ayfz" in own else []
    return found


def test_crop_and_mirror() -> None:
    cases = read_json(f"{FOLDER}/crop_mirror.json")
    with np.load(golden_file(f"{FOLDER}/crop_mirror.npz"), allow_pickle=False) as data:
        assert cases
        for index, case in enumerate(cases):
            row = IndexRow(PurePosixPath(case["source"]).stem, case["source"], case["start"], case["end"])
            cropped = crop_clip(data[f"in_{index}"], row)
            np.testing.assert_array_equal(cropped, data[f"out_{index}"], err_msg=case["source"])
            np.testing.assert_array_equal(mirror_clip(cropped), data[f"mirror_{index}"], err_msg=case["source"])
            # The first 22 joints, which are all that is kept, do not depend on the hands.
            np.testing.assert_array_equal(mirror_clip(cropped[:, :22]), data[f"mirror_{index}"][:, :22])


@pytest.mark.parametrize("case", clips(), ids=lambda case: case[0])
def test_mirror_and_frame_of_recorded_clips(case: tuple[str, dict[str, np.ndarray]]) -> None:
    name, data = case
    joints3d = data["joints_in"]
    if "mirror22" in data:
        np.testing.assert_allclose(mirror_clip(joints3d)[:, :22], data["mirror22"], atol=1e-6, err_msg=name)
    faced = face_first_frame(torch.from_numpy(joints3d[:, :22].astype(np.float32))).numpy()
    np.testing.assert_allclose(faced, data["m2t3_ayfz"], atol=5e-5, err_msg=name)
