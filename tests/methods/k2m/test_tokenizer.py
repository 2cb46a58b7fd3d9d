"""The tokenizer: windows of long clips, ways to join the adapter's features, the head's first body, saved codebooks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hmr4d.methods.k2m.keypoint_input import normalize
from hmr4d.methods.k2m.smpl_head import SmplHead
from hmr4d.methods.k2m.tokenizer import LONGEST, UNIT, token_windows
from tests.methods.k2m.tiny import OWN_START, tiny_tokenizer, walking_clips


@pytest.mark.parametrize("num_frames", [8, 60, 64, 96, 100, 300])
def test_windows_keep_every_token_once(num_frames: int) -> None:
    windows = token_windows(num_frames, window=60, hop=36)
    kept = [w.start // UNIT + t for w in windows for t in range(w.first, w.last)]
    assert kept == list(range(num_frames // UNIT))
    assert all(w.end - w.start == min(60, num_frames) for w in windows)


def test_tokens_inside_a_long_clip_have_three_tokens_of_context() -> None:
    windows = token_windows(300, window=60, hop=36)
    assert windows[0].first == 0 and windows[-1].last == 15
    assert all(w.first >= 3 for w in windows[1:]) and all(w.last == 12 for w in windows[:-1])


def test_a_long_clip_uses_only_frames_and_lengths_of_the_training() -> None:
    tokenizer = tiny_tokenizer().eval()
    seen: list[tuple[int, int]] = []

    def watch(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.extend((int(offset), args[0].shape[1]) for offset in kwargs["frame_offset"])

    tokenizer.adapter.register_forward_pre_hook(watch, with_kwargs=True)
    clip = walking_clips(1, LONGEST)[0]
    assert tokenizer.tokenize(clip).shape == (LONGEST // UNIT, tokenizer.num_quantizers)
    assert {length for _, length in seen} == {tokenizer.window}
    assert max(offset for offset, _ in seen) + tokenizer.window <= LONGEST


def test_a_long_clip_is_tokenized_a_few_windows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer().eval()
    tokenizer.quantizer.codebooks()[0].codebook.normal_()
    clip = walking_clips(1, LONGEST)[0]
    at_once = tokenizer.tokenize(clip)
    assert len(token_windows(LONGEST, window=tokenizer.window, hop=tokenizer.hop)) > 3
    sizes: list[int] = []
    tokenizer.adapter.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    monkeypatch.setattr("hmr4d.methods.k2m.tokenizer.WINDOWS_AT_ONCE", 3)
    assert torch.equal(tokenizer.tokenize(clip), at_once)
    assert max(sizes) == 3


def test_a_clip_of_one_window_is_tokenized_as_it_is() -> None:
    tokenizer = tiny_tokenizer().eval()
    tokenizer.quantizer.codebooks()[0].codebook.normal_()
    clip = walking_clips(1)
    direct = tokenizer.quantizer(tokenizer.encode(clip)).indices[0]
    assert torch.equal(tokenizer.tokenize(clip[0]), direct)


@pytest.mark.parametrize("fuse", ["flatten_linear", "mean", "head", "single_token"])
@pytest.mark.parametrize("rotation", ["axis_angle", "root_6d", "6d"])
def test_all_options_give_a_body(fuse: str, rotation: str) -> None:
    tokenizer = tiny_tokenizer(fuse=fuse, rotation=rotation).eval()
    body, quantized = tokenizer(walking_clips(2, 8))
    assert body.packed().shape == (2, 8, 85)
    assert quantized.indices.shape == (2, 2, tokenizer.num_quantizers)
    identity = body.rotations @ body.rotations.mT
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-4)


@pytest.mark.parametrize("rotation", ["axis_angle", "root_6d", "6d"])
def test_the_first_body_stands_upright_and_faces_the_camera(rotation: str) -> None:
    head = SmplHead(rotation)  # type: ignore[arg-type]
    body = head(torch.zeros(1, 1, head.dim), torch.tensor([[1280.0, 720.0]]))
    assert torch.allclose(body.rotations[0, 0, 0], torch.diag(torch.tensor([1.0, -1.0, -1.0])), atol=1e-6)
    assert math.isclose(float(body.pose[0, 0, 0].abs()), math.pi, abs_tol=1e-5)
    assert math.isclose(float(body.translation[0, 0, 2]), 5000 * 1.7 / (0.4 * 1280), rel_tol=1e-6)


def test_missing_keypoints_and_nan_are_read_as_zero() -> None:
    clip = walking_clips(1, 4)
    clip[0, 1, 3, 0], clip[0, 2, 4, 2] = torch.nan, 0.01
    x = normalize(clip)
    assert x.isfinite().all() and (x[0, 1, 3] == 0).all() and (x[0, 2, 4] == 0).all()
    assert torch.allclose(x[0, 0, -1], torch.tensor([1.28, 0.72, 1.0]))


def test_padded_frames_do_not_change_the_others() -> None:
    tokenizer = tiny_tokenizer().eval()
    clip = walking_clips(1, 24)
    valid = torch.arange(24)[None] < 16
    other = clip.clone()
    other[:, 16:, :-1] = 700.0
    first, second = (tokenizer.encode(x, valid=valid)[..., :4] for x in (clip, other))
    assert torch.allclose(first, second, atol=1e-6)


def test_codebooks_survive_saving_and_continue_as_before() -> None:
    clip = walking_clips(8)

    def step(tokenizer: Any) -> Tensor:
        tokenizer(clip, generator=torch.Generator().manual_seed(3))
        return tokenizer.quantizer.codebooks()[0].codebook.clone()

    tokenizer = tiny_tokenizer(temperature=0.5).train()
    step(tokenizer)
    resumed = tiny_tokenizer(temperature=0.5).train()
    resumed.load_state_dict(tokenizer.state_dict())
    assert torch.equal(step(tokenizer), step(resumed))


def test_wrong_keypoints_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"expected \(B, F, 18, 3\)"):
        tiny_tokenizer().encode(torch.zeros(1, 8, 17, 3))
    with pytest.raises(ValueError, match="image size is not positive"):
        tiny_tokenizer().encode(torch.zeros(1, 8, 18, 3))


def test_a_person_reads_the_same_wherever_they_are_in_the_image() -> None:
    clip = walking_clips(2, 12)
    moved = clip.clone()
    moved[:, :, :-1, :2] = 0.5 * clip[:, :, :-1, :2] + torch.tensor([300.0, 20.0])
    moved[:, :, -1, :2] = torch.tensor([1920.0, 1080.0])
    assert torch.allclose(normalize(clip, "person"), normalize(moved, "person"), atol=1e-4)


def test_a_person_who_walks_across_the_image_has_a_velocity() -> None:
    clip = walking_clips(1, 12)
    before = normalize(clip, "person")
    height = float((clip[..., :-1, 1].amax(-1) - clip[..., :-1, 1].amin(-1)).median())
    clip[:, :, :-1, 0] += 0.05 * height * torch.arange(12)[:, None]
    after = normalize(clip, "person")
    assert torch.allclose(after[:, :, -1, 0] - before[:, :, -1, 0], torch.ones(1, 12), atol=0.1)
    assert torch.allclose(after[:, :, :-1], before[:, :, :-1], atol=1e-4)


def test_a_person_who_comes_nearer_has_the_same_keypoints_and_grows() -> None:
    clip = walking_clips(2, 12)
    clip[:, 3, :-1] = 0.0  # nobody is seen
    before = normalize(clip, "person")
    log_size = 0.02 * torch.arange(12.0)
    seen = clip[:, :, :-1, 2:] > 0
    clip[:, :, :-1, :2] = torch.where(seen, clip[:, :, :-1, :2] * log_size.exp()[:, None, None] + 40.0, 0.0)
    after = normalize(clip, "person")
    assert torch.allclose(after[:, :, :-1], before[:, :, :-1], atol=1e-3)
    grown = (after[:, :, -1, 2] - before[:, :, -1, 2])[:, [0, 11]].diff(dim=1)
    assert torch.allclose(grown, torch.full((2, 1), 0.02 * 11 / 0.2), atol=1e-3)


def test_frames_without_a_person_read_as_standing_still() -> None:
    clip = walking_clips(1, 8)
    clip[0, 3:5, :-1] = 0.0
    empty = clip.clone()
    empty[:, :, :-1] = 0.0
    x = normalize(clip, "person")
    assert x.isfinite().all() and (x[0, 3:5, :-1] == 0).all() and x[0, :, -1].abs().max() < 1
    assert (normalize(empty, "person") == 0).all()


def test_differences_between_frames_keep_their_scale_in_the_latent() -> None:
    clips = walking_clips(8, 24, turned=True)

    def varying(start: str) -> float:
        latent = tiny_tokenizer(**OWN_START | {"start": start}, width=64, conv_depth=2).encode(clips)
        return float((latent - latent.mean((0, 2), keepdim=True)).detach().std())

    assert varying("same_scale") > 0.5 > 10 * varying("published")


def test_codes_are_initialized_after_training_of_the_latent() -> None:
    tokenizer = tiny_tokenizer(quantize_after=2).train()
    found = [tokenizer(walking_clips(2), generator=torch.Generator())[1].indices for _ in range(3)]
    assert (found[0] == -1).all() and (found[1] == -1).all() and (found[2] >= 0).any()
    assert bool(tokenizer.quantizer.codebooks()[0].initialized) and int(tokenizer.state_dict()["steps_done"]) == 3
