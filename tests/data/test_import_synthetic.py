"""Synthetic clips move as their labels say."""

import numpy as np
import pytest

from hmr4d.body.retarget import smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore
from hmr4d.motion.procedural import CONTENTS, synthetic_joints


def heading(joints):
    across = joints[:, 1] - joints[:, 2] + joints[:, 16] - joints[:, 17]
    return np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))


@pytest.mark.parametrize("content", CONTENTS)
def test_bones_floor_and_meaning(content):
    joints = synthetic_joints(content, 60, np.random.default_rng(3)).astype(float)
    lengths = smpl_mean_bone_lengths()
    for parent, child in SMPL22.bones:
        np.testing.assert_allclose(
            np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1), lengths[child], atol=1e-5
        )
    assert joints[..., 1].min() == 0.0
    turned = np.degrees(heading(joints)[-1] - heading(joints)[0])
    facing = np.stack([np.sin(heading(joints)), np.cos(heading(joints))], -1)
    forward = np.sum(facing[:-1] * np.diff(joints[:, 0, ::2], axis=0), -1).mean() * 20
    left_up, right_up = (joints[:, SMPL22.index(f"{s}_wrist"), 1].max() > 1.4 for s in ("left", "right"))
    assert left_up == ("left-hand" in content or "both" in content)
    assert right_up == ("right-hand" in content or "both" in content)
    assert turned == pytest.approx({"walk-turn-left": 90, "walk-turn-right": -90}.get(content, 0), abs=3)
    assert np.sign(round(forward, 2)) == (-1 if content == "walk-back" else content.startswith(("walk", "run")))


def test_store_depends_on_the_seed_only(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        import_synthetic(tmp_path / name, num_clips=12, seed=seed)
    read = lambda n: (tmp_path / n / "joints.npy").read_bytes()  # noqa: E731
    assert read("a") == read("b") != read("c")
    store = MotionStore.open(tmp_path / "a")
    assert {s: len(store.indices(s)) for s in ("train", "val", "test")} == {"train": 9, "val": 1, "test": 2}
    assert all(store.clip_captions(i) for i in range(len(store)))
    assert min(store.caption_mirror) >= 0


def test_unknown_content():
    with pytest.raises(ValueError, match="Unknown synthetic content 'fly'"):
        synthetic_joints("fly", 10, np.random.default_rng(0))
