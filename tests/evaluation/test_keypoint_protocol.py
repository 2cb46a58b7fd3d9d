"""Generated motion compared with 2D keypoints: cameras that see it, and what belongs together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.importers.render2d import CameraDraws
from hmr4d.data.store import KeypointStore
from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH
from hmr4d.evaluation.keypoint_protocol import DrawnCameras, KeypointProtocol, OwnCamera
from hmr4d.evaluation.scoring import StandardProtocol, TextToMotionScorer
from hmr4d.evaluation.text_to_motion_data import Job, KeypointCuts, RowCuts, ScoredClips
from hmr4d.motion.motion import CAMERA, Motion, Provenance, camera_metadata
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.utils.randomness import ItemRandom
from tests.data.tiny_keypoints import SIZE, write_keypoint_store
from tests.evaluators.tiny_keypoint_evaluator import keypoint_evaluator

COUNT = 36
RULES = IndexRules(min_seconds=2.0, max_seconds=10.0, keep_long=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> KeypointStore:
    return write_keypoint_store(tmp_path_factory.mktemp("stores") / "2d", COUNT, split="test")


def waving(seed: int = 0, *, tells_camera: bool = True) -> Motion:
    """A person who waves for 4 s at 20 fps, with the camera that the model tells."""
    joints3d = synthetic_joints("wave-left-hand", 80, np.random.default_rng(seed))
    told = {CAMERA: camera_metadata(SIZE, 5000.0, (0.0, 1.0, 14.0))} if tells_camera else {}
    return Motion(torch.from_numpy(joints3d).float(), 20.0, provenance=Provenance(more=told))


def seen(motion: Motion) -> torch.Tensor:
    """(L, 17, 3) points of a motion."""
    return convert_joints(motion.joints3d, SMPL22, COCO17)


def test_the_own_camera_looks_along_minus_z() -> None:
    motion = waving()
    pixels, size = OwnCamera()(motion, seen(motion), (640, 480), ItemRandom.from_seed(0))
    assert size == (1280, 720) and pixels.shape == (80, 17, 2)
    points = seen(motion) - torch.tensor([0.0, 1.0, 14.0])
    wanted = 5000.0 * points[..., :2] * torch.tensor([1.0, -1.0]) / -points[..., 2:] + torch.tensor(SIZE) / 2
    assert torch.allclose(pixels, wanted, atol=0.01)
    with pytest.raises(ValueError, match="have no camera"):
        OwnCamera()(waving(tells_camera=False), seen(motion), (640, 480), ItemRandom.from_seed(0))


def test_drawn_cameras_show_the_person_in_an_image_of_the_clip() -> None:
    motion, views = waving(tells_camera=False), DrawnCameras()
    pixels, size = views(motion, seen(motion), (1080, 1920), ItemRandom.from_seed(1))
    assert size == (1080, 1920) and (pixels >= 0).all() and (pixels < torch.tensor(size)).all()
    again, _ = views(motion, seen(motion), size, ItemRandom.from_seed(1))
    other, _ = views(motion, seen(motion), size, ItemRandom.from_seed(2))
    assert torch.equal(again, pixels) and not torch.allclose(other, pixels, atol=5.0)
    front = DrawnCameras(CameraDraws(yaw=(0.0, 0.0)))
    across = seen(motion)[:, COCO17.index("left_hip"), 0] - seen(motion)[:, COCO17.index("right_hip"), 0]
    for seed in range(4):  # along -z, what is at larger x is further right
        pixels, _ = front(motion, seen(motion), size, ItemRandom.from_seed(seed))
        hips = pixels[:, COCO17.indices("left_hip", "right_hip"), 0]
        assert torch.equal((hips[:, 0] - hips[:, 1]).sign(), across.sign())
    far = replace(motion, joints3d=motion.joints3d + torch.linspace(0, 60, 80)[:, None, None])
    assert views(far, seen(far), size, ItemRandom.from_seed(0))[0].isfinite().all()  # no image holds 100 m


@pytest.mark.parametrize("variant", ["coco17_image", "coco17_person"])
def test_generated_motion_is_scored_next_to_real_clips(store: KeypointStore, variant: str) -> None:
    clips = ScoredClips(store, cuts=KeypointCuts(max_rows=120), rules=RULES, repeats=2)

    def load(job: Job) -> Motion:
        return waving(job.item)

    scored = TextToMotionScorer(keypoint_evaluator(variant), KeypointProtocol(), clips).score(load)
    real, made = scored.rows[GROUND_TRUTH], scored.rows[GENERATED]
    names = {"fid", "matching_score", "diversity"}
    names |= {f"r_precision_{ways}top_{k}" for ways in ("", "texts_") for k in (1, 2, 3)}
    assert names == made.keys() and real.keys() == names | {"fid_halves"}
    assert scored.set_size == COUNT and all(value.repeats == 2 for value in made.values())
    assert 0 <= (real["fid"].mean or 0) < (made["fid"].mean or 0)


def test_items_request_the_length_of_their_clips(store: KeypointStore) -> None:
    clips = ScoredClips(store, cuts=KeypointCuts(max_rows=120), rules=RULES)
    for item in range(8):
        excerpt = clips.excerpt(0, item)
        assert excerpt.rows is not None and excerpt.seconds == excerpt.rows[1] / 30
        assert excerpt.rows[1] % 4 == 0 and sum(excerpt.rows) <= len(clips.real(item))


def test_mismatched_stores_evaluators_and_protocols_are_refused(store: KeypointStore) -> None:
    clips = ScoredClips(store, cuts=KeypointCuts(max_rows=120), rules=RULES)
    with pytest.raises(ValueError, match="Protocol 'standard' compares 3D motion"):
        TextToMotionScorer(keypoint_evaluator(), StandardProtocol(), clips)
    rows = ScoredClips(store, cuts=RowCuts(max_rows=120), rules=RULES)
    with pytest.raises(ValueError, match="cuts clips by KeypointCuts"):
        TextToMotionScorer(keypoint_evaluator(), KeypointProtocol(), rows)
