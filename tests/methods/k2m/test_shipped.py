"""The K2M model that ships: loaded by name, it generates and lifts."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from hmr4d import load_pipeline
from hmr4d.body.skeleton import SMPL22
from hmr4d.engine.compose import compose_config
from hmr4d.methods.base import Pipeline
from tests.methods.k2m.tiny import walking_clips

NAME = "k2m-everyday"
FOLDER = Path(__file__).resolve().parents[3] / "inputs" / "checkpoints" / "hmr4d" / NAME


@cache
def shipped() -> Pipeline:
    return load_pipeline(NAME)


def test_the_card_names_licence_steps_and_commands() -> None:
    about = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))["about"]
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC BY-NC 4.0" in card and "CMU" in card
    assert about["steps"] > 0 and about["commands"]


def test_the_recipe_builds_the_released_networks() -> None:
    released = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))["network"]
    networks = compose_config(["exp=k2m/full_small"]).network
    for part in ("tokenizer", "masked", "residual", "length"):
        for key, value in released[part].items():
            if key != "quantize_after":  # of the first steps of training only
                assert networks[part][key] == value, (part, key)


@pytest.mark.parametrize("seconds", [2.0, 3.0])
def test_it_generates_an_upright_person_of_human_size(seconds: float) -> None:
    batch = shipped().sample(["a person walks forward", "someone raises both hands"], seconds=seconds, seed=[1, 2])
    for motion in batch:
        joints3d = motion.joints3d
        assert len(joints3d) == pytest.approx(30 * seconds, abs=4) and joints3d.isfinite().all()
        head, foot = joints3d[:, SMPL22.index("head"), 1], joints3d[:, SMPL22.index("left_foot"), 1]
        assert ((head - foot).median() - 1.5).abs() < 0.25
        assert motion.pose is not None and "CC BY-NC 4.0" in motion.provenance.licence
    (alone,) = shipped().sample(["someone raises both hands"], seconds=seconds, seed=2)
    assert (alone.joints3d - batch[1].joints3d).abs().max() < 1e-4


def test_raised_hands_are_above_the_head_and_hanging_ones_are_not() -> None:
    wrists, head = list(SMPL22.indices("left_wrist", "right_wrist")), SMPL22.index("head")
    up, down = shipped().sample(["a person raises both hands", "a person walks forward"], seconds=3.0, seed=[0, 0])
    heights = [(one.joints3d[:, wrists, 1].amin(1) - one.joints3d[:, head, 1]).amax() for one in (up, down)]
    assert heights[0] > 0 > heights[1]


def test_it_reads_keypoints_of_a_person() -> None:
    clip = walking_clips(1, 60)[0]
    tokens = shipped().network.motion_tokenizer.tokenize(clip)  # type: ignore[attr-defined]
    assert tokens.shape == (15, 4) and ((tokens >= 0) & (tokens < 128)).all()
    assert len(torch.unique(tokens, dim=0)) > 5  # steps differ
