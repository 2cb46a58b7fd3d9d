"""Weights of one view into several, frozen parts, released folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hmr4d import load_pipeline
from hmr4d.body.joint_conventions import foot_heights
from hmr4d.body.skeleton import SMPL22
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.method import METHOD
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.methods.mocap2to3.weights import FREEZE_GROUPS, WEIGHTS
from hmr4d.nn.training import freeze_parameters
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.representation.world_joints import WorldJointsCodec
from tests.methods.mocap2to3.tiny import people, ring, tiny_denoiser, tiny_pipeline

NETWORK: dict[str, Any] = {
    "num_features": 48,
    "num_condition_features": 72,
    "dim": 16,
    "ff_dim": 24,
    "num_layers": 1,
    "num_heads": 2,
    "use_views": True,
    "grid": 8,
    "patch": 4,
}


def checkpoint(denoiser: nn.Module, path: Path) -> Path:
    torch.save({"state_dict": {f"pipeline.denoiser.{k}": v for k, v in denoiser.state_dict().items()}}, path)
    return path


def test_one_view_starts_several_in_training_only(tmp_path: Path) -> None:
    single = tiny_denoiser(use_views=False, num_condition_features=0)
    for parameter in single.parameters():
        nn.init.normal_(parameter, std=0.1)
    path, pipeline = checkpoint(single, tmp_path / "stage1.ckpt"), tiny_pipeline()
    with pytest.raises(ValueError, match=r"stage1\.ckpt does not fit this network: missing embed_other"):
        WEIGHTS.load(pipeline, path)
    WEIGHTS.load(pipeline, path, is_start=True)
    state = pipeline.denoiser.state_dict()
    assert all(torch.equal(state[k], v) for k, v in single.state_dict().items())
    new = {k for k in state if k not in single.state_dict()}
    assert all(any(part in WEIGHTS.new_in_views for part in k.split(".")) for k in new)
    with pytest.raises(ValueError, match=r"got 2 path\(s\); pl takes 1"):
        WEIGHTS.load(pipeline, [path, path])
    with pytest.raises(ValueError, match="Unknown ckpt_type 'pl_2d_mv'"):
        WEIGHTS.load(pipeline, path, "pl_2d_mv")


def test_a_frozen_prior_keeps_multi_view_parameters_trainable() -> None:
    single, several = tiny_denoiser(use_views=False, num_condition_features=0), tiny_denoiser()
    freeze_parameters(several, "prior", FREEZE_GROUPS)
    free = {name for name, p in several.named_parameters() if p.requires_grad}
    assert free == {name for name, _ in several.named_parameters()} - {name for name, _ in single.named_parameters()}
    with pytest.raises(ValueError, match=r"'all'.*'none', 'prior'"):
        freeze_parameters(several, "all", FREEZE_GROUPS)


def released(folder: Path, kind: str) -> Mocap2to3Pipeline:
    """Saves a pipeline; the pipeline with the rounding of the file."""
    codec: Any = BboxPose2DCodec(SMPL22, box="tight", margin=1.3, smooth=True, isotropic=True)
    world: WorldJointsCodec | None = None
    network: dict[str, Any] = dict(NETWORK)
    if kind == "points":
        codec, network = (
            ImagePose2DCodec(SMPL22, margin=1.1),
            network | {"num_features": 44, "num_condition_features": 66},
        )
    if kind == "direct":
        world = WorldJointsCodec(SMPL22)
        network |= {"num_features": 69, "use_views": False}
    denoiser = LiftingDenoiser(**network)
    pipeline = tiny_pipeline(
        denoiser, codec=codec, world_codec=world, max_range=20.0, step="ddim", joint_convention="bandai_namco"
    )
    METHOD.save(folder, pipeline, {"network": network}, {"licence": "none"})
    denoiser.load_state_dict({k: v.half().float() for k, v in denoiser.state_dict().items()})
    return pipeline


@pytest.mark.parametrize("kind", ["tokens", "points", "direct"])
def test_a_release_lifts_like_its_source(kind: str, tmp_path: Path) -> None:
    pipeline, rig = released(tmp_path, kind), ring()
    loaded = load_pipeline(tmp_path)
    assert isinstance(loaded, Mocap2to3Pipeline) and not loaded.training
    assert (loaded.fps, loaded.cameras, loaded.max_range, loaded.sampling) == (20.0, "paper", 20.0, pipeline.sampling)
    assert vars(loaded.codec) == vars(pipeline.codec)
    assert loaded.joint_convention == "bandai_namco" and loaded.foot_heights == pipeline.foot_heights != {}
    request = people(1, 16)[..., :2] * 50 + 500, torch.ones(1, 16, 22), rig
    lifted = loaded.lift(*request)
    assert torch.equal(lifted.joints3d, pipeline.lift(*request).joints3d)
    assert loaded.about and lifted[0].provenance.metadata() == {**loaded.about, "seed": 0}


def test_standing_feet_are_those_of_the_release_and_of_the_convention_in_older_ones(tmp_path: Path) -> None:
    released(tmp_path, "tokens")
    config = tmp_path / "config.json"
    saved = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps(saved | {"foot_heights": {"foot": 0.03}}))
    assert load_pipeline(tmp_path).foot_heights == {"foot": 0.03}
    del saved["foot_heights"]
    config.write_text(json.dumps(saved))
    assert load_pipeline(tmp_path).foot_heights == foot_heights("bandai_namco")
    config.write_text(json.dumps(saved | {"joint_convention": None}))
    assert load_pipeline(tmp_path).foot_heights == {}


def test_damaged_releases_are_named(tmp_path: Path) -> None:
    released(tmp_path, "tokens")
    config = tmp_path / "config.json"
    good = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps(good | {"version": 9}))
    with pytest.raises(ValueError, match=r"config\.json is 'hmr4d-mocap2to3' version 9; expected"):
        load_pipeline(tmp_path)
    config.write_text(json.dumps({k: v for k, v in good.items() if k != "network"}))
    with pytest.raises(ValueError, match="does not describe a pipeline.*network"):
        load_pipeline(tmp_path)
    config.write_text(json.dumps(good | {"network": NETWORK | {"ff_dim": 32}}))
    with pytest.raises(ValueError, match="does not fit this network"):
        load_pipeline(tmp_path)
    config.write_text("[1]")
    with pytest.raises(ValueError, match="no JSON object"):
        load_pipeline(tmp_path)
