"""Retargeting keeps directions, sets lengths and scales the path."""

import numpy as np
import pytest

from hmr4d.body.retarget import bone_lengths, leg_length, retarget_bone_lengths, smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22


def motion():
    return np.random.default_rng(0).normal(size=(12, 22, 3)).cumsum(axis=1)


def test_lengths_and_directions():
    source, target = motion(), smpl_mean_bone_lengths()
    result = retarget_bone_lengths(source, target)
    for parent, child in SMPL22.bones:
        bone, old = result[:, child] - result[:, parent], source[:, child] - source[:, parent]
        np.testing.assert_allclose(np.linalg.norm(bone, axis=-1), target[child])
        np.testing.assert_allclose(bone / target[child], old / np.linalg.norm(old, axis=-1, keepdims=True), atol=1e-12)


def test_root_path_scales_by_leg_length():
    source, target = motion(), smpl_mean_bone_lengths()
    ratio = leg_length(target) / leg_length(bone_lengths(source))
    np.testing.assert_allclose(retarget_bone_lengths(source, target)[:, 0], source[:, 0] * ratio)
    np.testing.assert_array_equal(retarget_bone_lengths(source, target, scale_root=False)[:, 0], source[:, 0])


def test_retargeting_to_own_lengths_changes_nothing():
    target = smpl_mean_bone_lengths()
    once = retarget_bone_lengths(motion(), target)
    np.testing.assert_allclose(retarget_bone_lengths(once, target), once, atol=1e-12)


def test_table_is_symmetric_and_human():
    lengths = smpl_mean_bone_lengths()
    np.testing.assert_array_equal(lengths, lengths[list(SMPL22.mirror_order)])
    assert leg_length(lengths) == pytest.approx(0.782)


def test_errors():
    target = smpl_mean_bone_lengths()
    with pytest.raises(ValueError, match=r"shape \(5, 24, 3\)"):
        retarget_bone_lengths(np.zeros((5, 24, 3)), target)
    with pytest.raises(ValueError, match="target_lengths has shape"):
        retarget_bone_lengths(motion(), target[:-1])
    flat = motion()
    flat[:, SMPL22.index("head")] = flat[:, SMPL22.index("neck")]
    with pytest.raises(ValueError, match="bone neck - head has no length"):
        retarget_bone_lengths(flat, target)
