"""Sampling, editing, lifting and releases of K2M."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from hmr4d.body.light_body import load_light_body
from hmr4d.body.pose import OWN_BONES, Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, project
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.methods.k2m.generation import kept_tokens
from hmr4d.methods.k2m.method import METHOD
from hmr4d.methods.k2m.pipeline import K2MPipeline
from hmr4d.methods.k2m.stages import TrainingOptions
from hmr4d.methods.k2m.world import camera_to_y_up, cleaned, on_floor
from hmr4d.methods.registry import load_released
from hmr4d.metrics.physical import foot_skating, jitter
from hmr4d.motion.motion import CAMERA, Motion
from hmr4d.nn.action_index import ActionIndex, KnownAction
from hmr4d.nn.text_adapter import TextAdapter
from tests.methods.k2m.tiny import TEXT_DIM, tiny_network, tiny_pipeline, token_batch, walking_clips


def test_a_motion_does_not_depend_on_its_neighbors() -> None:
    pipeline = tiny_pipeline()
    together = pipeline.sample(["a person walks", "somebody bows twice"], seconds=[2.0, 3.0], seed=[4, 9])
    alone = pipeline.sample(["somebody bows twice"], seconds=3.0, seed=9)
    assert torch.equal(together[1].joints3d, alone[0].joints3d)
    assert together.lengths.tolist() == [60, 88]
    other = pipeline.sample(["somebody bows twice"], seconds=3.0, seed=10)
    assert not torch.equal(other[0].joints3d, alone[0].joints3d)


def test_a_motion_stands_on_the_floor_and_has_a_pose() -> None:
    (motion,) = tiny_pipeline().sample(["a person walks"], seconds=2.0)
    assert motion.pose is not None
    assert torch.allclose(motion.pose.joints(), motion.joints3d, atol=1e-6)
    assert abs(float(motion.joints3d[:, [7, 8, 10, 11], 1].min())) < 1e-5
    assert torch.allclose(motion.joints3d[0, 0, [0, 2]], torch.zeros(2), atol=1e-6)
    assert len(motion.provenance.more["tokens"]) == 15


def test_a_motion_contains_the_camera_of_its_generation() -> None:
    pipeline = tiny_pipeline()
    pipeline.generation = replace(pipeline.generation, smooth=False, plant_feet=False)
    (motion,) = pipeline.sample(["a person walks"], seconds=2.0)
    tokens = torch.tensor(motion.provenance.more["tokens"])
    body = pipeline.network.motion_tokenizer.decode_tokens(tokens[None], torch.tensor([[1280.0, 720.0]]))
    betas = body.betas.median(1, keepdim=True).values.expand_as(body.betas)
    joints, _ = pipeline.body(betas, body.rotations, body.translation)
    wanted = 5000.0 * joints[0, ..., :2] / joints[0, ..., 2:] + torch.tensor([640.0, 360.0])
    told = motion.provenance.more[CAMERA]
    assert told["size"] == [1280, 720] and told["focal"] == 5000.0
    points = motion.joints3d - torch.tensor(told["center"])
    pixels = 5000.0 * points[..., :2] * torch.tensor([1.0, -1.0]) / -points[..., 2:] + torch.tensor([640.0, 360.0])
    assert torch.allclose(pixels, wanted, atol=0.1)


def test_cleaning_removes_noise_and_stops_the_slide_of_standing_feet() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = rotvec_to_matrix(0.005 * torch.randn(60, 22, 3, generator=generator))
    slide = torch.linspace(0, 0.3, 60)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    pose = on_floor(Pose(OWN_BONES, noise, slide, load_light_body().rest_joints.float()))
    clean = cleaned(pose, fps=30.0)
    bones = [list(ends) for ends in zip(*SMPL22.bones, strict=True)]
    lengths = [(one.joints()[:, bones[0]] - one.joints()[:, bones[1]]).norm(dim=-1) for one in (pose, clean)]
    assert torch.allclose(lengths[0], lengths[1], atol=1e-5)
    whole = torch.tensor([60])
    for measure in (foot_skating, jitter):
        before, after = (float(measure(one.joints()[None], whole, 30.0)) for one in (pose, clean))
        assert after < before / 2, measure.__name__
    assert cleaned(pose, fps=30.0, smooth=False, plant=False) is pose


def test_the_camera_stays_with_a_cleaned_motion() -> None:
    pipeline = tiny_pipeline()
    (clean,) = pipeline.sample(["a person walks"], seconds=2.0)
    pipeline.generation = replace(pipeline.generation, smooth=False, plant_feet=False)
    (raw,) = pipeline.sample(["a person walks"], seconds=2.0)
    near = [motion.joints3d[:, 0] - torch.tensor(motion.provenance.more[CAMERA]["center"]) for motion in (clean, raw)]
    assert not torch.equal(clean.joints3d, raw.joints3d)
    assert (near[0] - near[1]).norm(dim=-1).mean() < 0.2


def test_zero_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="num_samples is 0"):
        tiny_pipeline().sample(["a person walks"], seconds=2.0, num_samples=0)
    with pytest.raises(ValueError, match="0 generators for 1 prompts"):
        tiny_pipeline().sample(["a person walks"], seconds=2.0, generator=[])


def test_kept_tokens_stay_and_the_others_are_generated() -> None:
    pipeline = tiny_pipeline()
    (first,) = pipeline.sample(["a person walks"], seconds=4.0, seed=1)
    (edited,) = pipeline.edit(first, "a person jumps", [(0.0, 1.5)], seed=2)
    (between,) = pipeline.edit(first, "a person jumps", [(0.0, 1.0), (3.0, 4.0)], seed=2)
    old, new, middle = (torch.tensor(m.provenance.more["tokens"]) for m in (first, edited, between))
    assert torch.equal(old[:11], new[:11]) and not torch.equal(old[11:], new[11:])
    assert torch.equal(old[:7], middle[:7]) and torch.equal(old[23:30], middle[23:30])
    assert not torch.equal(old[7:23], middle[7:23])


def test_a_range_that_begins_with_a_token_keeps_it() -> None:
    kept = kept_tokens(torch.arange(75)[:, None], [(4.4, 5.2)], 75, 30.0)  # 4.4 * 30 is more than 132 in floats
    assert torch.where(kept[:, 0] >= 0)[0].tolist() == list(range(33, 39))


def test_a_motion_without_tokens_cannot_be_edited() -> None:
    with pytest.raises(ValueError, match="has no tokens of 3 layers"):
        tiny_pipeline().edit(Motion(torch.zeros(60, 22, 3), 30.0), "a person jumps", [(0.0, 1.0)])


def test_the_motion_of_another_model_is_edited_with_a_warning_and_keeps_its_licence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = tiny_pipeline()
    pipeline.about |= {"model": "models/own", "licence": "MIT"}
    (first,) = pipeline.sample(["a person walks"], seconds=2.0)
    pipeline.edit(first, "a person jumps", [(0.0, 1.0)])
    assert not caplog.records
    other = replace(first, provenance=first.provenance.updated(model="elsewhere/other", licence="CC BY-NC 4.0"))
    (edited,) = pipeline.edit(other, "a person jumps", [(0.0, 1.0)])
    assert "says that 'elsewhere/other' made it" in caplog.text
    assert (edited.provenance.model, edited.provenance.licence) == ("models/own", "MIT; CC BY-NC 4.0")


@pytest.mark.parametrize(("keep", "sentence"), [((0.0, 9.0), "not within the motion"), ((1.0, 1.05), "complete token")])
def test_impossible_ranges_are_refused(keep: tuple[float, float], sentence: str) -> None:
    pipeline = tiny_pipeline()
    (first,) = pipeline.sample(["a person walks"], seconds=2.0)
    with pytest.raises(ValueError, match=sentence):
        pipeline.edit(first, "a person jumps", [keep])


def test_world_and_camera_conversion_are_inverse() -> None:
    rotations = torch.linalg.qr(torch.randn(5, 22, 3, 3)).Q
    translation, rest = torch.randn(5, 3), torch.tensor([0.0, -0.2, 0.03])
    back = camera_to_y_up(*camera_to_y_up(rotations, translation, rest), rest)
    assert torch.allclose(back[0], rotations, atol=1e-6) and torch.allclose(back[1], translation, atol=1e-5)


def test_a_lifted_body_projects_to_its_keypoints() -> None:
    pipeline = tiny_pipeline()
    clip = walking_clips(1)[0]
    rig = Rig(
        torch.tensor([[1280.0, 720.0]]),
        torch.tensor([[1200.0, 1200.0, 640.0, 360.0]]),
        torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, -1, 6.0], [0, 0, 0, 1]])[None],
    )
    lifted = pipeline.lift(clip[None, :, :-1, :2], clip[None, :, :-1, 2], rig, fps=30.0)
    assert lifted.joints3d is not None and lifted.joints3d.shape == (1, 60, 22, 3)
    root = project(rig, lifted.joints3d)[0][0, 0, :, 0]
    assert (root > 0).all() and (root[:, 0] < 1280).all()
    head, hips = lifted.joints3d[0, :, 15, 1], lifted.joints3d[0, :, 0, 1]
    assert (head > hips).all()  # y up in the world of the camera file
    assert lifted.provenance.more["depth"] == "relative"


def test_lifting_at_another_rate_keeps_the_number_of_frames() -> None:
    clip = walking_clips(1)[0, :31]
    rig = Rig(torch.tensor([[1280.0, 720.0]]), torch.tensor([[5000.0, 5000, 640, 360]]), torch.eye(4)[None])
    lifted = tiny_pipeline().lift(clip[None, :, :-1, :2], clip[None, :, :-1, 2], rig, fps=25.0)
    assert lifted.lengths.tolist() == [31] and lifted[0].joints3d.isfinite().all()
    assert (
        lifted.extras["residual"].shape == lifted.extras["spread"].shape == (1, 31, 22)
    )  # meters, as lifted files say
    for options in ({"num_inference_steps": 5}, {"num_samples": 2}):
        with pytest.raises(ValueError, match="without random draws: a track has one motion and no diffusion steps"):
            tiny_pipeline().lift(clip[None, :, :-1, :2], clip[None, :, :-1, 2], rig, fps=25.0, **options)


def test_a_release_generates_the_same_motion(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    halved = {k: v.half().to(v.dtype) for k, v in pipeline.network.state_dict().items()}  # as a release keeps them
    pipeline.network.load_state_dict(halved)
    parts = {
        "tokenizer": {"dim": 16, "num_heads": 2, "mlp_ratio": 2.0, "width": 16, "conv_depth": 1, "latent_dim": 8}
        | {"num_codes": 16, "num_quantizers": 3, "conv_dropout": 0.0, "fuse": "single_token"},
        "masked": {"token_dim": 8, "text_dim": 8, "dim": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 16}
        | {"num_tokens": 16},
        "length": {"text_dim": 8},
    }
    parts["residual"] = {**parts["masked"], "num_quantizers": 3}
    settings = {"network": parts, "text_encoder": {"name": "hash", "folder": None, "dim": 8}}
    METHOD.save(tmp_path / "toy-k2m", pipeline, settings, {"licence": "CC0 1.0"})
    loaded = load_released(tmp_path / "toy-k2m", needs="sample")
    first, again = (p.sample(["a person walks"], seconds=2.0, seed=3) for p in (pipeline, loaded))
    assert torch.equal(first[0].joints3d, again[0].joints3d)
    assert isinstance(again[0].pose, Pose) and again[0].provenance.licence == "CC0 1.0"
    assert loaded.suited_seconds(["a person walks"])[0] >= 2.0


def test_text_vectors_come_from_the_adapter_and_are_moved_to_known_actions(tmp_path: Path) -> None:
    torch.manual_seed(3)
    plain, adapter = tiny_pipeline("masked"), TextAdapter(TEXT_DIM, TEXT_DIM).eval()
    with torch.no_grad():
        adapter.embed.weight.normal_()
    pipeline = K2MPipeline(
        tiny_network(), training=TrainingOptions(text_noise=0.1), text_encoder=plain.text_encoder, text_adapter=adapter
    ).eval()
    adapted = pipeline._pooled(["walk"])
    assert torch.allclose(adapted.norm(dim=-1), torch.ones(1))
    assert not torch.allclose(adapted, plain._pooled(["walk"]), atol=0.1)
    only = K2MPipeline(tiny_network("masked"), stage="masked", text_adapter=adapter).eval()
    batch = token_batch()
    by_hand = batch | {"text_pooled": normalize(adapter(batch["text_pooled"]), dim=-1)}
    draws = only.draw_training(batch, torch.Generator().manual_seed(0))
    assert torch.equal(only.training_loss(batch, draws)["loss"], plain.training_loss(by_hand, draws)["loss"])

    nearest = KnownAction("walk", "walk", 1, 2.0, 2.0, 2.0)
    pipeline.actions = ActionIndex([nearest], torch.randn(1, TEXT_DIM), adapter=adapter)
    assert torch.equal(pipeline._pooled(["walk"]), adapted)  # by default the text alone
    pipeline.generation = replace(pipeline.generation, action_pull=1.0)
    assert torch.allclose(pipeline._pooled(["walk"]), pipeline.actions.prototypes, atol=1e-6)
    METHOD.save_files(tmp_path, pipeline)
    assert {file.name for file in tmp_path.iterdir()} == {"actions.safetensors", "text_adapter.safetensors"}
    again = METHOD.restore(
        {**METHOD.describe(pipeline), "network": {}, "text_encoder": {"name": "hash", "dim": TEXT_DIM}}, tmp_path
    )
    assert again.actions is not None and again.generation.action_pull == 1.0
    assert again.text_adapter is not None
    assert torch.equal(again.text_adapter.embed.weight, adapter.embed.weight.half().float())


def test_a_joint_convention_moves_joints_but_not_the_person() -> None:
    plain, told = tiny_pipeline(), tiny_pipeline()
    for pipeline in (plain, told):  # cleaning depends on the joints
        pipeline.generation = replace(pipeline.generation, smooth=False, plant_feet=False)
    told.joint_convention = "everyday"
    (a,), (b,) = (pipeline.sample(["a person walks"], seconds=2.0, seed=3) for pipeline in (plain, told))
    assert a.pose is not None and b.pose is not None and b.joint_convention == "everyday"
    assert torch.equal(a.pose.rotations, b.pose.rotations)
    torch.testing.assert_close(b.pose.joints(), b.joints3d)
    hips, feet = SMPL22.indices("left_hip", "right_hip"), SMPL22.indices("left_foot", "right_foot")
    seen = [
        motion.joints3d[:, list(hips)].mean(1) - torch.tensor(motion.provenance.more[CAMERA]["center"])
        for motion in (a, b)
    ]
    torch.testing.assert_close(seen[0], seen[1], atol=1e-4, rtol=0)
    assert (a.joints3d - b.joints3d)[:, list(feet)].norm(dim=-1).min() > 0.02
