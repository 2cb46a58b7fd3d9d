"""Distances between motions: zero for the same motion wherever it is, larger for other movements."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import LabeledMotion, labeled_motion
from hmr4d.evaluation.novelty import NearestClip, distance, diversity, spread_of_contents
from hmr4d.motion.canonical import mirror
from hmr4d.motion.procedural import synthetic_joints

FPS = 20.0


def clip(content: str, seed: int = 0, num_frames: int = 60) -> torch.Tensor:
    return torch.from_numpy(synthetic_joints(content, num_frames, np.random.default_rng(seed)))


def moved(joints3d: torch.Tensor, degrees: float) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return joints3d @ torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T + torch.tensor([3.0, 0.0, -1.0])


def test_copies_are_detected_at_any_position_and_mirrored():
    trained = [clip("walk"), clip("bow"), clip("wave-left-hand")]
    nearest = NearestClip(trained, FPS)
    asked = [moved(trained[1], 70), mirror(trained[2]), trained[0][20:50] * 1.1]
    distances, which = nearest(LabeledMotion(asked, ["x"] * 3, FPS))
    assert which.tolist() == [1, 2, 0]
    assert distances.max() < 0.02


def test_the_distance_of_another_movement_grows_with_the_moved_joints():
    still = clip("bow")[:1].expand(40, 22, 3).clone()
    other = still.clone()
    other[:, 20] += torch.tensor([0.0, 0.44, 0.0])  # one of 22 joints
    found, _ = NearestClip([still], FPS)(LabeledMotion([other], ["x"], FPS))
    assert found.item() == pytest.approx(0.44 / 22**0.5, rel=0.05)
    assert distance(still, other, FPS) == pytest.approx(found.item(), rel=0.05)


def test_another_rate_is_the_same_motion():
    walk = clip("walk")
    slow = torch.from_numpy(np.repeat(walk.numpy(), 1, 0))[::2]
    found, _ = NearestClip([walk], FPS)(LabeledMotion([slow], ["x"], FPS / 2))
    assert found.item() < 0.03


def test_diversity_of_copies_is_zero_and_of_one_is_unknown():
    walk = clip("walk")
    assert diversity([walk, moved(walk, 30)], FPS) == pytest.approx(0.0, abs=1e-4)
    assert diversity([walk, clip("bow")], FPS) > 0.05
    assert math.isnan(diversity([walk], FPS))


def test_samples_of_one_prompt_stand_next_to_real_clips(tmp_path: Path):
    store = MotionStore.open(import_synthetic(tmp_path / "synthetic", num_clips=36).path)
    real = labeled_motion(store, "train")
    same = [real, LabeledMotion([moved(c, 45) for c in real.clips], real.labels, real.fps)]
    rows = spread_of_contents(same, [True, *[False] * (len(real) - 1)], store)
    assert list(rows) == [real.labels[0]]
    row = rows[real.labels[0]]
    assert row["num_prompts"] == 1 and row["generated"] < 1e-3 < row["real"]


def test_an_empty_reference_set_is_refused():
    with pytest.raises(ValueError, match="There is no reference clip"):
        NearestClip([], FPS)
