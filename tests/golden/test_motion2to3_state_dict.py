"""Published checkpoints: every key, every shape, what trains, and the way through a file into our network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.published_weights import translate_key
from hmr4d.methods.motion2to3.weights import FREEZE_GROUPS, WEIGHTS
from hmr4d.nn.embeddings import sinusoidal_table
from hmr4d.nn.training import freeze_parameters
from hmr4d.representation.motion2d import Motion2DCodec
from tests.golden.published import real_weights, state_dict_layout
from tests.golden.vectors import assert_close, read_json


def base_pipeline(kind: str) -> Motion2to3Pipeline:
    """The published size, as the class defaults have it; parameters start as zeros."""
    is_mv = kind == "mv"
    codec = Motion2DCodec("all_200h_nr")
    denoiser = MotionDenoiser(
        num_features=codec.num_features, cam_dim=5 if is_mv else 0, use_views=is_mv, separate_root_head=is_mv
    )
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.zero_()
    return Motion2to3Pipeline(denoiser, codec, NoiseSchedule())


def short(key: str) -> str:
    """Published key without `pipeline.<denoiser>.`."""
    return key.split(".", 2)[2]


def published_state_dict(kind: str) -> dict[str, Tensor]:
    """A state dict of the published layout: recipe weights and the position table, stored twice."""
    weights = real_weights()
    layout = state_dict_layout(kind)
    length, _, dim = next(entry["shape"] for entry in layout.values() if entry["kind"] == "buffer")
    table = sinusoidal_table(length, dim)[:, None]
    return {key: table if entry["kind"] == "buffer" else weights[short(key)] for key, entry in layout.items()}


@pytest.fixture(scope="module", params=["2d", "mv"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def loaded(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Motion2to3Pipeline:
    state = published_state_dict(kind)
    path: Path = tmp_path_factory.mktemp("published") / f"{kind}.ckpt"
    torch.save({"state_dict": state, "epoch": 1, "global_step": 2}, path)
    pipeline = base_pipeline(kind)
    WEIGHTS.load(pipeline, path)
    path.unlink()
    return pipeline


def test_every_key_and_shape(kind: str, loaded: Motion2to3Pipeline) -> None:
    parameters = {key: entry for key, entry in state_dict_layout(kind).items() if entry["kind"] == "parameter"}
    own = loaded.denoiser.state_dict()
    names = {translate_key(short(key)): tuple(entry["shape"]) for key, entry in parameters.items()}
    assert len(names) == len(parameters), "two published keys share one of our names"
    assert names == {key: tuple(value.shape) for key, value in own.items()}


def test_every_value_arrives(kind: str, loaded: Motion2to3Pipeline) -> None:
    own = loaded.denoiser.state_dict()
    for key, value in published_state_dict(kind).items():
        if not key.endswith(".pe"):
            assert torch.equal(own[translate_key(short(key))], value), key


def test_position_table_needs_no_file(kind: str, loaded: Motion2to3Pipeline) -> None:
    shape = next(tuple(entry["shape"]) for entry in state_dict_layout(kind).values() if entry["kind"] == "buffer")
    length, _, dim = shape
    phase = np.arange(length)[:, None] * np.exp(-np.log(10000.0) * np.arange(0, dim, 2) / dim)
    expected = np.stack([np.sin(phase), np.cos(phase)], -1).reshape(length, dim)
    table = loaded.denoiser.positions.table
    assert_close("position table, rows a clip can reach", table[:512], expected[:512])
    assert_close("position table", table, expected, atol=1e-3)  # float32 phases lose digits with the position


def test_counts_of_parameters(kind: str, loaded: Motion2to3Pipeline) -> None:
    about = read_json(f"motion2to3_state_dict_{kind}.json")
    assert sum(p.numel() for p in loaded.denoiser.parameters()) == about["num_params_excl_buffers"]
    freeze_parameters(loaded.denoiser, "pretrained_2d" if kind == "mv" else "none", FREEZE_GROUPS)
    trainable = {name: p for name, p in loaded.denoiser.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trainable.values()) == about["num_trainable_params"]
    for key, entry in about["state_dict"].items():
        if entry["kind"] == "parameter":
            assert (translate_key(short(key)) in trainable) == entry["trainable"], key


def test_single_view_checkpoint_starts_the_multi_view_network(tmp_path: Path) -> None:
    state = published_state_dict("2d")
    torch.save({"state_dict": state}, tmp_path / "2d.ckpt")
    pipeline = base_pipeline("mv")
    WEIGHTS.load(pipeline, tmp_path / "2d.ckpt", is_start=True)
    own = pipeline.denoiser.state_dict()
    filled = {translate_key(short(key)) for key in state if not key.endswith(".pe")}
    multi_view = {short(key) for key, entry in state_dict_layout("mv").items() if entry["kind"] == "parameter"}
    left = {translate_key(key) for key in multi_view} - filled
    assert set(own) == filled | left
    assert all(not own[name].any() for name in left), "a parameter that the file does not hold was changed"
    assert torch.equal(own["embed_motion.weight"], state["pipeline.denoiser2d.input_process.poseEmbedding.weight"])
