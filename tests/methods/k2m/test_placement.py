"""Where the camera stood: solved from keypoints, for whole clips and around each frame."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.keypoint_body import load_keypoint_body
from hmr4d.methods.k2m.lifting import lift_clip
from hmr4d.methods.k2m.losses import Observed
from hmr4d.methods.k2m.placement import solved_shift
from hmr4d.methods.k2m.projection import project
from tests.methods.k2m.tiny import OWN_START, tiny_tokenizer, walking_clips

SIZE = torch.tensor([[1280.0, 720.0]])
PLACE = torch.tensor([0.6, -0.3, 17.0])


def flat_bodies() -> Tensor:
    """(1, 40, 17, 3) meters, around the origin; flat, so that depth and size are one."""
    points = 0.5 * torch.randn(1, 1, 17, 3, generator=torch.Generator().manual_seed(0)).repeat(1, 40, 1, 1)
    return points * torch.tensor([1.0, 1.0, 0.0])


def seen_at(points: Tensor) -> Observed:
    pixels, _ = project(points, SIZE)
    return Observed(pixels, torch.ones(pixels.shape[:3]), torch.ones(pixels.shape[:2], dtype=torch.bool))


def test_a_body_is_moved_to_its_keypoints() -> None:
    points = flat_bodies()
    shift = solved_shift(points, seen_at(points + PLACE), SIZE, min_conf=0.8)
    assert torch.allclose(shift, PLACE.expand(1, 1, 3), atol=2e-2)


def test_keypoints_of_low_confidence_do_not_move_the_body() -> None:
    points, frames = flat_bodies(), torch.arange(40)
    observed = seen_at(points + PLACE)
    observed.pixels[:, 5:9, 2] += 300.0
    observed.conf[:, 5:9, 2] = 0.3
    observed.pixels[:, 30:] = torch.nan
    padded = Observed(observed.pixels, observed.conf, (frames < 30)[None])
    assert torch.allclose(solved_shift(points, padded, SIZE, min_conf=0.8), PLACE.expand(1, 1, 3), atol=2e-2)
    unseen = Observed(observed.pixels, 0 * observed.conf, observed.frames)
    assert (solved_shift(points, unseen, SIZE, min_conf=0.8) == 0).all()


def test_a_window_removes_drift() -> None:
    points = flat_bodies()
    drift = torch.zeros(1, 40, 1, 3)
    drift[..., 0] = 0.02 * torch.arange(40)[:, None]
    observed = seen_at(points + PLACE + drift)
    inside = solved_shift(points, observed, SIZE, min_conf=0.8, window=9)[:, 4:-4]
    assert torch.allclose(inside, (PLACE + drift[:, :, 0])[:, 4:-4], atol=2e-2)


def test_frames_without_observation_are_interpolated() -> None:
    points = flat_bodies()
    drift = torch.zeros(1, 40, 1, 3)
    drift[..., 0] = 0.05 * torch.arange(40)[:, None]
    observed = seen_at(points + PLACE + drift)
    observed.conf[:, :3], observed.conf[:, 12:28], observed.conf[:, 36:] = 0.0, 0.0, 0.0
    shift = solved_shift(points, observed, SIZE, min_conf=0.8, window=3)
    wanted = (PLACE + drift[:, :, 0]).clamp(
        min=torch.tensor([0.6 + 3 * 0.05, -9, 0]), max=torch.tensor([0.6 + 35 * 0.05, 9, 99])
    )
    assert torch.allclose(shift, wanted, atol=0.05), "no jump to where the body was drawn"


def test_a_path_that_is_lifted_lies_on_the_keypoints() -> None:
    model, clip = load_keypoint_body("anny"), walking_clips(1, 62)[0]
    clip[:, :-1, 0] += 4.0 * torch.arange(62)[:, None]
    tokenizer = tiny_tokenizer(**OWN_START).eval()
    body = lift_clip(tokenizer, clip, model, min_conf=0.8)
    assert body.translation.shape == (62, 3)
    points = model(body.betas, body.rotations, body.translation)[1]
    pixels, _ = project(points[None], SIZE)
    off = (pixels[0].mean(1) - clip[:, :-1, :2].mean(1)).norm(dim=-1)
    assert off[7:-7].max() < 10  # of the 250 pixels that the clip moves by; the weights have not learned anything
