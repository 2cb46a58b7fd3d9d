"""Every released model loads by its name and does what it is for. The folders are found, so a new release is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d import load_pipeline
from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.rig_samplers import virtual_rig
from hmr4d.detection.networks import DETECTOR, MODELS, JointFinder, PeopleFinder, find_detector
from hmr4d.evaluation.preparation import StandardPreparation
from hmr4d.evaluators.evaluator import CONFIG_NAME as EVALUATOR_CONFIG
from hmr4d.evaluators.evaluator import load_evaluator
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.utils.releases import CONFIG_NAME

FOLDER = Path(__file__).resolve().parents[1] / "inputs" / "checkpoints" / "hmr4d"
RELEASES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
PIPELINES = [name for name in RELEASES if (FOLDER / name / CONFIG_NAME).is_file()]
EVALUATORS = [name for name in RELEASES if (FOLDER / name / EVALUATOR_CONFIG).is_file()]
DETECTORS = [name for name in RELEASES if name == DETECTOR]
FPS = 20.0
STEPS = 4  # of sampling; enough for a raised hand
LIFTED_WITHIN = 0.15  # meters, mean of all joints over the floor, five meters from the camera
SEEN_WITHIN = 4.0  # pixels, mean distance of the lifted joints from the keypoints


def clip(content: str, num_frames: int) -> torch.Tensor:
    """(L, 22, 3) procedural motion at FPS."""
    return torch.from_numpy(synthetic_joints(content, num_frames, np.random.default_rng(0)))


def test_every_release_is_a_pipeline_an_evaluator_or_a_detector() -> None:
    assert RELEASES
    assert sorted(PIPELINES + EVALUATORS + DETECTORS) == RELEASES


@pytest.mark.parametrize("model", MODELS[:1])
def test_released_detector_loads(model: str) -> None:
    """What it finds in pictures is tested with the detector."""
    folder = find_detector()
    assert PeopleFinder(folder) and JointFinder(folder, model)


@pytest.mark.parametrize("name", PIPELINES)
def test_released_pipeline_makes_motion(name: str) -> None:
    """From text or from keypoints, by what the pipeline can do."""
    pipeline = load_pipeline(name)
    checks = {"sample": check_text_to_motion, "lift": check_lifting}
    known = [check for capability, check in checks.items() if pipeline.can(capability)]
    assert known, f"{name} neither samples nor lifts; add a check for this kind of model"
    for check in known:
        check(pipeline)


def check_text_to_motion(pipeline: Any) -> None:
    prompts = ["a person raises the right hand", "a person walks forward"]
    out = pipeline.sample(prompts, seconds=2.0, seed=0, num_inference_steps=STEPS)
    assert (out.text, out.fps, out.skeleton) == (prompts, pipeline.fps, SMPL22)
    assert out.joints3d.shape == (2, round(2.0 * out.fps), 22, 3)
    assert torch.isfinite(out.joints3d).all()
    assert out.joints3d[..., 1].amin((1, 2)).abs().max() < 1e-3, "the lowest joint is on the floor"
    left, right = (SMPL22.joint_names.index(f"{side}_wrist") for side in ("left", "right"))
    highest = out[0].joints3d[..., 1].amax(0)
    assert highest[right] > highest[left] + 0.3, "the raised hand is the right one"
    again = pipeline.sample(prompts[:1], seconds=2.0, seed=0, num_inference_steps=STEPS)
    assert torch.allclose(again[0].joints3d, out[0].joints3d, atol=1e-4), "same seed and prompt, same motion"


def check_lifting(pipeline: Any) -> None:
    distance, lateral = 5.0, 0.3
    pitch, roll, yaw, center = map(torch.tensor, ([0.17], [0.03], [0.0], [[0.0, 1.6, 0.0]]))
    camera = Rig(
        size=torch.tensor([[640.0, 360.0]]),
        K4=torch.tensor([[500.0, 500.0, 320.0, 180.0]]),
        T_w2c=camera_pose(pitch, roll, yaw, center),
    )
    walk = clip("walk", 40)
    truth = walk - walk[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([lateral, 0.0, -distance])
    kp2d = project(camera, convert_joints(truth, SMPL22, pipeline.input_skeleton))[0]
    rig = virtual_rig(camera, distance, lateral)
    out = pipeline.lift(kp2d, torch.ones(kp2d.shape[:-1]), rig, fps=FPS, seed=0)
    assert (out.fps, out.skeleton, out.joints3d.shape) == (FPS, SMPL22, (1, *truth.shape))
    lifted = out[0].joints3d
    if out[0].provenance.more.get("depth") == "relative":  # the pose, since the distance is unknown
        lifted, truth = lifted - lifted[:, :1], truth - truth[:, :1]
    else:
        assert (out.joints2d[:, 0] - kp2d).norm(dim=-1).mean() < SEEN_WITHIN
    assert (lifted - truth).norm(dim=-1).mean() < LIFTED_WITHIN


@pytest.mark.parametrize("name", EVALUATORS)
def test_released_evaluator_finds_the_text_of_a_motion(name: str) -> None:
    evaluator = load_evaluator(name)
    texts = {
        "walk": "a person walks forward",
        "run": "a person runs",
        "bow": "a person bows",
        "walk-turn-left": "a person walks and turns left",
    }
    prepare = StandardPreparation(evaluator.statistics, max_rows=evaluator.recipe.max_rows)
    features = prepare.encode([clip(content, 60) for content in texts], FPS)
    motions = evaluator.embed_motions(*prepare.cut(features, [None] * len(texts)))
    distances = torch.cdist(evaluator.embed_texts(list(texts.values())), motions)
    assert distances.argmin(1).tolist() == distances.argmin(0).tolist() == list(range(len(texts)))
