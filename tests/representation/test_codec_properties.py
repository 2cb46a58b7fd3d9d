"""Decoding gives back what was encoded, for every codec and any motion."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hmr4d.body.skeleton import COCO17, OPENPOSE18, SMPL22, Skeleton
from hmr4d.representation.bbox import BOX_UNIT, bbox, normalize_points
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.hml263 import NUM_FEATURES, load_statistics
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.representation.motion2d import STATISTICS_FOLDER, Motion2DCodec, Statistics
from hmr4d.representation.root_velocity import body_height, from_root_velocity, normalize_height, to_root_velocity
from hmr4d.representation.world_joints import WorldJointsCodec
from tests.strategies import seeds, tensors

STATISTICS = sorted(path.stem for path in STATISTICS_FOLDER.glob("*.npz"))
OF_MOTION2D = [name for name in STATISTICS if Statistics.load(name).representation == "motion2d"]
OF_HML263 = [name for name in STATISTICS if Statistics.load(name).representation == "hml263"]
SKELETONS = st.sampled_from([SMPL22, COCO17, OPENPOSE18])
SIZES = st.tuples(st.integers(64, 4096), st.integers(64, 4096)).map(lambda s: torch.tensor(s, dtype=torch.float64))
FRAMES = st.integers(1, 8)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def tracks(draw: st.DrawFn, skeleton: Skeleton) -> Tensor:
    """(L, J, 2) pixels of a body of any size anywhere, also beyond the image; edge-on or a single point in some."""
    shape = draw(FRAMES), skeleton.num_joints, 2
    extent = torch.tensor(draw(st.tuples(*[st.sampled_from([0.0, 0.5, 30.0, 900.0])] * 2)), dtype=torch.float64)
    return normal(draw(seeds()), *shape) * extent + draw(tensors(2, low=-3000, high=6000))


@given(st.data(), SKELETONS, SIZES, st.sampled_from(["square", "tight"]), st.booleans(), st.booleans())
def test_view_tokens(
    data: st.DataObject, skeleton: Skeleton, size: Tensor, box: str, smooth: bool, isotropic: bool
) -> None:
    pixels = data.draw(tracks(skeleton))
    codec = BboxPose2DCodec(skeleton, box=box, smooth=smooth, isotropic=isotropic)
    x = codec.encode(pixels, size)
    assert x.shape == (len(pixels), codec.num_features) and x.isfinite().all()
    torch.testing.assert_close(codec.decode(x, size), pixels, atol=1e-8, rtol=1e-12)
    seen = torch.ones(pixels.shape[:-1], dtype=torch.bool)
    torch.testing.assert_close(codec.encode(pixels, size, seen), x, atol=1e-9, rtol=1e-9)
    condition = codec.encode_condition(pixels, size, seen)
    assert condition.shape[-1] == codec.num_condition_features
    assert (condition[..., : skeleton.num_joints * 2].abs() <= 1 / codec.margin + 1e-9).all() or smooth


@given(st.data(), SKELETONS, SIZES, seeds(), st.floats(0.0, 1.0))
def test_view_tokens_of_missing_joints(
    data: st.DataObject, skeleton: Skeleton, size: Tensor, seed: int, missing: float
) -> None:
    """Whatever is missing, features are finite, do not depend on it, and give the joints that were seen back."""
    pixels = data.draw(tracks(skeleton))
    seen = torch.rand(pixels.shape[:-1], generator=torch.Generator().manual_seed(seed)) >= missing
    codec = BboxPose2DCodec(skeleton)
    x = codec.encode(torch.where(seen[..., None], pixels, torch.nan), size, seen)
    assert x.isfinite().all()
    assert torch.equal(x, codec.encode(torch.where(seen[..., None], pixels, 1e4), size, seen))
    back = codec.decode(x, size)
    torch.testing.assert_close(back[seen], pixels[seen], atol=1e-8, rtol=1e-12)


@given(st.data(), SKELETONS, SIZES)
def test_view_points(data: st.DataObject, skeleton: Skeleton, size: Tensor) -> None:
    pixels, codec = data.draw(tracks(skeleton)), ImagePose2DCodec(skeleton)
    x = codec.encode(pixels, size)
    assert x.shape == (len(pixels), codec.num_features)
    torch.testing.assert_close(codec.decode(x, size), pixels, atol=1e-8, rtol=1e-12)


@given(seeds(), FRAMES, SKELETONS, tensors(3, low=-50, high=50))
def test_world_joints(seed: int, num_frames: int, skeleton: Skeleton, place: Tensor) -> None:
    joints3d, codec = normal(seed, num_frames, skeleton.num_joints, 3) + place, WorldJointsCodec(skeleton)
    x = codec.encode(joints3d)
    assert x.shape == (num_frames, codec.num_features)
    torch.testing.assert_close(codec.decode(x), joints3d, atol=1e-10, rtol=0.0)


@given(seeds(), FRAMES, st.sampled_from(OF_MOTION2D))
def test_motion2d(seed: int, num_frames: int, name: str) -> None:
    codec = Motion2DCodec(name).double()
    points = 3 * normal(seed, num_frames, codec.num_features // 2, 2)
    torch.testing.assert_close(codec.decode(codec.encode(points)), points, atol=1e-9, rtol=0.0)
    x = normal(seed, num_frames, codec.num_features)
    torch.testing.assert_close(codec.encode(codec.decode(x)), x, atol=1e-9, rtol=0.0)
    with_root = codec.decode_with_root(x)
    torch.testing.assert_close(codec.encode_with_root(with_root), x, atol=1e-9, rtol=0.0)


@given(seeds(), FRAMES, st.sampled_from(OF_HML263))
def test_hml263_statistics(seed: int, num_frames: int, name: str) -> None:
    statistics, features = load_statistics(name), normal(seed, num_frames, NUM_FEATURES)
    inverse = statistics.normalize(features) * torch.from_numpy(statistics.std) + torch.from_numpy(statistics.mean)
    torch.testing.assert_close(inverse, features, atol=1e-9, rtol=0.0)


@given(seeds(), st.integers(1, 40), tensors(3, low=-50, high=50))
def test_next_root(seed: int, num_frames: int, place: Tensor) -> None:
    """The trajectory comes back, but for the place of its first frame, which is the origin."""
    joints3d = normal(seed, num_frames, 22, 3) + place
    local = to_root_velocity(joints3d)
    assert local.shape == (num_frames, 23, 3) and not local[:, 0].any() and not local[-1, -1].any()
    torch.testing.assert_close(from_root_velocity(local), joints3d - joints3d[:1, :1], atol=1e-10, rtol=0.0)


@given(seeds(), FRAMES, st.booleans())
def test_normalized_height(seed: int, num_frames: int, per_frame: bool) -> None:
    local = to_root_velocity(normal(seed, num_frames, 22, 3))[None]
    heights = body_height(normalize_height(local, height=1.7, per_frame=per_frame))
    expected = torch.full((), 1.7, dtype=torch.float64)
    torch.testing.assert_close(
        heights[0] if per_frame else heights.mean(),
        expected.expand_as(heights[0]) if per_frame else expected,
        atol=1e-6,
        rtol=0.0,
    )


@given(st.data(), st.booleans())
def test_root_box(data: st.DataObject, per_frame: bool) -> None:
    pixels = data.draw(tracks(SMPL22).filter(lambda p: float((p - p[:, :1]).abs().amax((1, 2)).min()) > 1e-3))
    box = bbox(pixels, per_frame=per_frame)
    points = normalize_points(pixels, box)
    assert (points.abs() <= 1 / 1.2 + 1e-6).all()
    inverse = points * BOX_UNIT * box[..., None, 2:] / 2 + box[..., None, :2]
    torch.testing.assert_close(inverse, pixels, atol=1e-8, rtol=1e-12)
