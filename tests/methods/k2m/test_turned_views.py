"""Views of turned bodies: bodies of wrong depth are told from right ones, and gradients go where they belong."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hmr4d.body.keypoint_body import load_keypoint_body
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.methods.k2m.losses import LossWeights
from hmr4d.methods.k2m.module import K2MModule
from hmr4d.methods.k2m.smpl_head import SmplHead
from hmr4d.methods.k2m.turned_views import ViewCritic, turned_pixels, view_terms
from tests.methods.k2m.tiny import tiny_pipeline, tokenizer_batch

SIZE = torch.tensor([1280.0, 720.0])


def walkers(count: int, seed: int) -> Tensor:
    """(B, 16, 17, 3) keypoints in space of people who walk upright in all directions, and swing their legs."""
    generator = torch.Generator().manual_seed(seed)
    head, body = SmplHead("root_6d"), load_keypoint_body("anny")
    raw = torch.zeros(count, 16, head.dim)
    swing = 0.5 * torch.sin(6 * torch.arange(16) / 30 + 6.28 * torch.rand(count, 1, generator=generator))
    raw[..., 16], raw[..., 19] = swing, -swing
    found = head(raw, SIZE.expand(count, 2))
    points = body(found.betas, found.rotations, found.translation)[1]
    yaw = 2 * math.pi * torch.rand(count, generator=generator)
    turn = rotvec_to_matrix(torch.stack([torch.zeros(count), yaw, torch.zeros(count)], -1))
    middle = points.mean((1, 2), keepdim=True)
    return (points - middle) @ turn[:, None].mT + middle


def leaning(points: Tensor) -> Tensor:
    """The same pictures, nearly, of bodies that lean away from the camera by 40 degrees."""
    middle = points.mean((1, 2), keepdim=True)
    deeper = (points[..., 1:2] - middle[..., 1:2]) * math.tan(math.radians(40))
    return torch.cat([points[..., :2], points[..., 2:] - deeper], -1)


def test_zero_rotation_gives_the_camera_view_and_a_half_turn_mirrors_it() -> None:
    points, size = walkers(2, 0), SIZE.expand(2, 2)
    same = turned_pixels(points, torch.zeros(2), size)
    half = turned_pixels(points, torch.full((2,), math.pi), size)
    middle = SIZE / 2
    offset = points - points.mean((1, 2), keepdim=True)
    assert torch.allclose((same - middle)[..., 0].sign(), offset[..., 0].sign())
    assert torch.allclose((half - middle)[..., 0], -(same - middle)[..., 0], atol=0.05 * 288)
    assert torch.allclose(half[..., 1], same[..., 1], atol=0.05 * 288)


def test_a_body_with_wrong_depth_has_a_loss_and_a_correct_one_has_none() -> None:
    torch.manual_seed(0)
    critic = ViewCritic(24).train()
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
    size, straight = SIZE.expand(16, 2), torch.zeros(16)
    for step in range(50):
        points = walkers(16, step)
        yaw = 2 * math.pi * torch.rand(16)
        turned = turned_pixels(leaning(points), yaw, size)
        optimizer.zero_grad()
        view_terms(critic, turned_pixels(points, straight, size), turned, size)["critic"].backward()
        optimizer.step()
    critic.eval()
    points, yaw = walkers(16, 1000), 2 * math.pi * torch.rand(16)
    seen = turned_pixels(points, straight, size)
    right = view_terms(critic, seen, turned_pixels(points, yaw, size), size)["turned"]
    wrong = view_terms(critic, seen, turned_pixels(leaning(points), yaw, size), size)["turned"]
    assert float(right) < float(wrong) - 0.5


def test_each_side_learns_from_its_own_loss_alone() -> None:
    critic, size = ViewCritic(8), SIZE.expand(2, 2)
    seen, points = turned_pixels(walkers(2, 0), torch.zeros(2), size).requires_grad_(), walkers(2, 1).requires_grad_()
    terms = view_terms(critic, seen, turned_pixels(points, torch.ones(2), size), size)
    parameters = [p for p in critic.parameters() if p.requires_grad]
    assert len(parameters) == len(list(critic.parameters()))
    of_bodies = torch.autograd.grad(terms["turned"], [points, seen, *parameters], retain_graph=True, allow_unused=True)
    of_critic = torch.autograd.grad(terms["critic"], [points, seen, *parameters], allow_unused=True)
    assert of_bodies[0] is not None and of_bodies[0].abs().sum() > 0 and all(g is None for g in of_bodies[1:])
    assert of_critic[:2] == (None, None) and all(g is not None for g in of_critic[2:])


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_critic_exists_if_its_term_is_enabled_and_is_not_part_of_the_network(weight: float) -> None:
    pipeline = tiny_pipeline("tokenizer", weights=LossWeights(turned=weight)).train()
    found = pipeline.training_loss(tokenizer_batch(), 7)
    assert ("turned" in found) == ("critic" in found) == any("view_critic" in k for k in pipeline.state_dict())
    assert not any("critic" in name for name in pipeline.network.state_dict())
    assert all(value.isfinite() for value in found.values())


def test_the_critic_has_a_separate_learning_rate() -> None:
    pipeline = tiny_pipeline("tokenizer", weights=LossWeights(turned=0.3))
    module = K2MModule(pipeline, optimizer=partial(torch.optim.Adam, lr=1e-4), critic_lr=2e-3)
    bodies, critic = module.configure_optimizers().param_groups
    assert (bodies["lr"], critic["lr"], critic["betas"]) == (1e-4, 2e-3, (0.5, 0.9))
    assert pipeline.view_critic is not None
    assert [id(p) for p in critic["params"]] == [id(p) for p in pipeline.view_critic.parameters()]
    assert [id(p) for p in bodies["params"]] == [id(p) for p in pipeline.network.parameters()]


class Clips(pl.LightningDataModule):
    """Two batches of clips."""

    text_cache = None

    def train_dataloader(self) -> DataLoader:
        return DataLoader([tokenizer_batch(), tokenizer_batch()], batch_size=None)  # type: ignore[arg-type]


def trained(
    epochs: int, checkpoint: Path | None = None, turned: float = 0.3, **rates: float
) -> tuple[pl.Trainer, K2MModule]:
    """A training with dropout, of a cosine of eight steps, from its start or a checkpoint."""
    pipeline = tiny_pipeline("tokenizer", weights=LossWeights(turned=turned)).train()
    for part in pipeline.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.3
    module = K2MModule(
        pipeline, optimizer=partial(torch.optim.Adam, lr=1e-3), balance_batches=0, decay_steps=8, final_lr=0.1, **rates
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=Clips(), ckpt_path=checkpoint, weights_only=False)
    return trainer, module


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped_with_critic_and_dropout(tmp_path: Path) -> None:
    half, _ = trained(1)
    half.save_checkpoint(tmp_path / "half.ckpt")
    torch.rand(7)
    whole, resumed = trained(2)[1], trained(2, tmp_path / "half.ckpt")[1]
    states = whole.state_dict(), resumed.state_dict()
    assert any("view_critic" in key for key in states[0])
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(("before", "after", "word"), [(0.0, 0.3, "have one"), (0.3, 0.0, "leave it out")])
def test_a_resumed_training_cannot_get_or_lose_its_critic(
    before: float, after: float, word: str, tmp_path: Path
) -> None:
    half, _ = trained(1, turned=before)
    half.save_checkpoint(tmp_path / "half.ckpt")
    with pytest.raises(ValueError, match=f"cannot {word}"):
        trained(2, tmp_path / "half.ckpt", turned=after)


def test_a_resumed_training_takes_the_critics_rate_of_the_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half, _ = trained(1, critic_lr=5e-4)
    assert "model.critic_lr=0.0005 is below optimizer.lr=0.001" in caplog.text
    half.save_checkpoint(tmp_path / "half.ckpt")
    caplog.clear()
    trainer, _ = trained(2, tmp_path / "half.ckpt", critic_lr=5e-3)
    assert "below" not in caplog.text
    bodies, critic = trainer.optimizers[0].param_groups
    assert critic["lr"] / bodies["lr"] == pytest.approx(5.0)
