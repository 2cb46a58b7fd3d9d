"""Where observed feet say that a person is, in the world and in every view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import COCO17, H36M17, HALPE26, OPENPOSE25, SMPL22, SMPL24, Skeleton
from hmr4d.geometry.rigs import Rig, camera_condition, first_camera, project
from hmr4d.methods.mocap2to3.foot_contact_conditioning import (
    IMAGE_LIMIT,
    VIEW_CHANNELS,
    WORLD_CHANNELS,
    FootContactConditioning,
    contacts_in_views,
    contacts_in_world,
    count_contact_features,
    foot_contact_conditioning,
)
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.motion.ground_contact import rest_heights
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.representation.world_joints import PLACE_UNIT, WorldJointsCodec
from tests.methods.mocap2to3.tiny import CAM_DIM, people, ring, tiny_batch, tiny_denoiser, tiny_pipeline

RANGE = 30.0
FEET = list(SMPL22.contact_joints)
CODEC, WORLD_CODEC = BboxPose2DCodec(SMPL22), WorldJointsCodec(SMPL22)
VIEW_CONTACTS, WORLD_CONTACTS = count_contact_features(CODEC, None), count_contact_features(CODEC, WORLD_CODEC)


def one_rig() -> Rig:
    """`ring` as a batch of one."""
    rig = ring()
    return Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])


def standing(skeleton: Skeleton = SMPL22) -> Tensor:
    """(1, 3, J, 3) joints within half a meter, feet at rest on the floor and the root over the middle of them."""
    generator = torch.Generator().manual_seed(0)
    joints3d = torch.rand(1, 3, skeleton.num_joints, 3, generator=generator) * 0.3 + torch.tensor([0.0, 0.5, -4.0])
    feet = list(skeleton.contact_joints)
    joints3d[..., feet, 1] = rest_heights(skeleton)[feet]
    roots = list(skeleton.root_joints)
    middle = joints3d[..., feet, :].mean(-2, keepdim=True) * torch.tensor([1.0, 0.0, 1.0])
    joints3d[..., roots, :] = middle + torch.tensor([0.0, 0.9, 0.0])
    return joints3d


def contacts_of(joints3d: Tensor, rig: Rig, skeleton: Skeleton = SMPL22) -> FootContactConditioning:
    pixels = project(rig, joints3d)[0][:, 0]
    return foot_contact_conditioning(pixels, torch.ones_like(pixels[..., 0], dtype=torch.bool), rig, skeleton, RANGE)


@pytest.mark.parametrize("skeleton", [SMPL22, SMPL24, COCO17, H36M17, OPENPOSE25, HALPE26])
def test_conditioning_of_a_standing_person_is_the_feet_in_all_views(skeleton: Skeleton) -> None:
    joints3d, rig = standing(skeleton), one_rig()
    contacts = contacts_of(joints3d, rig, skeleton)
    feet = joints3d[..., list(skeleton.contact_joints), :]
    where = torch.cat([feet, joints3d[..., list(skeleton.root_joints), :].mean(-2, keepdim=True)], -2)
    assert contacts.valid.all() and (contacts.points - where).norm(dim=-1).max() < 1e-3
    told, _ = in_views(contacts, rig, skeleton)
    for channels, level in ((told[..., :2], where), (told[..., 2:4], where + torch.tensor([0.0, 1.0, 0.0]))):
        pixels = (channels + 1) * rig.size[:, :, None, None] / 2
        assert (pixels - project(rig, level)[0]).abs().max() < 0.5  # a millimeter is a quarter of a pixel here
    assert (told[..., 4] == 1).all()
    world = contacts_in_world(contacts, WorldJointsCodec(skeleton))[:, 0, :, : WORLD_CHANNELS * where.shape[-2]]
    assert torch.allclose(world.unflatten(-1, where.shape[-2:-1] + (4,))[..., :3] * PLACE_UNIT, where, atol=1e-3)


def in_views(contacts: FootContactConditioning, rig: Rig, skeleton: Skeleton = SMPL22) -> tuple[Tensor, Tensor]:
    """Points (B, V, L, H, 5) and figure (B, V, L, D) as views are told of them."""
    told, points = contacts_in_views(contacts, rig, BboxPose2DCodec(skeleton)), contacts.valid.shape[-1]
    split = VIEW_CHANNELS * points
    return told[..., :split].unflatten(-1, (points, VIEW_CHANNELS)), told[..., split:]


@pytest.mark.parametrize("skeleton", [SMPL22, COCO17])
def test_a_flat_figure_is_reproduced_exactly(skeleton: Skeleton) -> None:
    """Who stands across V0's axis with all joints in a vertical plane is the cut-out figure."""
    joints3d, rig = standing(skeleton), one_rig()
    joints3d[..., 0] -= joints3d[..., list(skeleton.contact_joints), 0].mean(-1, keepdim=True)
    joints3d[..., 2] = -4.0
    contacts = contacts_of(joints3d, rig, skeleton)
    assert contacts.known.all() and (contacts.figure - joints3d).norm(dim=-1).max() < 1e-3
    codec = BboxPose2DCodec(skeleton)
    expected = codec.encode(project(rig, joints3d)[0], rig.size)
    assert (in_views(contacts, rig, skeleton)[1] - expected).abs().max() < 0.02  # body is edge-on in two views
    world = WorldJointsCodec(skeleton)
    assert torch.allclose(
        contacts_in_world(contacts, world)[:, 0, :, -world.num_features :], world.encode(joints3d), atol=2e-3
    )
    plain = ImagePose2DCodec(skeleton)
    points = contacts_in_views(contacts, rig, plain)[..., -plain.num_features :]
    assert torch.allclose(points, plain.encode(project(rig, joints3d)[0], rig.size), atol=5e-3)


