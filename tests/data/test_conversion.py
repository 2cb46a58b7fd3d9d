"""From BVH to joints: resampling, joint maps, units, axes, floor."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from hmr4d.body.retarget import bone_lengths, smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.conversion import BvhSource, Conversion, convert_batch
from hmr4d.motion.resampling import resample_positions, resampled_length
from hmr4d.motion_files.bvh import BvhClip, BvhError, read_bvh
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO, CMU, Between, JointMap, joint_map_from_dict


def source_joints(joint_map):
    """All source joints that a map names."""
    rules = joint_map.rules.values()
    return sorted({n for r in rules for n in ((r,) if isinstance(r, str) else (r.start, r.end))})


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 5, 24, 100, 101, 102])
@pytest.mark.parametrize(("fps", "target"), [(30, 20), (120, 20), (25, 20), (20, 30)])
def test_resampling_is_the_not_a_knot_spline(num_frames, fps, target):
    values = np.random.default_rng(num_frames).normal(size=(num_frames, 2, 3)).cumsum(0)
    result = resample_positions(values, fps, target)
    assert len(result) == resampled_length(num_frames, fps, target)
    times = np.arange(len(result)) * fps / target
    assert times[-1] <= num_frames - 1 + 1e-9 < times[-1] + fps / target + 1e-6
    if num_frames > 1:
        np.testing.assert_allclose(result, CubicSpline(np.arange(num_frames), values)(times), atol=1e-10)


def test_two_thirds_of_the_frames_and_every_second_is_exact():
    values = np.random.default_rng(0).normal(size=(31, 22, 3))
    result = resample_positions(values, 30.0, 20.0)
    assert len(result) == 21
    np.testing.assert_allclose(result[::2], values[::3], atol=1e-12)


def test_maps_midpoint_and_fraction():
    names = source_joints(CMU)
    positions = np.random.default_rng(0).normal(size=(4, len(names), 3))
    at = {n: positions[:, i] for i, n in enumerate(names)}
    mapped = CMU.apply(positions, names)
    np.testing.assert_allclose(mapped[:, SMPL22.index("spine3")], 0.65 * at["Spine1"] + 0.35 * at["Neck"])
    np.testing.assert_allclose(mapped[:, SMPL22.index("left_collar")], 0.55 * at["Neck"] + 0.45 * at["LeftArm"])
    np.testing.assert_array_equal(mapped[:, SMPL22.index("right_wrist")], at["RightFingerBase"])
    halfway = JointMap("halfway", dict(CMU.rules) | {"spine1": Between("Hips", "Spine")})
    np.testing.assert_allclose(
        halfway.apply(positions, names)[:, SMPL22.index("spine1")], (at["Hips"] + at["Spine"]) / 2
    )


def test_map_tables_name_every_joint():
    table = {n: "A" for n in SMPL22.joint_names}
    assert (
        joint_map_from_dict("mine", table | {"head": {"from": "A", "to": "B", "at": 0.25}}).rules["head"].fraction
        == 0.25
    )
    with pytest.raises(ValueError, match=r"missing \['head'\], unknown \['hat'\]"):
        joint_map_from_dict("mine", {("hat" if n == "head" else n): "A" for n in SMPL22.joint_names})
    for at in (10**400, float("nan"), 1e9, "half"):
        with pytest.raises(ValueError, match="'at' is .*; expected a number such as 0.5"):
            joint_map_from_dict("mine", table | {"head": {"from": "A", "to": "B", "at": at}})
    with pytest.raises(ValueError, match="expected a name or"):
        joint_map_from_dict("mine", table | {"head": 3})


def test_conversion_meters_floor_and_sides(bandai_bvh):
    joints = Conversion(BANDAI_NAMCO)(read_bvh(bandai_bvh(31)))
    assert joints.shape == (21, 22, 3)
    assert joints.dtype == np.float32
    assert joints[..., 1].min() == 0.0
    assert 1.2 < joints[:, SMPL22.index("head"), 1].mean() < 1.6
    assert (joints[:, SMPL22.index("left_hip"), 0] > joints[:, SMPL22.index("right_hip"), 0]).all()
    assert joints[-1, 0, 2] - joints[0, 0, 2] == pytest.approx(1.2, abs=1e-4)


def test_exchanged_sides_are_reported(bandai_bvh):
    def other(name):
        return name.replace("left_", "?").replace("right_", "left_").replace("?", "right_")

    exchanged = JointMap("exchanged", {other(name): rule for name, rule in BANDAI_NAMCO.rules.items()})
    source = BvhSource("walk", "walk.bvh", bandai_bvh(31))
    told = [convert_batch([source], Conversion(joint_map))[0].remarks for joint_map in (BANDAI_NAMCO, exchanged)]
    assert [[remark.kind for remark in remarks] for remarks in told] == [[], ["sides"]]


def test_z_up_turns_to_y_up(bandai_bvh, monkeypatch):
    clip = read_bvh(bandai_bvh(7))
    y_up = Conversion(BANDAI_NAMCO)(clip)
    positions = clip.forward_kinematics()
    turned = np.stack([positions[..., 0], -positions[..., 2], positions[..., 1]], -1)  # the same motion with z up

    monkeypatch.setattr(BvhClip, "forward_kinematics", lambda self, **_: turned)
    z_up = Conversion(BANDAI_NAMCO, up="z")(clip)
    np.testing.assert_allclose(z_up, y_up, atol=1e-6)


def test_unit_skip_and_retarget(bandai_bvh):
    clip = read_bvh(bandai_bvh(31))
    np.testing.assert_allclose(
        Conversion(BANDAI_NAMCO, meters_per_unit=0.0254)(clip), Conversion(BANDAI_NAMCO)(clip) * 2.54, rtol=1e-5
    )
    assert len(Conversion(BANDAI_NAMCO, skip_frames=1)(clip)) == 20
    retargeted = Conversion(BANDAI_NAMCO, retarget="smpl_mean")(clip)
    np.testing.assert_allclose(bone_lengths(retargeted), smpl_mean_bone_lengths(), atol=1e-6)
    assert retargeted[..., 1].min() == 0.0
    with pytest.raises(BvhError, match="31 frames, all skipped"):
        Conversion(BANDAI_NAMCO, skip_frames=31)(clip)


def test_missing_joints_and_bad_options(bandai_bvh):
    with pytest.raises(BvhError, match=r"joints \['LHipJoint'|joints \['Head', |not in the file"):
        Conversion(CMU)(read_bvh(bandai_bvh(3), name="a.bvh"))
    for wrong in ({"up": "w"}, {"source_fps": 0.0}, {"retarget": "giant"}, {"meters_per_unit": 0.0}):
        with pytest.raises(ValueError):
            Conversion(CMU, **wrong)
