"""Recognition of actions in motion, by a linear recognizer of a summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.motion.canonical import mirror
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.nn.action_index import ActionIndex, KnownAction
from hmr4d.nn.action_recognizer import ActionRecognizer, RecognizerTraining
from hmr4d.nn.motion_recognizer import MotionRecognizer, fit_motion_recognizer, motion_summary

FAST = RecognizerTraining(steps=60, batch_size=64)


def motion(kind: str, frames: int = 60, seed: int = 0) -> Tensor:
    return torch.tensor(synthetic_joints(kind, frames, np.random.default_rng(seed))).float()


def test_the_summary_does_not_depend_on_place_and_heading() -> None:
    walk = motion("walk")
    cos, sin = np.cos(2.0), np.sin(2.0)
    turn = torch.tensor([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]]).float()
    moved = walk @ turn.T + torch.tensor([3.0, 0.7, -2.0])
    torch.testing.assert_close(motion_summary(moved, 20.0), motion_summary(walk, 20.0), atol=2e-3, rtol=0)


def test_the_summary_hardly_depends_on_the_frame_rate() -> None:
    walk = motion("walk", frames=81)
    fast, slow = motion_summary(walk, 40.0), motion_summary(walk[::2], 20.0)
    assert (fast - slow).abs().mean() < 0.05 * (fast - motion_summary(motion("bow"), 20.0)).abs().mean()


def test_a_mirrored_motion_has_another_summary() -> None:
    wave = motion("wave-left-hand")
    assert (motion_summary(mirror(wave), 20.0) - motion_summary(wave, 20.0)).abs().max() > 0.2


def test_motions_of_other_shapes_are_refused() -> None:
    for wrong in (torch.zeros(1, 22, 3), torch.zeros(9, 17, 3), torch.zeros(2, 9, 22, 3)):
        with pytest.raises(ValueError, match=r"the recognizer needs \(L, 22, 3\), L >= 2"):
            motion_summary(wrong, 20.0)
    with pytest.raises(ValueError, match="A recognizer of 2 groups needs weights"):
        MotionRecognizer(("walk", "bow"), torch.zeros(3, 4), torch.zeros(3))


def test_a_recognizer_of_a_store_names_the_actions_of_other_clips(tmp_path: Path) -> None:
    import_synthetic(tmp_path / "train", num_clips=24, seed=0)
    import_synthetic(tmp_path / "other", num_clips=24, seed=1)
    recognizer = fit_motion_recognizer([tmp_path / "train"], split=None, training=FAST)
    assert recognizer is not None
    other = MotionStore.open(tmp_path / "other")
    probabilities = recognizer([torch.tensor(other.joints3d(clip)) for clip in range(len(other))], other.fps)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(other)))
    named = [recognizer.groups[i] for i in probabilities.argmax(1).tolist()]
    assert np.mean([a == b for a, b in zip(named, other.labels["content"], strict=True)]) > 0.9


def test_an_action_recorded_with_one_hand_is_recognized_with_the_other_hand(tmp_path: Path) -> None:
    recorded = {"drink": "raise-up-left-hand", "wash-windows": "wave-right-hand", "bow": "bow"}
    writer = StoreWriter(tmp_path / "s", name="s", source="test", licence="none", notice="", settings={})
    for seed in range(8):
        for label, kind in recorded.items():
            writer.add(f"{label}_{seed}", motion(kind, seed=seed).numpy(), split="train", labels={"content": label})
    writer.finish(annotate=lambda clip: [Caption(clip.labels["content"], ())], mirror_text=str, tokenize=lambda _: ())
    recognizer = fit_motion_recognizer([tmp_path / "s"], training=FAST)
    assert recognizer is not None
    other_hand = recognizer([mirror(motion("raise-up-left-hand", seed=9))], 20.0)[0]
    assert other_hand[recognizer.groups.index("drink")] > 0.9


def test_agreement_compares_the_action_of_the_prompt_with_that_of_the_motion(tmp_path: Path) -> None:
    walk, bow = motion("walk"), motion("bow")
    difference = motion_summary(walk, 20.0) - motion_summary(bow, 20.0)
    middle = 0.5 * (motion_summary(walk, 20.0) + motion_summary(bow, 20.0)) @ difference
    weight = torch.stack([difference, -difference])
    recognizer = MotionRecognizer(("walk", "bow"), weight, torch.stack([-middle, middle]))
    actions = [KnownAction("stroll", "walk", 1, 2, 1, 3), KnownAction("bow", "bow", 1, 2, 1, 3)]
    actions.append(KnownAction("fly", "fly", 1, 2, 1, 3))
    sure = ActionRecognizer(10 * torch.eye(3), torch.zeros(3))
    index = ActionIndex(actions, torch.eye(3), recognizer=sure, motion_recognizer=recognizer)
    index.save(tmp_path / "actions.safetensors")
    for known in (index, ActionIndex.load(tmp_path / "actions.safetensors")):
        agreement = known.agreement(torch.eye(3)[[0, 0, 1, 2]], [walk, bow, bow, bow], 20.0)
        torch.testing.assert_close(agreement, torch.tensor([1.0, 0.0, 1.0, 0.0]), atol=1e-2, rtol=0)
    with pytest.raises(RuntimeError, match="no recognizer of motion"):
        ActionIndex(actions, torch.eye(3)).agreement(torch.eye(3), [walk] * 3, 20.0)
