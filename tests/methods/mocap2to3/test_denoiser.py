"""What the denoiser and the pointmap encoder may and may not look at."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.pointmap_encoder import PointmapEncoder
from tests.methods.mocap2to3.tiny import GRID, random_inputs, tiny_denoiser


def call(denoiser: LiftingDenoiser, x_t: Tensor, pointmap: Tensor | None, **inputs: Tensor) -> Tensor:
    known = inputs.get("known")
    return denoiser(x_t, memory=denoiser.encode_maps(pointmap, known), **inputs)


@torch.no_grad()
def test_an_untrained_multi_view_network_equals_the_single_view_network() -> None:
    single = tiny_denoiser(use_views=False, num_condition_features=0)
    several = tiny_denoiser(awake=False)
    missing = several.load_state_dict(single.state_dict(), strict=False)
    assert missing.missing_keys and not missing.unexpected_keys
    x_t, pointmap, inputs = random_inputs()
    together = call(several, x_t, pointmap, **inputs)
    for view in range(4):
        one = {"t": inputs["t"], "lengths": inputs["lengths"], "cam": inputs["cam"][:, view : view + 1]}
        alone = call(single, x_t[:, view : view + 1], pointmap[:, view : view + 1], **one)
        assert torch.allclose(together[:, view : view + 1], alone, atol=1e-6)
    awake = tiny_denoiser()
    awake.load_state_dict(single.state_dict(), strict=False)
    assert not torch.allclose(call(awake, x_t, pointmap, **inputs), together, atol=1e-3)


@torch.no_grad()
def test_the_other_views_can_be_named_in_any_order() -> None:
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs()
    expected = call(denoiser, x_t, pointmap, **inputs)
    order = [0, 3, 1, 2]
    permuted = dict(inputs, cam=inputs["cam"][:, order])
    assert torch.allclose(call(denoiser, x_t[:, order], pointmap[:, order], **permuted), expected[:, order], atol=1e-5)
    order = [1, 0, 2, 3]
    permuted = dict(inputs, cam=inputs["cam"][:, order])
    got = call(denoiser, x_t[:, order], pointmap[:, order], **permuted)
    assert not torch.allclose(got, expected[:, order], atol=1e-3)  # view 0 is marked


@torch.no_grad()
def test_padding_does_not_count() -> None:
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs(frames=8)
    inputs["lengths"] = torch.tensor([8, 5])
    first = call(denoiser, x_t, pointmap, **inputs)
    other, condition = x_t.clone(), inputs["condition2d"].clone()
    other[1, :, 5:], condition[1, 5:] = 50.0, -9.0
    second = call(denoiser, other, pointmap, **dict(inputs, condition2d=condition))
    assert torch.allclose(first[0], second[0], atol=1e-6)
    assert torch.allclose(first[1, :, :5], second[1, :, :5], atol=1e-5)
    longer = torch.nn.functional.pad(x_t, (0, 0, 0, 4))
    more = dict(inputs, condition2d=torch.nn.functional.pad(inputs["condition2d"], (0, 0, 0, 4)))
    assert torch.allclose(call(denoiser, longer, pointmap, **more)[:, :, :8], first, atol=1e-5)


@torch.no_grad()
def test_items_of_a_batch_are_independent() -> None:
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs(batch=3)
    together = call(denoiser, x_t, pointmap, **inputs)
    for i in range(3):
        one = {name: value[i : i + 1] for name, value in inputs.items()}
        assert torch.allclose(call(denoiser, x_t[i : i + 1], pointmap[i : i + 1], **one)[0], together[i], atol=1e-5)


@torch.no_grad()
def test_unknown_cameras_have_neither_map_nor_condition() -> None:
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs()
    known = torch.tensor([True, False])
    expected = call(denoiser, x_t, pointmap, **inputs)
    got = call(denoiser, x_t, pointmap, **inputs, known=known)
    assert torch.allclose(got[0], expected[0], atol=1e-6)
    assert not torch.allclose(got[1], expected[1], atol=1e-3)
    other = dict(inputs, cam=inputs["cam"] + torch.tensor([0.0, 3.0])[:, None, None])
    changed = pointmap + torch.tensor([0.0, 3.0])[:, None, None, None, None]
    assert torch.equal(call(denoiser, x_t, changed, **other, known=known), got)
    no_maps = denoiser(x_t, memory=denoiser.encode_maps(None), **inputs, known=known)
    assert torch.allclose(no_maps[1], got[1], atol=1e-5)  # many null tokens are as one
    without = tiny_denoiser(use_pointmaps=False)
    assert torch.equal(call(without, x_t, pointmap, **inputs), call(without, x_t, None, **inputs))


@torch.no_grad()
@pytest.mark.parametrize("what", ["x_t", "t", "cam", "condition2d", "pointmap"])
def test_every_input_has_an_effect(what: str) -> None:
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs()
    given = inputs | {"x_t": x_t, "pointmap": pointmap}
    changed = given | {what: given[what] + 1}
    assert not torch.allclose(call(denoiser, **changed), call(denoiser, **given), atol=1e-3)


def test_every_parameter_has_a_gradient() -> None:
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs()
    call(denoiser, x_t, pointmap, **inputs, known=torch.tensor([True, False])).square().mean().backward()
    assert [name for name, p in denoiser.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
def test_patches_are_parts_of_the_image() -> None:
    """Before views and patches attend to each other, a token knows its own square of the map alone."""
    torch.manual_seed(0)
    encoder = PointmapEncoder(16, grid=GRID, patch=4, num_blocks=0, num_heads=2, ff_dim=24, use_views=True)
    _, pointmap, _ = random_inputs(batch=1)
    changed = pointmap.clone()
    changed[0, 2, 1, 1, 6] += 5.0  # first row of patches, second column
    moved = (encoder(changed) - encoder(pointmap)).abs().amax(-1)[0] > 1e-4
    assert moved.nonzero().tolist() == [[2, 1]]
    swapped = pointmap[..., [4, 5, 6, 7, 0, 1, 2, 3]]
    assert not torch.allclose(encoder(swapped)[0, :, [1, 0, 3, 2]], encoder(pointmap)[0], atol=1e-3)  # places count


@torch.no_grad()
def test_maps_meet_across_views() -> None:
    denoiser = tiny_denoiser()
    _, pointmap, _ = random_inputs(batch=1)
    changed = pointmap.clone()
    changed[0, 3] += 1.0
    moved = (denoiser.encode_maps(changed) - denoiser.encode_maps(pointmap)).abs().amax((0, 2, 3))
    assert bool((moved > 1e-4).all())
    apart = tiny_denoiser(awake=False)
    moved = (apart.encode_maps(changed) - apart.encode_maps(pointmap)).abs().amax((0, 2, 3))
    assert moved[:3].tolist() == [0.0, 0.0, 0.0] and moved[3] > 1e-3


def test_published_size() -> None:
    """About 30 million parameters in one view, 43 in several."""
    sizes = {}
    for views in (False, True):
        with torch.device("meta"):  # parameters without numbers
            denoiser = LiftingDenoiser(num_features=48, num_condition_features=72 if views else 0, use_views=views)
        sizes[views] = sum(p.numel() for p in denoiser.parameters()) / 1e6
    assert sizes[False] == pytest.approx(30, abs=1) and sizes[True] == pytest.approx(43, abs=1)


def test_missing_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="multiple of the patch"):
        tiny_denoiser(patch=3)
    denoiser = tiny_denoiser()
    x_t, pointmap, inputs = random_inputs()
    with pytest.raises(ValueError, match=r"\(4, 6, 6\), this encoder expects \(4, 8, 8\)"):
        denoiser.encode_maps(pointmap[..., :6, :6])
    del inputs["condition2d"]
    with pytest.raises(ValueError, match="condition2d"):
        call(denoiser, x_t, pointmap, **inputs)
