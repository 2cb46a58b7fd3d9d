"""What the denoiser may and may not look at."""

from __future__ import annotations

import pytest
import torch

from tests.methods.motion2to3.tiny import TEXT_DIM, random_inputs, tiny_denoiser


@torch.no_grad()
def test_padded_frames_do_not_count() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs(frames=8)
    inputs["lengths"] = torch.tensor([8, 5])
    other = x.clone()
    other[1, :, 5:] = 50.0
    first, second = denoiser(x, **inputs), denoiser(other, **inputs)
    assert torch.allclose(first[0], second[0], atol=1e-6)
    assert torch.allclose(first[1, :, :5], second[1, :, :5], atol=1e-5)


@torch.no_grad()
def test_more_padding_changes_nothing() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs(frames=6)
    padded = torch.cat([x, torch.zeros(2, 4, 5, 44)], 2)
    assert torch.allclose(denoiser(padded, **inputs)[:, :, :6], denoiser(x, **inputs), atol=1e-5)


@torch.no_grad()
def test_items_of_a_batch_are_independent() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs(batch=3)
    together = denoiser(x, **inputs)
    for i in range(3):
        alone = denoiser(x[i : i + 1], **{name: value[i : i + 1] for name, value in inputs.items()})
        assert torch.allclose(together[i], alone[0], atol=1e-5)


@torch.no_grad()
def test_masked_text_does_not_count() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs()
    other = dict(inputs, text=inputs["text"].masked_fill(~inputs["text_valid"][..., None], 9.0))
    assert torch.allclose(denoiser(x, **inputs), denoiser(x, **other), atol=1e-6)
    longer = dict(
        inputs,
        text=torch.cat([inputs["text"], torch.ones(2, 70, TEXT_DIM)], 1),
        text_valid=torch.cat([inputs["text_valid"], torch.zeros(2, 70, dtype=torch.bool)], 1),
    )
    assert torch.allclose(denoiser(x, **inputs), denoiser(x, **longer), atol=1e-6)


@torch.no_grad()
def test_views_can_be_named_in_any_order() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs()
    order = [3, 1, 0, 2]
    permuted = denoiser(x[:, order], **dict(inputs, cam=inputs["cam"][:, order]))
    assert torch.allclose(permuted, denoiser(x, **inputs)[:, order], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("what", ["t", "text", "cam", "x_t"])
def test_every_input_has_an_effect(what: str) -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs()
    base = denoiser(x, **inputs)
    inputs["x_t"] = x
    changed = denoiser(**(inputs | {what: inputs[what] + 1}))
    assert not torch.allclose(changed, base, atol=1e-3)


@torch.no_grad()
def test_untrained_multi_view_network_equals_the_single_view_network() -> None:
    """So that a pretrained single-view checkpoint keeps what it can do."""
    single = tiny_denoiser(use_views=False, cam_dim=0, separate_root_head=False).eval()
    several = tiny_denoiser(awake=False, separate_root_head=False).eval()
    several.load_state_dict(single.state_dict(), strict=False)
    x, inputs = random_inputs()
    cam = inputs.pop("cam")
    assert torch.allclose(several(x, cam=cam, **inputs), single(x, **inputs), atol=1e-5)


@torch.no_grad()
def test_single_view_network_treats_views_equally_and_independently() -> None:
    denoiser = tiny_denoiser(use_views=False, cam_dim=0, separate_root_head=False).eval()
    x, inputs = random_inputs()
    del inputs["cam"]
    together = denoiser(x, **inputs)
    for view in range(4):
        assert torch.allclose(together[:, view : view + 1], denoiser(x[:, view : view + 1], **inputs), atol=1e-5)


@torch.no_grad()
def test_the_condition_has_no_initial_effect() -> None:
    denoiser = tiny_denoiser(awake=False, use_condition2d=True).eval()
    x, inputs = random_inputs()
    condition = torch.randn(2, 6, 44, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(denoiser(x, condition2d=condition, **inputs), denoiser(x, **inputs), atol=1e-6)
    awake = tiny_denoiser(use_condition2d=True).eval()
    assert not torch.allclose(awake(x, condition2d=condition, **inputs), awake(x, **inputs), atol=1e-3)


@torch.no_grad()
def test_root_head_predicts_the_last_two_channels() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs()
    base = denoiser(x, **inputs)
    denoiser.root_head.bias += 1.0
    changed = denoiser(x, **inputs)
    assert torch.allclose(changed[..., -2:], base[..., -2:] + 1.0, atol=1e-5)
    assert torch.equal(changed[..., :-2], base[..., :-2])


@torch.no_grad()
def test_pooled_text() -> None:
    denoiser = tiny_denoiser(text_mode="pooled").eval()
    x, inputs = random_inputs()
    del inputs["text_valid"]
    text = inputs.pop("text")[:, 0]
    none = denoiser(x, **inputs)
    assert not torch.allclose(denoiser(x, text=text, **inputs), none, atol=1e-3)


@torch.no_grad()
def test_scalar_step_is_a_step_for_all() -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs()
    inputs["t"] = torch.tensor([4, 4])
    assert torch.equal(denoiser(x, **inputs), denoiser(x, **dict(inputs, t=torch.tensor(4))))


def test_every_parameter_has_a_gradient() -> None:
    denoiser = tiny_denoiser(use_condition2d=True)
    x, inputs = random_inputs()
    denoiser(x, condition2d=torch.ones(2, 6, 44), **inputs).square().mean().backward()
    silent = [name for name, p in denoiser.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_missing_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="'words'.*'tokens', 'pooled'"):
        tiny_denoiser(text_mode="words")
    x, inputs = random_inputs()
    del inputs["text_valid"]
    with pytest.raises(ValueError, match=r"text_valid \(B, M\)"):
        tiny_denoiser()(x, **inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@torch.no_grad()
def test_other_precisions(dtype: torch.dtype) -> None:
    denoiser = tiny_denoiser().eval()
    x, inputs = random_inputs()
    expected = denoiser(x, **inputs)
    moved = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
    got = denoiser.to(dtype)(x.to(dtype), **moved)
    assert got.dtype == dtype
    assert torch.allclose(got.float(), expected, atol=0.15 if dtype == torch.bfloat16 else 1e-4)
