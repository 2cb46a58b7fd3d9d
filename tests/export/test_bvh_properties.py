"""A BVH file gives back the motion, the rate and the text that were written, for any pose and any words."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hmr4d.body.kinematics import posed_joints
from hmr4d.body.loading import load_body
from hmr4d.export.bvh import continued, write_bvh
from hmr4d.motion_files.bone_names import bone_names, known_bone_names
from hmr4d.motion_files.bvh import read_bvh
from hmr4d.motion_files.side_files import side_file
from tests.motions import as_motion
from tests.strategies import seeds, tensors

METERS_PER_UNIT = {"m": 1.0, "cm": 0.01}
OFF_BY = 1e-4  # meters; the file has five decimals of a meter and four of a degree


# A reader takes rates within a thousandth of a whole number for that number; these are none of them, or are whole.
RATES = st.integers(1, 240).map(float) | st.sampled_from([12.5, 23.976, 29.97, 59.94, 119.88])


def tumbling(seed: int, num_frames: int, bend: float) -> np.ndarray:
    """(L, 22, 3) float32 metres: rigid bones, the root anyhow, every joint bent by up to `bend` radians an axis."""
    rng = np.random.default_rng(seed)
    vectors = rng.uniform(-bend, bend, (num_frames, 22, 3))
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(num_frames, 22, 3, 3)
    rotations[:, 0] = Rotation.random(num_frames, rng=rng).as_matrix()
    path = torch.from_numpy(rng.uniform(-20, 20, (num_frames, 3)))
    rest = load_body("anny").rest_joints.double()
    return posed_joints(torch.from_numpy(rotations), path, rest).numpy().astype(np.float32)


@settings(max_examples=8)
@given(
    seed=seeds(),
    num_frames=st.integers(1, 4),
    bend=st.floats(0.0, 1.2),
    fps=RATES,
    text=st.text(),
    bones=st.sampled_from(known_bone_names()),
    units=st.sampled_from(sorted(METERS_PER_UNIT)),
)
def test_written_motion_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    num_frames: int,
    bend: float,
    fps: float,
    text: str,
    bones: str,
    units: str,
) -> None:
    path, motion = tmp_path_factory.mktemp("bvh") / "m.bvh", tumbling(seed, num_frames, bend)
    done = write_bvh(path, as_motion(motion, fps=fps, text=text), bones=bones, units=units)
    clip = read_bvh(path)
    order = [clip.joint_names.index(name) for name in bone_names(bones)]
    read = clip.forward_kinematics()[:, order] * METERS_PER_UNIT[units]
    assert done.largest < OFF_BY
    assert np.abs(read - motion).max() < 2 * OFF_BY
    assert clip.fps == pytest.approx(fps, rel=1e-6)
    facts = json.loads(side_file(path).read_text("utf-8"))
    assert (facts["text"], facts["fps"], facts["num_frames"]) == (text, fps, num_frames)


@given(seeds(), st.integers(1, 30), tensors(1, 3, low=-7.0, high=7.0))
def test_continued_angles_are_the_same_rotations(seed: int, num_frames: int, before: torch.Tensor) -> None:
    """And no angle of theirs goes on by more than half a turn."""
    angles = np.random.default_rng(seed).uniform(-np.pi, np.pi, (num_frames, 1, 3))
    got = continued(angles.copy(), before.numpy())
    same = Rotation.from_euler("ZXY", got[:, 0]).inv() * Rotation.from_euler("ZXY", angles[:, 0])
    assert same.magnitude().max() < 1e-9
    steps = np.diff(np.concatenate([before.numpy()[None], got]), axis=0)
    assert np.abs(steps).max() <= np.pi + 1e-9
