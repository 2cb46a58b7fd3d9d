"""Faults of captured motion: jumps are bridged or refused, rates told by free fall, the floor is where feet stand."""

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.capture_faults import (
    BRIDGED,
    GRAVITY,
    flights,
    floor_height,
    mend_jumps,
    rate_by_free_fall,
)
from hmr4d.motion.procedural import synthetic_joints

FPS = 120.0
WRIST, FOOT, ANKLE = SMPL22.indices("left_wrist", "left_foot", "left_ankle")


def standing(num_frames):
    """(T, 22, 3) somebody who stands, sways a little, feet at y = 0."""
    pose = synthetic_joints("walk", 2, np.random.default_rng(0))[0].astype(np.float64)
    pose[:, 1] -= pose[:, 1].min()
    time = np.arange(num_frames)[:, None] / FPS
    joints = np.repeat(pose[None], num_frames, axis=0)
    above = pose[:, 1] > 0.5
    joints[:, above, 0] += 0.01 * np.sin(2 * np.pi * 0.5 * time)
    return joints


def hopping(*, fps, gravity, hops=3, rise=0.5):
    """(T, 22, 3) upright hops of `rise` seconds of flight, with as long a stand between."""
    time = np.arange(round(rise * fps)) / fps
    arc = 0.5 * gravity * time * (rise - time)
    height = np.concatenate([np.zeros_like(time), *([arc, np.zeros_like(time)] * hops)])
    joints = np.repeat(standing(1), len(height), axis=0)
    joints[..., 1] += height[:, None]
    return joints


def test_motion_without_jumps_is_unchanged():
    joints = standing(240)
    mended = mend_jumps(joints, FPS)
    assert mended.cut == (0, 0) and mended.bridged == 0
    np.testing.assert_allclose(mended.joints, joints, atol=1e-12)


def test_short_jump_of_a_joint_is_bridged_and_nothing_else_moves():
    joints = standing(240)
    corrupted = joints.copy()
    corrupted[100:106, WRIST] += [0.0, 0.5, 0.3]
    mended = mend_jumps(corrupted, FPS)
    assert mended.cut == (0, 0) and 6 <= mended.bridged <= 16
    assert np.abs(mended.joints - joints).max() < 0.005  # meters


def test_jumps_at_the_ends_are_cut_off():
    joints = standing(240)
    corrupted = joints.copy()
    corrupted[:3] += [2.0, 0.0, 0.0]
    corrupted[237:, WRIST] += [0.0, 1.0, 0.0]
    mended = mend_jumps(corrupted, FPS)
    start, end = mended.cut
    assert 3 <= start <= 8 and 3 <= end <= 8 and mended.bridged == 0
    np.testing.assert_allclose(mended.joints, joints[start : len(joints) - end], atol=1e-12)


def test_a_frozen_body_before_a_jump_is_bridged_too():
    joints = standing(480)
    joints[..., 2] += 1.0 * np.arange(480)[:, None] / FPS  # walks off
    corrupted = joints.copy()
    corrupted[100:122] = corrupted[99]
    corrupted[100:122, FOOT] += [0.0, 0.6, 0.0]
    mended = mend_jumps(corrupted, FPS)
    assert mended.bridged >= 22
    assert np.abs(mended.joints[:, FOOT] - joints[:, FOOT]).max() < 0.25  # meters; it was off by 0.6


@pytest.mark.parametrize(
    ("corrupt", "cause"),
    [
        (lambda x: x[100 : 100 + int(BRIDGED * FPS) + 20 : 4, WRIST].__iadd__(0.5), "jumps of left_wrist over"),
        (lambda x: x[100:].__iadd__([3.0, 0.0, 0.0]), "pelvis jumps .* m/s"),
        (lambda x: x[::2, FOOT].__iadd__(1.0), "all through the clip"),
    ],
)
def test_long_far_and_lasting_jumps_are_refused(corrupt, cause):
    joints = standing(240)
    corrupt(joints)
    with pytest.raises(ValueError, match=cause):
        mend_jumps(joints, FPS)


def test_short_clips_have_no_jumps():
    assert mend_jumps(standing(2), FPS).joints.shape == (2, 22, 3)


def test_hops_at_the_true_rate_fall_with_gravity():
    joints = hopping(fps=FPS, gravity=GRAVITY)
    falls = flights(joints, FPS)
    assert len(falls) == 3
    assert falls == pytest.approx([GRAVITY] * 3, rel=0.02)
    assert rate_by_free_fall(joints, FPS) == FPS


def test_rate_is_halved_where_people_would_fall_with_four_g():
    joints = hopping(fps=60.0, gravity=GRAVITY)
    assert rate_by_free_fall(joints, 120.0) == 60.0
    assert rate_by_free_fall(joints, 60.0) == 60.0


def test_motion_without_flight_keeps_its_rate():
    assert rate_by_free_fall(standing(240), FPS) == FPS


def test_floor_is_where_feet_stand_not_where_one_sinks_in():
    joints = standing(600)
    joints[..., 1] += 0.3
    joints[300:302, FOOT, 1] -= 0.2  # a landing
    assert floor_height(joints, FPS) == pytest.approx(0.3, abs=0.005)


def test_floor_of_a_climb_is_where_it_begins():
    joints = standing(600)
    climb = np.clip((np.arange(600) - 200) / 200, 0.0, 1.0)
    joints[..., 1] += climb[:, None]
    assert floor_height(joints, FPS) == pytest.approx(0.0, abs=0.01)


def test_floor_of_motion_in_which_nobody_stands_is_its_lowest_foot():
    joints = standing(60)
    joints[..., 2] += 3.0 * np.arange(60)[:, None] / FPS
    joints[30, ANKLE, 1] = -0.05
    assert floor_height(joints, FPS) == pytest.approx(-0.05)
    assert floor_height(joints[:1], FPS) == pytest.approx(joints[0, FOOT, 1], abs=0.2)
