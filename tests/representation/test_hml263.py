"""The 263 features: what they mean, what they do not depend on, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.canonical import align_to_floor, face_first_frame, mirror
from hmr4d.motion.procedural import CONTENTS, synthetic_joints
from hmr4d.representation.hml263 import CHUNK, NUM_FEATURES, SLICES, VARIANTS, Hml263Codec
from hmr4d.representation.hml263_kinematics import published_target_offsets, skeleton_offsets

LENGTHS = (40, 25, 60, 2, 33)
BOTH = pytest.mark.parametrize("variant", VARIANTS)


def motions(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[Tensor]:
    """Walks, turns, waves, each (L, 22, 3); limbs not quite along the axes of the rest pose."""
    rng = np.random.default_rng(seed)
    clips = [synthetic_joints(CONTENTS[(3 + i) % len(CONTENTS)], n, rng) for i, n in enumerate(lengths)]
    return [torch.from_numpy(clip + rng.normal(0, 0.004, clip.shape).astype(np.float32)) for clip in clips]


def padded(clips: list[Tensor], filling: float = 0.0) -> tuple[Tensor, Tensor]:
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=filling)
    return batch, torch.tensor([len(clip) for clip in clips])


def yaw(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def on_target_skeleton(joints3d: Tensor, offsets: Tensor | None = None) -> Tensor:
    """The motion (L, 22, 3) with every bone stretched to the length in offsets, by default the published one."""
    lengths = (published_target_offsets() if offsets is None else offsets).norm(dim=-1)
    joints = [joints3d[:, 0]]
    for parent, child in SMPL22.bones:
        bone = joints3d[:, child] - joints3d[:, parent]
        joints.append(joints[parent] + bone / bone.norm(dim=-1, keepdim=True) * lengths[child])
    return torch.stack(joints, 1)


def standing_still(num_frames: int) -> Tensor:
    """(L, 22, 3): one pose that faces +z."""
    pose = synthetic_joints("walk", 1, np.random.default_rng(3))
    return face_first_frame(torch.from_numpy(pose)).expand(num_frames, -1, -1)


def test_slices_cover_the_row_in_order() -> None:
    ends = [0, *(part.stop for part in SLICES.values())]
    assert [part.start for part in SLICES.values()] == ends[:-1] and ends[-1] == NUM_FEATURES


@BOTH
def test_decoding_gives_the_motion_back(variant: str) -> None:
    codec = Hml263Codec(variant)
    for clip in map(on_target_skeleton, motions()):
        features = codec.encode(clip)
        assert features.shape == (len(clip) - 1, NUM_FEATURES) and features.dtype == torch.float32
        expected = align_to_floor(face_first_frame(clip))[:-1]
        # By the first row the yaw of frame 0 is off in the published variant, and the path with it, yet not the poses.
        assert torch.allclose(codec.decode(features), expected, atol=2e-5)
        assert torch.allclose(codec.decode_rotations(features), expected, atol=1e-4)


def test_a_body_of_another_size_moves_to_the_target_skeleton() -> None:
    clip = on_target_skeleton(motions()[0])
    features = Hml263Codec().encode(clip)
    assert torch.allclose(Hml263Codec().encode(1.4 * clip), features, atol=1e-4)
    stretched = clip.clone()
    hand, elbow = SMPL22.indices("left_wrist", "left_elbow")
    stretched[:, hand] += 0.5 * (clip[:, hand] - clip[:, elbow])
    assert torch.allclose(Hml263Codec().encode(stretched), features, atol=1e-4)


def test_another_target_skeleton() -> None:
    clip = motions()[0]
    own = Hml263Codec(target_offsets=skeleton_offsets(clip[0]))
    decoded = own.decode(own.encode(clip))
    lengths = skeleton_offsets(clip[0]).norm(dim=-1)
    assert torch.allclose(skeleton_offsets(decoded).norm(dim=-1), lengths.expand(len(decoded), -1), atol=1e-5)


@BOTH
@pytest.mark.parametrize("angle", [0.8, math.pi, -2.0])
def test_place_and_heading_of_the_clip_do_not_matter(variant: str, angle: float) -> None:
    codec = Hml263Codec(variant)
    for clip in motions():
        moved = clip @ yaw(angle).mT + torch.tensor([3.0, 0.7, -2.0])
        assert torch.allclose(codec.encode(moved), codec.encode(clip), atol=2e-4)


@BOTH
def test_a_motion_does_not_depend_on_its_batch(variant: str) -> None:
    codec = Hml263Codec(variant)
    clips = motions() * (CHUNK // len(LENGTHS) + 1)  # more than are encoded at once
    batch, lengths = padded(clips, float("nan"))
    together = codec.encode(batch, lengths)
    assert together.shape == (len(clips), batch.shape[1] - 1, NUM_FEATURES)
    for clip, rows in zip(clips, together, strict=True):
        assert torch.allclose(rows[: len(clip) - 1], codec.encode(clip), atol=1e-6)
        assert (rows[len(clip) - 1 :] == 0).all()
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(codec.encode(batch[order], lengths[order].tolist()), together[order], atol=1e-6)
    assert torch.allclose(codec.decode(together)[3, :1], codec.decode(together[3, :1]), atol=1e-6)


@BOTH
def test_float64_and_float32_agree(variant: str) -> None:
    clip = motions()[2]
    codec = Hml263Codec(variant)
    assert torch.allclose(codec.encode(clip.double()), codec.encode(clip), atol=2e-5)
    features = codec.encode(clip)
    assert codec.decode(features.double()).dtype == codec.decode_rotations(features.double()).dtype == torch.float64


@BOTH
def test_gradients_are_finite_and_nothing_is_written_to(variant: str) -> None:
    codec = Hml263Codec(variant)
    batch, lengths = padded(motions())
    batch.requires_grad_()
    kept = batch.detach().clone()
    features = codec.encode(batch, lengths)
    (codec.decode(features).square().sum() + codec.decode_rotations(features[0]).square().sum()).backward()
    assert batch.grad is not None and batch.grad.isfinite().all() and torch.equal(batch.detach(), kept)
    beyond = torch.arange(batch.shape[1]) >= lengths[:, None]
    assert (batch.grad[beyond] == 0).all() and batch.grad[:, 0].abs().sum() > 0


def test_walking_straight_ahead_in_closed_form() -> None:
    speed = 0.06  # meters per frame
    clip = on_target_skeleton(standing_still(30)).clone()
    clip[..., 2] += speed * torch.arange(30)[:, None]
    features = Hml263Codec("corrected_hips").encode(clip)
    assert torch.allclose(features[:, SLICES["root_yaw"]], torch.zeros(29, 1), atol=1e-5)
    assert torch.allclose(features[:, SLICES["root_velocity"]], torch.tensor([0.0, speed]).expand(29, 2), atol=1e-5)
    velocities = features[:, SLICES["velocities"]].unflatten(-1, (22, 3))
    assert torch.allclose(velocities, torch.tensor([0.0, 0.0, speed]).expand(29, 22, 3), atol=1e-5)
    assert (features[:, SLICES["contacts"]] == 0).all(), "feet that glide at 1.2 m/s do not stand"


def test_standing_has_contacts_and_height() -> None:
    clip = align_to_floor(on_target_skeleton(standing_still(5)))
    features = Hml263Codec().encode(clip)
    assert (features[:, SLICES["contacts"]] == 1).all()
    assert torch.allclose(features[:, 3], clip[:-1, 0, 1], atol=1e-5)


@pytest.mark.parametrize("turn_per_frame", [0.02, -0.02])
def test_turning_on_the_spot_stores_half_the_yaw(turn_per_frame: float) -> None:
    pose = standing_still(1)[0]
    # Under half a turn in all, as the published yaw jumps where the heading crosses -z.
    clip = torch.stack([pose @ yaw(turn_per_frame * (i - 75)).mT for i in range(151)])
    features = Hml263Codec("corrected_hips").encode(clip)
    middle = features[75, 0]  # where as many frames of smoothing lie on either side
    smoothing = 0.85  # beyond both ends the smoothed heading stands still, which slows it down
    assert -1.0 <= float(middle) / (turn_per_frame / 2) <= -smoothing


def test_the_published_variant_counts_the_hips_backwards() -> None:
    pose = standing_still(1)[0].clone()
    hips = list(SMPL22.indices("left_hip", "right_hip"))
    pose[hips] = (pose[hips] - pose[0]) @ yaw(0.5).mT + pose[0]  # twisted against the shoulders
    clip = pose.expand(6, -1, -1)
    corrected, published = (Hml263Codec(variant).encode(clip)[:, 0] for variant in ("corrected_hips", "humanml3d"))
    assert corrected.abs().max() < 1e-5, "frame 0 faces +z and so does all the rest"
    assert published[0].abs() > 0.05 and published[1:].abs().max() < 1e-5


def test_on_a_symmetric_skeleton_mirrored_motion_has_mirrored_features() -> None:
    offsets = published_target_offsets()
    codec = Hml263Codec(target_offsets=(offsets + mirror(offsets)) / 2)
    clip = on_target_skeleton(motions()[2], codec.target_offsets)
    features, mirrored = (codec.encode(joints) for joints in (clip, mirror(clip)))
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0])  # yaw, x, z, height
    assert torch.allclose(mirrored[:, :4], features[:, :4] * signs, atol=1e-5)
    assert torch.allclose(codec.decode(mirrored), mirror(codec.decode(features)), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "lengths", "words"),
    [
        ((5, 24, 3), None, "shape (1, 5, 24, 3)"),
        ((5, 22, 2), None, "of skeleton smpl22"),
        ((22, 3), None, "need (B, L, 22, 3)"),
        ((1, 22, 3), None, "fewer than 2 frames"),
        ((2, 5, 22, 3), [5, 1], "number 1) have fewer than 2 frames"),
        ((2, 5, 22, 3), [5, 6], "none longer than the tensor"),
        ((2, 5, 22, 3), [5], "one length a motion"),
    ],
)
def test_wrong_shapes_are_refused(shape: tuple[int, ...], lengths: list[int] | None, words: str) -> None:
    with pytest.raises(ValueError) as error:
        Hml263Codec().encode(torch.zeros(shape), lengths)
    assert words in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_positions_that_are_no_numbers_are_refused(value: float) -> None:
    batch, lengths = padded(motions() * 8)
    batch[CHUNK + 1, 1, 4, 0] = value
    with pytest.raises(ValueError, match=rf"1 of the motions \(number {CHUNK + 1}\) contain NaN or infinite positions"):
        Hml263Codec().encode(batch, lengths)


def test_degenerate_motions_are_refused_or_marked() -> None:
    batch = torch.stack(motions((20, 20, 20, 20)))
    elbow, wrist = SMPL22.indices("left_elbow", "left_wrist")
    batch[1, 4, wrist] = batch[1, 4, elbow]  # no length
    batch[3, 7, wrist] = batch[3, 7, elbow] + torch.tensor([0.0, 0.25, 0.0])  # straight up, against the rest pose
    with pytest.raises(ValueError, match=r"2 of the motions \(number 1, 3\) have no features: a bone"):
        Hml263Codec().encode(batch)
    features = Hml263Codec().encode(batch, degenerate="nan")
    assert features.isnan().flatten(1).any(1).tolist() == [False, True, False, True]
    assert torch.allclose(features[::2], Hml263Codec().encode(batch[::2]), atol=1e-6)
    assert Hml263Codec("corrected_hips").encode(batch).isfinite().all(), "which has an answer for such bones"


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown variant 'kit'"):
        Hml263Codec("kit")
    for offsets in (torch.zeros(21, 3), published_target_offsets() + 0.1):
        with pytest.raises(ValueError, match="along its joint's rest direction"):
            Hml263Codec(target_offsets=offsets)
    for decode in (Hml263Codec().decode, Hml263Codec().decode_rotations):
        with pytest.raises(ValueError, match="Features have 262 numbers a row, expected 263"):
            decode(torch.zeros(4, 262))


def test_arrays_are_taken_as_they_come() -> None:
    clip = motions()[0]
    stored = clip.numpy().copy()
    stored.setflags(write=False)
    assert torch.equal(Hml263Codec().encode(stored), Hml263Codec().encode(clip))
    with pytest.raises(ValueError, match="whole numbers"):
        Hml263Codec().encode(clip[None], torch.tensor([20.0]))
