"""The patch network: shapes, padding, overlap of patches, views, learning and sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hmr4d.methods.motion2to3.options import TrainingOptions
from hmr4d.methods.motion2to3.patch_denoiser import PatchDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.action_index import ActionIndex, KnownAction
from hmr4d.utils.randomness import ItemRandom
from tests.methods.motion2to3.tiny import TEXT_DIM, random_inputs, tiny_batch, tiny_pipeline


def patch_denoiser(*, awake: bool = True, **changes: Any) -> PatchDenoiser:
    """Narrow network; awake gives the branches that start at zero some weight."""
    settings: dict[str, Any] = {
        "num_features": 44,
        "text_dim": TEXT_DIM,
        "pooled_dim": TEXT_DIM,
        "dim": 24,
        "ff_dim": 32,
        "num_layers": 2,
        "num_heads": 2,
        "condition_dim": 16,
        "memory_dim": 8,
        "refine_dim": 8,
        "cam_dim": 5,
        "use_views": True,
    }
    torch.manual_seed(0)
    denoiser = PatchDenoiser(**(settings | changes))
    if awake:
        for name, parameter in denoiser.named_parameters():
            if any(part in name for part in ("modulation", "embed_cam", "refine_out")):
                nn.init.normal_(parameter, std=0.3)
    return denoiser


def inputs(frames: int, lengths: list[int] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    x_t, keywords = random_inputs(frames=frames)
    keywords["text_pooled"] = torch.randn(2, TEXT_DIM, generator=torch.Generator().manual_seed(5))
    if lengths is not None:
        keywords["lengths"] = torch.tensor(lengths)
    return x_t, keywords


@pytest.mark.parametrize("frames", [1, 3, 4, 7, 8, 13])
def test_any_number_of_frames_is_restored(frames: int) -> None:
    x_t, keywords = inputs(frames)
    assert patch_denoiser()(x_t, **keywords).shape == x_t.shape


def test_overlapping_windows_add_up_to_the_motion() -> None:
    denoiser = patch_denoiser()
    x = torch.randn(2, 3, 11, 44)
    counts = torch.ones(2, 3, dtype=torch.bool)
    assert torch.allclose(denoiser._overlap_add(denoiser._windows(x), counts, 11), x, atol=1e-6)


@pytest.mark.parametrize("length", [9, 10, 11, 12])
def test_padding_does_not_change_valid_frames(length: int) -> None:
    denoiser = patch_denoiser().eval()
    x_t, keywords = inputs(13, [13, length])
    whole = denoiser(x_t, **keywords)
    alone = {name: value[1:] for name, value in keywords.items()}
    assert torch.allclose(whole[1:, :, :length], denoiser(x_t[1:, :, :length], **alone), atol=1e-5)
    x_t[1, :, length:] = 100.0
    assert torch.allclose(whole[1, :, :length], denoiser(x_t, **keywords)[1, :, :length], atol=1e-5)


def test_views_of_an_item_inform_each_other_and_items_do_not() -> None:
    denoiser = patch_denoiser().eval()
    x_t, keywords = inputs(8)
    before = denoiser(x_t, **keywords)
    x_t[0, 1] += 1.0
    after = denoiser(x_t, **keywords)
    assert not torch.allclose(before[0, 0], after[0, 0], atol=1e-4)
    assert torch.equal(before[1], after[1])


def test_one_view_uses_the_same_weights() -> None:
    denoiser = patch_denoiser().eval()
    x_t, keywords = inputs(8)
    one = denoiser(x_t[:, :1], **(keywords | {"cam": keywords["cam"][:, :1]}))
    assert one.shape == (2, 1, 8, 44)


@pytest.mark.parametrize("name", ["text", "text_pooled", "t", "cam"])
def test_every_condition_changes_the_motion(name: str) -> None:
    denoiser = patch_denoiser().eval()
    x_t, keywords = inputs(8)
    changed = keywords | {name: keywords[name] + 1}
    assert not torch.allclose(denoiser(x_t, **keywords), denoiser(x_t, **changed), atol=1e-4)


def test_odd_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="patch is 3"):
        patch_denoiser(patch=3)


def test_one_batch_can_be_learned() -> None:
    training = TrainingOptions(drop_text=0.0, drop_cam=0.0, max_step_weight=5.0, pooled_noise=0.1)
    pipeline = tiny_pipeline(patch_denoiser(awake=False), training=training).train()
    batch, draw = tiny_batch(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=1e-2)
    losses = []
    for _ in range(120):
        loss = pipeline.training_loss(batch, pipeline.draw_training(batch, draw))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_motion_does_not_depend_on_the_batch() -> None:
    pipeline = tiny_pipeline(patch_denoiser(), num_views=2, step="ddim", guidance_scale=2.0)
    together = pipeline.sample(["a walk", "a long jump"], seconds=[1.0, 1.5], seed=[3, 4])
    alone = pipeline.sample(["a long jump"], seconds=1.5, seed=4)
    assert torch.allclose(together.joints3d[1], alone.joints3d[0], atol=1e-4)


def test_known_actions_pull_a_prompt_but_not_the_empty_prompt() -> None:
    network = patch_denoiser()
    actions = [KnownAction("walk", "walk", 12, 8.0, 4.0, 9.0), KnownAction("bow", "bow", 3, 1.6, 1.2, 2.0)]

    def pipeline(pull: float) -> Motion2to3Pipeline:
        made = tiny_pipeline(network, num_views=2, guidance_scale=2.0, action_pull=pull)
        made.actions = ActionIndex(actions, torch.eye(TEXT_DIM)[:2])
        return made

    rngs = [ItemRandom.from_seed(0)]
    conditions = pipeline(0.5).text_conditions(["bows"], torch.tensor([9]), rngs)
    assert conditions.text_pooled is not None
    assert torch.equal(conditions.text_pooled, pipeline(0.5).actions.pulled(conditions.text.pooled, 0.5))
    assert pipeline(0.0).text_conditions(["bows"], torch.tensor([9]), rngs).text_pooled is None
    x_t, t = torch.randn(1, 2, 9, 44, generator=torch.Generator().manual_seed(1)), 5
    plain = replace(conditions, text_pooled=None)
    for guidance, differs in ((0.0, False), (1.0, True), (2.0, True)):
        pulled, own = (pipeline(0.5).predict(x_t, t, c, guidance) for c in (conditions, plain))
        assert torch.equal(pulled, own) is not differs