@pytest.mark.parametrize("content", ["walk", "bow"])
def test_the_figure_projects_to_the_observation_in_the_first_view(content: str) -> None:
    """Whatever the pose: every joint of the figure lies on the ray of V0 that it was seen on."""
    joints3d, rig = people(1, 5, content=content), one_rig()
    contacts = contacts_of(joints3d, rig)
    pixels = project(rig, joints3d)[0][:, 0]
    assert (project(rig, contacts.figure)[0][:, 0] - pixels).abs().max() < 0.05
    assert torch.allclose(in_views(contacts, rig)[1][:, 0], CODEC.encode(pixels, rig.size[:, 0]), atol=1e-4)


def test_feet_in_the_air_count_less() -> None:
    """The root's hint goes by the foot that stands while the other one is up."""
    joints3d, rig = standing(), one_rig()
    expected = contacts_of(joints3d, rig).points
    joints3d[:, 1, [8, 11], 1] += 0.4
    contacts = contacts_of(joints3d, rig)
    moved = (contacts.points - expected).norm(dim=-1)[0]
    assert contacts.valid.all() and moved[[0, 2]].max() == 0
    assert moved[1, [1, 3]].min() > 1.0  # of the right foot, too far away
    assert moved[1, [0, 2]].max() == 0 and moved[1, 4] < 0.15


