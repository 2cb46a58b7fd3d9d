"""Trainings: no 3D reaches the loss, few steps improve it, and a random step depends on its seed alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hmr4d.methods.k2m.losses import LossOptions, LossWeights
from hmr4d.methods.k2m.module import report_balance
from hmr4d.methods.k2m.network import K2MNetwork
from hmr4d.methods.k2m.stages import TokenizerStage, TrainingOptions
from tests.methods.k2m.tiny import OWN_START, tiny_pipeline, tiny_tokenizer, token_batch, tokenizer_batch, walking_clips


class Watched(dict[str, Any]):
    """A batch that remembers what was read of it."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def test_no_3d_array_reaches_the_loss_of_the_tokenizer() -> None:
    pipeline = tiny_pipeline("tokenizer").train()
    batch = Watched(tokenizer_batch())
    plain = pipeline.training_loss(batch, 7)["loss"]
    assert batch.read == {"keypoints", "valid", "start"}
    assert batch["keypoints"].shape[-2:] == (18, 3)  # pixels and confidence, and the size of the image
    measured = {"joints3d": torch.full((2, 60, 22, 3), torch.nan), "poses": torch.full((2, 60, 72), torch.nan)}
    poisoned = dict(batch) | measured
    again = tiny_pipeline("tokenizer").train().training_loss(poisoned, 7)["loss"]
    assert torch.equal(plain, again)


def test_lengths_beyond_the_estimator_are_reported() -> None:
    pipeline = tiny_pipeline("length")
    batch = token_batch() | {"lengths": torch.tensor([20, 75, 76])}
    with pytest.raises(ValueError, match="A clip has 76 tokens; the length estimator supports up to 75"):
        pipeline.training_loss(batch, None)


@pytest.mark.parametrize("stage", ["tokenizer", "masked", "residual", "length"])
def test_a_few_steps_lower_the_loss(stage: Any) -> None:
    pipeline = tiny_pipeline(stage).train()
    batch = tokenizer_batch(4, 16) if stage == "tokenizer" else token_batch()
    for layer in pipeline.network.motion_tokenizer.quantizer.codebooks() if stage == "tokenizer" else ():
        layer.initialized.fill_(False)  # codes start from the batch
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=1e-2)
    losses = []
    for _ in range(24 if stage == "tokenizer" else 12):
        draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
        loss = pipeline.training_loss(batch, draws)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_the_tokenizer_learns_which_way_people_face_and_their_pose() -> None:
    tokenizer = tiny_tokenizer(**OWN_START, num_codes=64, width=32, latent_dim=16)
    weights = LossWeights(rvq=0.1, smooth=0.0, boundary=0.0, rec=0.003, relative=0.03, facing=6.0, rest=0.1)
    stage = TokenizerStage(K2MNetwork(tokenizer), TrainingOptions(weights, LossOptions(rec="l1_normalized")))
    clips = walking_clips(8, 24, turned=True)
    batch = {"keypoints": clips, "valid": torch.ones(8, 24, dtype=torch.bool), "start": torch.zeros(8).long()}
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=4e-3)
    for step in range(120):
        optimizer.zero_grad()
        stage.loss(batch, step)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
        optimizer.step()
    tokenizer.eval()
    with torch.no_grad():
        found = stage.monitor(batch, torch.Generator().manual_seed(0))
    assert float(found["mirrored"]) == 0 and float(found["upside_down"]) == 0
    assert float(found["height_share"]) < 0.05  # a body that stands still and faces us is off by 0.14 and more


@pytest.mark.parametrize("stage", ["masked", "residual"])
def test_padding_does_not_change_the_loss(stage: Any) -> None:
    pipeline, batch = tiny_pipeline(stage), token_batch()
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    before = pipeline.training_loss(batch, draws)["loss"]
    other = dict(batch) | {"motion_tokens": torch.where(batch["valid"][..., None], batch["motion_tokens"], 0)}
    if stage == "masked":
        draws.ids[~batch["valid"]] = 3
    assert torch.allclose(before, pipeline.training_loss(other, draws)["loss"], atol=1e-6)


def test_validation_reports_the_metrics_of_the_tokenizer() -> None:
    found = tiny_pipeline("tokenizer").monitor(tokenizer_batch(), torch.Generator().manual_seed(0))
    assert {"pixels", "height_share", "limits", "upside_down", "mirrored", "behind", "perplexity_0"} <= set(found)
    assert float(found["upside_down"]) == 0 and float(found["mirrored"]) == 0  # the first body stands as these do


def test_unbalanced_losses_are_reported() -> None:
    warnings = report_balance({"rvq": 0.1, "rec": 1.0, "vel": 2.0, "pose": 0.0, "boundary": 0.5, "turned": -3.0})
    assert [warning.split()[0] for warning in warnings] == ["vel", "pose"]
