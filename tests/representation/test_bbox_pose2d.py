"""Box-normalised poses with their tokens: there and back, what boxes may be, and missing joints."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import COCO17, SMPL22, Skeleton
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec

SIZE = torch.tensor([1920.0, 1080.0], dtype=torch.float64)
OPTIONS = [(b, s) for b in ("square", "tight") for s in (False, True)]


def track(*shape: int, skeleton: Skeleton = SMPL22, seed: int = 0) -> Tensor:
    """Pixels (..., J, 2): bodies about 400 pixels tall that drift, some of them out of the image."""
    generator = torch.Generator().manual_seed(seed)
    body = torch.randn(*shape, skeleton.num_joints, 2, generator=generator, dtype=torch.float64)
    place = torch.randn(*shape, 1, 2, generator=generator, dtype=torch.float64)
    return body * torch.tensor([60.0, 150.0]) + place * 500 + torch.tensor([960.0, 540.0])


@pytest.mark.parametrize(("box", "smooth"), OPTIONS)
@pytest.mark.parametrize("skeleton", [SMPL22, COCO17], ids=lambda s: s.name)
def test_decoding_inverts_encoding(box: str, smooth: bool, skeleton: Skeleton) -> None:
    codec, pixels = BboxPose2DCodec(skeleton, box=box, smooth=smooth), track(2, 3, 40, skeleton=skeleton)
    sizes = SIZE.repeat(2, 3, 1)
    sizes[:, 1] = SIZE.flip(0)  # a portrait camera among them
    x = codec.encode(pixels, sizes)
    assert x.shape == (2, 3, 40, codec.num_features)
    assert (codec.decode(x, sizes) - pixels).abs().max() < 1e-9


def test_isotropic_coordinates() -> None:
    """A step of a pixel counts the same in both axes, and decoding inverts encoding as ever."""
    codec, plain, pixels = BboxPose2DCodec(SMPL22, isotropic=True), BboxPose2DCodec(SMPL22), track(20)
    x = codec.encode(pixels, SIZE)
    assert (codec.decode(x, SIZE) - pixels).abs().max() < 1e-9
    assert torch.allclose(codec.box_side(x, SIZE), plain.box_side(plain.encode(pixels, SIZE), SIZE))
    assert torch.allclose(codec.offset(x), (pixels[:, 0] - SIZE / 2) / 960)
    assert torch.allclose(codec.scale(x)[:, 0], codec.scale(x)[:, 1])


@pytest.mark.parametrize(("box", "smooth"), OPTIONS)
def test_locals_stay_in_the_box(box: str, smooth: bool) -> None:
    codec = BboxPose2DCodec(SMPL22, box=box, smooth=smooth, margin=1.2)
    x = codec.encode(track(40), SIZE)
    local = codec.local_points(x)
    if not smooth:
        assert local.abs().max() == pytest.approx(1 / 1.2)
    assert local.abs().max() < 1.0
    assert (local[:, 0] == 0).all()  # the root


def test_square_boxes_are_square_and_tight_ones_fit() -> None:
    pixels = track(40)
    square, tight = BboxPose2DCodec(SMPL22), BboxPose2DCodec(SMPL22, box="tight")
    side = square.box_side(square.encode(pixels, SIZE), SIZE)
    assert torch.allclose(side[:, 0], side[:, 1])
    half = (pixels - pixels[:, :1]).abs().amax(1)
    assert torch.allclose(side[:, 0], 2.4 * half.amax(-1))
    assert torch.allclose(tight.box_side(tight.encode(pixels, SIZE), SIZE), 2.4 * half)


def test_a_tight_box_of_a_body_seen_edge_on_keeps_some_width() -> None:
    pixels = track(5)
    pixels[..., 0] = 300.0
    codec = BboxPose2DCodec(SMPL22, box="tight")
    x = codec.encode(pixels, SIZE)
    side = codec.box_side(x, SIZE)
    assert torch.allclose(side[:, 0], 0.15 / 1.2 * side[:, 1])
    assert torch.allclose(codec.decode(x, SIZE), pixels)


def test_a_body_in_one_point_has_a_box_too() -> None:
    pixels = torch.full((4, 22, 2), 123.0, dtype=torch.float64)
    codec = BboxPose2DCodec(SMPL22)
    x = codec.encode(pixels, SIZE)
    assert x.isfinite().all()
    assert torch.allclose(codec.decode(x, SIZE), pixels)


def test_boxes_of_negative_size_are_the_smallest() -> None:
    """A network may predict any scale."""
    codec = BboxPose2DCodec(SMPL22)
    x = torch.ones(1, codec.num_features, dtype=torch.float64)
    x[:, -2:] = -1.5
    assert torch.allclose(codec.box_side(x, SIZE), SIZE * 1e-3)
    assert torch.allclose(codec.decode(x, SIZE), (1 + 1 + 1e-3) / 2 * SIZE)


def test_locals_do_not_depend_on_place_and_size_and_tokens_only_on_them() -> None:
    codec, pixels = BboxPose2DCodec(SMPL22), track(30)
    x, moved = codec.encode(pixels, SIZE), codec.encode(2 * pixels + torch.tensor([70.0, -30.0]), SIZE)
    assert torch.allclose(codec.local_points(x), codec.local_points(moved))
    assert torch.allclose(2 * codec.box_side(x, SIZE), codec.box_side(moved, SIZE))
    root = (codec.offset(moved) + 1) / 2 * SIZE
    assert torch.allclose(root, 2 * pixels[:, 0] + torch.tensor([70.0, -30.0]))


def test_the_image_center_has_no_offset_and_a_box_as_large_as_the_image_scale_one() -> None:
    pixels = torch.zeros(1, 22, 2, dtype=torch.float64) + SIZE / 2
    pixels[0, 5] += torch.tensor([960.0 / 1.2, 0.0])
    x = BboxPose2DCodec(SMPL22).encode(pixels, SIZE)
    assert torch.allclose(x[0, -4:], torch.tensor([0.0, 0.0, 1.0, 2 * 1920 / 1080 - 1]).double())


def test_virtual_root_is_between_the_hips() -> None:
    pixels = track(6, skeleton=COCO17)
    codec = BboxPose2DCodec(COCO17)
    root = (codec.offset(codec.encode(pixels, SIZE)) + 1) / 2 * SIZE
    assert torch.allclose(root, pixels[:, [11, 12]].mean(1))


def test_one_hip_stands_in_with_the_usual_half_width() -> None:
    pixels = track(9, skeleton=COCO17)
    pixels[:, 12] = pixels[:, 11] + torch.tensor([-30.0, 4.0])
    visible = torch.ones(9, 17, dtype=torch.bool)
    visible[2, 11] = visible[5, 12] = False
    seen = pixels.masked_fill(~visible[..., None], torch.nan)
    codec = BboxPose2DCodec(COCO17)
    root = (codec.offset(codec.encode(seen, SIZE, visible)) + 1) / 2 * SIZE
    assert torch.allclose(root, pixels[:, [11, 12]].mean(1))


@pytest.mark.parametrize("skeleton", [SMPL22, COCO17], ids=lambda s: s.name)
def test_a_missing_root_lies_between_its_neighbors_and_its_tokens_are_not_trusted(skeleton: Skeleton) -> None:
    pixels = track(1, skeleton=skeleton).repeat(30, 1, 1) + torch.arange(30)[:, None, None] * 5.0
    visible = torch.ones(30, skeleton.num_joints, dtype=torch.bool)
    visible[10:14, list(skeleton.root_joints)] = False
    codec = BboxPose2DCodec(skeleton)
    x = codec.encode_condition(pixels, SIZE, visible)
    assert x.shape == (30, codec.num_condition_features)
    whole = codec.encode(pixels, SIZE)
    assert torch.allclose(x[:, -2 - skeleton.num_joints - 4 : -2 - skeleton.num_joints - 2], codec.offset(whole))
    lost = torch.zeros(30, dtype=torch.bool)
    lost[10:14] = True
    assert torch.equal(x[:, -2:], (~lost).double()[:, None].expand(-1, 2))


def test_missing_joints_are_zero_and_shape_no_box() -> None:
    pixels, codec = track(8), BboxPose2DCodec(SMPL22)
    visible = torch.ones(8, 22, dtype=torch.bool)
    visible[3, 7] = visible[4:6, 20] = False
    broken = pixels.clone()
    broken[~visible] = torch.nan
    condition = codec.encode_condition(broken, SIZE, visible)
    assert condition.isfinite().all()
    x = condition[:, : codec.num_features]
    local = codec.local_points(x)
    assert (local[~visible] == 0).all()
    decoded = codec.decode(x, SIZE)
    assert torch.allclose(decoded[visible], pixels[visible])
    assert torch.equal(condition[:, codec.num_features : -2] == 1, visible)
    far = broken.nan_to_num(1e6)
    assert torch.equal(codec.encode(far, SIZE, visible), x)


def test_frames_without_a_body_hold_their_neighbors_box() -> None:
    pixels, codec = track(1).repeat(12, 1, 1), BboxPose2DCodec(SMPL22)
    visible = torch.ones(12, 22, dtype=torch.bool)
    visible[4:7] = visible[10:] = False
    x = codec.encode(pixels, SIZE, visible)
    whole = codec.encode(pixels, SIZE)
    assert torch.allclose(x[:, -4:], whole[:, -4:])
    nothing = codec.encode_condition(pixels * torch.nan, SIZE, torch.zeros_like(visible))
    assert nothing.isfinite().all()
    assert (nothing[:, codec.num_features :] == 0).all()


def test_smoothing_calms_the_scale_without_loss() -> None:
    pixels = track(1).repeat(60, 1, 1)
    pixels[30, 20] += 900.0  # one bad joint in one frame
    rough, calm = BboxPose2DCodec(SMPL22), BboxPose2DCodec(SMPL22, smooth=True)
    jump = [(c.scale(c.encode(pixels, SIZE)).diff(dim=0).abs().max()) for c in (rough, calm)]
    assert jump[1] < 0.5 * jump[0]
    assert torch.allclose(calm.decode(calm.encode(pixels, SIZE), SIZE), pixels)


def test_padding_that_is_not_visible_leaves_the_clip_alone() -> None:
    pixels = track(20)
    visible = torch.ones(20, 22, dtype=torch.bool)
    codec = BboxPose2DCodec(SMPL22, smooth=True)
    padded = torch.cat([pixels, torch.zeros(9, 22, 2).double()])
    shown = torch.cat([visible, torch.zeros(9, 22, dtype=torch.bool)])
    assert torch.allclose(codec.encode(padded, SIZE, shown)[:20], codec.encode(pixels, SIZE, visible), atol=1e-12)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="Unknown box 'round'"):
        BboxPose2DCodec(SMPL22, box="round")
    with pytest.raises(ValueError, match="margin is 0"):
        BboxPose2DCodec(SMPL22, margin=0.0)
    with pytest.raises(ValueError, match="Got 17 joints, skeleton 'smpl22' has 22"):
        BboxPose2DCodec(SMPL22).encode(track(3, skeleton=COCO17), SIZE)
