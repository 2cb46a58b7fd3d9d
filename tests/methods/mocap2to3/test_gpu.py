"""The same motion on a GPU."""

from __future__ import annotations

import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import project
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from tests.methods.mocap2to3.tiny import KnowsTheTruth, people, ring, tiny_batch, tiny_pipeline

pytestmark = pytest.mark.gpu


def test_samples_equal_those_of_the_cpu() -> None:
    joints3d, rig = people(1, 40), ring()
    pixels = project(rig, joints3d)[0]
    torch.manual_seed(0)
    network = KnowsTheTruth(BboxPose2DCodec(SMPL22).encode(pixels, rig.size), doubt=0.05)
    request = pixels[:, 0], torch.ones(1, 40, 22), rig
    pipeline = tiny_pipeline(network)
    wanted = pipeline.lift(*request, seed=3)
    network.truth = network.truth.to("cuda")
    got = pipeline.to("cuda").lift(*request, seed=3)
    assert got.joints3d.device.type == "cpu"
    torch.testing.assert_close(got.joints3d, wanted.joints3d, atol=1e-3, rtol=0)


def test_the_loss_equals_that_of_the_cpu() -> None:
    batch, pipeline = tiny_batch(), tiny_pipeline()
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    wanted = pipeline.training_loss(batch, draws)["loss"]
    there = {name: value.to("cuda") for name, value in batch.items()}
    got = pipeline.to("cuda").training_loss(there, draws)["loss"]
    torch.testing.assert_close(got.cpu(), wanted, atol=1e-4, rtol=1e-4)