def test_invisible_distant_and_airborne_feet_give_no_conditioning() -> None:
    joints3d, rig = standing(), one_rig()
    pixels = project(rig, joints3d)[0][:, 0]
    seen = torch.ones(1, 3, 22, dtype=torch.bool)
    seen[0, 0, [FEET[1], 20]] = False
    pixels[0, 1, FEET[2], 1] = 0.0  # above the horizon
    seen[0, 2, FEET] = False
    contacts = foot_contact_conditioning(pixels, seen, rig, SMPL22, RANGE)
    known = seen.clone()
    known[0, 2] = False
    expected = [[True, False, True, True, True], [True, True, False, True, True], [False] * 5]
    assert contacts.valid[0].tolist() == expected
    assert (
        torch.equal(contacts.known, known)
        and not contacts.figure[0, 2].any()
        and not contacts.points[~contacts.valid].any()
    )
    assert torch.equal(contacts.figure[0, 0, 20], contacts.points[0, 0, -1])
    points, figure = in_views(contacts, rig)
    assert points.isfinite().all() and figure.isfinite().all()
    assert not points.movedim(1, -2)[~contacts.valid].any() and not figure[:, :, 2].any()
    assert not CODEC.local_points(figure)[0, :, 0, 20].any()
    world = contacts_in_world(contacts, WORLD_CODEC)[0, 0]
    assert world[:2].any() and not world[2].any()
    nothing = foot_contact_conditioning(pixels, seen, rig, SMPL22, 2.0)
    assert not nothing.valid.any() and not contacts_in_views(nothing, rig, CODEC).any()
    seen[...] = True
    seen[..., SMPL22.root_joints[0]] = False
    rootless = foot_contact_conditioning(pixels, seen, rig, SMPL22, RANGE)
    assert rootless.valid[0, 0].tolist() == [True, True, True, True, False] and not rootless.known.any()


def test_points_behind_a_view_are_zero() -> None:
    rig = one_rig()
    there = torch.tensor([0.0, 0.0, 20.0])
    contacts = FootContactConditioning(
        there.expand(1, 1, 5, 3), torch.ones(1, 1, 5).bool(), there.expand(1, 1, 22, 3), torch.ones(1, 1, 22).bool()
    )
    points, figure = in_views(contacts, rig)
    depth = project(rig, contacts.points)[1]
    assert (depth[0, 0] < 0).all() and (depth[0, 1:] > 0).all()
    assert torch.equal(points[..., 4] == 1, depth > 0.1)
    assert points.abs().max() <= IMAGE_LIMIT and not points[depth < 0].any()
    assert not figure[0, 0].any() and figure[0, 1:].any() and figure.abs().max() <= IMAGE_LIMIT


def test_the_first_camera_is_that_of_the_condition() -> None:
    rig = ring()
    for preset in ("paper", "full"):
        first = first_camera(camera_condition(rig, preset)[0], rig.size[0])
        for a, b in ((first.K4, rig.K4[:1]), (first.T_w2c, rig.T_w2c[:1]), (first.size, rig.size[:1])):
            assert torch.allclose(a, b, atol=1e-3)


def with_contacts(**changes: Any) -> Mocap2to3Pipeline:
    return tiny_pipeline(tiny_denoiser(num_contact_features=VIEW_CONTACTS, **changes))


@torch.no_grad()
def test_untrained_conditioning_changes_nothing_and_trained_does() -> None:
    batch = tiny_batch()
    plain, fresh, awake = tiny_pipeline(), with_contacts(awake=False), with_contacts()
    fresh.denoiser.load_state_dict(plain.denoiser.state_dict(), strict=False)
    draws = plain.draw_training(batch, torch.Generator().manual_seed(0))
    draws = replace(draws, keep_camera=torch.tensor([True, False]))
    first = fresh.training_loss(batch, draws)["loss"]
    assert torch.equal(first, plain.training_loss(batch, draws)["loss"])
    awake.denoiser.load_state_dict(
        fresh.denoiser.state_dict() | {k: v for k, v in awake.denoiser.state_dict().items() if "hints" in k}
    )
    predicted = awake._predict_clean(batch, draws)[0] - fresh._predict_clean(batch, draws)[0]
    assert predicted[0].abs().max() > 1e-2


