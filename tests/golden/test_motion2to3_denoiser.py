"""Single-view and multi-view networks against published outputs, small and full size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from tests.golden.published import (
    build_denoiser,
    real_weights,
    real_weights_2d,
    recipe_weights,
    sizes_of,
    small_weights,
)
from tests.golden.vectors import assert_close, features, read_json, recipe, tensors, token_mask

CAM_DIM = {"2d_cam": 4, "mv_2dinput": 5, "mv_proj": 5}


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return tensors("denoiser_inputs.npz")


@pytest.fixture(scope="module")
def outputs() -> dict[str, Tensor]:
    return tensors("denoiser_outputs_small.npz")


@pytest.fixture(scope="module")
def networks() -> dict[str, MotionDenoiser]:
    small = sizes_of(small_weights("mv"))
    built = {kind: build_denoiser(small_weights(kind)) for kind in ("2d", "mv")}
    for ours, variant in (("2dcam", "2d_cam"), ("2dproj", "2d_proj"), ("mv2d", "mv_2dinput"), ("mvproj", "mv_proj")):
        built[ours] = build_denoiser(recipe_weights(variant, small, CAM_DIM.get(variant, 0)))
    return built


def text_inputs(inputs: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    if kind == "none":
        return {}
    if kind == "pooled":
        return {"text": inputs["f_text_pooled"]}
    states, counts = ("f_text_null", "f_text_null_length") if kind == "null" else ("f_text_tokens", "f_text_length")
    return {"text": inputs[states], "text_valid": token_mask(inputs[counts], inputs[states].shape[1])}


# output: (network, text, other deviations from the plain call)
CASES = {
    "2d_text": ("2d", "tokens", {}),
    "2d_null": ("2d", "null", {}),
    "2d_scalar_t": ("2d", "tokens", {"scalar_t"}),
    "2d_full_length": ("2d", "tokens", {"full_length"}),
    "2dcam_text": ("2dcam", "tokens", {"cam_2d"}),
    "2dproj_text": ("2dproj", "pooled", {}),
    "2dproj_notext": ("2dproj", "none", {}),
    "mv_text": ("mv", "tokens", {"cam"}),
    "mv_null_nocam": ("mv", "null", {"zero_cam"}),
    "mv_scalar_t": ("mv", "tokens", {"cam", "scalar_t"}),
    "mv_V1": ("mv", "tokens", {"cam", "one_view"}),
    "mv2d_text": ("mv2d", "tokens", {"cam", "condition2d"}),
    "mvproj_text": ("mvproj", "pooled", {"cam"}),
}


def test_every_output_has_a_case(outputs: dict[str, Tensor]) -> None:
    assert {name for name in outputs if not name.endswith("_mask")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_small_network(
    name: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor], networks: dict[str, MotionDenoiser]
) -> None:
    network, text, how = CASES[name]
    x = features(inputs["x2d"])[:, None] if network.startswith("2d") else features(inputs["xmv"])
    cam = None
    if "cam_2d" in how:
        cam = inputs["f_cam_2d"][:, None]
    elif "zero_cam" in how:
        cam = torch.zeros_like(inputs["f_cam_mv"])
    elif "cam" in how:
        cam = inputs["f_cam_mv"]
    if "one_view" in how:
        x, cam = x[:, :1], cam[:, :1]
    lengths = torch.full_like(inputs["length"], x.shape[2]) if "full_length" in how else inputs["length"]
    got = networks[network](
        x,
        inputs["timestep_scalar"] if "scalar_t" in how else inputs["timesteps"],
        lengths=lengths,
        cam=cam,
        condition2d=features(inputs["f_cond2d"]) if "condition2d" in how else None,
        **text_inputs(inputs, text),
    )
    expected = features(outputs[name])
    assert_close(f"denoiser {name}", got, expected[:, None] if network.startswith("2d") else expected)


@pytest.mark.parametrize("kind", ["2d", "mv"])
def test_published_frame_mask_is_ours(kind: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    mask = outputs[f"{kind}_mask"].flatten(1)
    assert torch.equal(mask, torch.arange(mask.shape[1]) < inputs["length"][:, None])


@pytest.mark.parametrize("kind", ["2d", "mv"])
def test_recipe_gives_the_stored_small_weights(kind: str) -> None:
    for key, value in tensors(f"weights_small_{kind}.npz").items():
        assert torch.equal(recipe(key, tuple(value.shape)), value), key


def test_recipe_gives_the_recorded_sums() -> None:
    sums = read_json("motion2to3/weights_recipe_abs_sums.json")
    small = sizes_of(small_weights("mv"))
    for variant, expected in sums.items():
        if variant.startswith("real"):
            weights = real_weights() if variant == "real_mv" else real_weights_2d()
        else:
            weights = recipe_weights(variant, small, CAM_DIM.get(variant, 0))
        assert set(weights) == set(expected), variant
        for key, total in expected.items():
            assert np.isclose(weights[key].abs().double().sum(), total, rtol=1e-6), f"{variant} {key}"


@pytest.mark.parametrize("kind", ["2d", "mv"])
@torch.no_grad()
def test_full_size_network(kind: str) -> None:
    data = tensors("denoiser_real_config.npz")
    denoiser = build_denoiser(real_weights() if kind == "mv" else real_weights_2d())
    x, expected = features(data[f"x{kind}"]), features(data[f"out_{kind}"])
    if kind == "2d":
        x, expected = x[:, None], expected[:, None]
    got = denoiser(
        x,
        data["timesteps"],
        lengths=data["length"],
        text=data["f_text"],
        text_valid=token_mask(data["f_text_length"], data["f_text"].shape[1]),
        cam=data["f_cam"] if kind == "mv" else None,
    )
    assert_close(f"denoiser full size {kind}", got, expected)