@torch.no_grad()
def test_unknown_cameras_give_no_conditioning_and_training_uses_the_given_camera() -> None:
    batch, pipeline = tiny_batch(), with_contacts()
    contacts = pipeline._training_contacts(batch, torch.tensor([True, False]))
    assert contacts is not None and contacts[0].any() and not contacts[1].any()
    rig = Rig(batch["size"], batch["K4"], batch["T_w2c"])
    direct = pipeline.contact_features(rig, batch["kp2d_obs"], batch["visible"])
    assert direct is not None and torch.allclose(contacts[0], direct[0], atol=1e-4)
    changed = dict(batch, cond=batch["cond"].clone())
    changed["cond"][:, 0, 4] += 0.02  # pitch
    other = pipeline._training_contacts(changed, torch.tensor([True, True]))
    assert other is not None and (other - direct)[0].abs().max() > 1e-2
    batch["cond"], batch["K4"] = torch.zeros(2, 4, CAM_DIM), torch.zeros(2, 4, 4)
    nothing = pipeline._training_contacts(batch, torch.tensor([False, False]))
    assert nothing is not None and not nothing.any()


@torch.no_grad()
def test_other_views_may_be_named_in_any_order() -> None:
    batch, pipeline, order = tiny_batch(), with_contacts(), [0, 3, 1, 2]
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    expected = pipeline._predict_clean(batch, draws)[0][:, order]
    names = ("features", "size", "K4", "T_w2c", "cond", "pointmap")
    turned = pipeline._predict_clean(
        batch | {k: batch[k][:, order] for k in names}, replace(draws, eps=draws.eps[:, order])
    )[0]
    assert torch.allclose(turned, expected, atol=1e-4)


@torch.no_grad()
def test_sampling_uses_conditioning_and_only_with_pointmaps() -> None:
    joints3d, rig = people(1, 20), ring()
    pixels, conf = project(rig, joints3d)[0][:, 0], torch.ones(1, 20, 22)
    plain = tiny_pipeline()
    awake = with_contacts()
    awake.denoiser.load_state_dict(plain.denoiser.state_dict(), strict=False)
    a, b = (p.lift(pixels, conf, rig, num_inference_steps=2).joints3d for p in (plain, awake))
    assert (a - b).abs().max() > 1e-3
    without = with_contacts(use_pointmaps=False)
    assert without.denoiser.num_contact_features == 0
    assert not any("hints" in name for name in without.denoiser.state_dict())
    assert without.lift(pixels, conf, rig, num_inference_steps=1).joints3d.isfinite().all()


@torch.no_grad()
def test_the_regression_of_3d_motion_has_conditioning_in_the_world() -> None:
    denoiser = tiny_denoiser(num_features=69, num_contact_features=WORLD_CONTACTS, use_views=False)
    pipeline, batch = tiny_pipeline(denoiser, world_codec=WorldJointsCodec(SMPL22)), tiny_batch()
    contacts = pipeline._training_contacts(batch, torch.tensor([True, True]))
    assert contacts is not None and contacts.shape == (2, 1, 9, WORLD_CONTACTS)
    feet = contacts[0, 0, :, 0:12].unflatten(-1, (3, 4))[..., :3] * PLACE_UNIT
    assert (feet - batch["joints3d"][0][:, FEET[:3]]).norm(dim=-1).amin(-1).max() < 0.3  # one foot stands in a walk
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    assert pipeline.training_loss(batch, draws)["loss"].isfinite()


def test_wrong_numbers_of_features_are_named() -> None:
    with pytest.raises(ValueError, match="num_contact_features=7"):
        tiny_pipeline(tiny_denoiser(num_contact_features=7))
    denoiser = tiny_denoiser(num_contact_features=VIEW_CONTACTS)
    with pytest.raises(ValueError, match="reads foot-contact conditioning"):
        denoiser(
            torch.zeros(1, 4, 6, 48),
            torch.tensor(0),
            lengths=torch.tensor([6]),
            cam=torch.zeros(1, 4, CAM_DIM),
            memory=denoiser.encode_maps(None),
            condition2d=torch.zeros(1, 6, 72),
        )
